package flock_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
)

// The chain of evidence names the source, the dead, and who found it so, by name.
func TestTheEvidenceAboutAKilledMemberIsTold(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 4, NoApps: true, Faults: true})
	b, dead := w.Bird(1), w.Bird(4)
	why := func(about string) (string, int) {
		return w.Run("members", "--why", about, "--socket", b.Socket(), "--admin-socket", b.AdminSocket())
	}
	said, code := why(dead.Name)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	wantWords(t, "a living member", said, dead.Name+" (", ") is alive since ", dead.Address(), "file", "contact")
	said, _ = why(dead.Address())
	wantWords(t, "its address", said, dead.Name+" (", ") is alive since ")

	dead.Kill()
	w.Await("it is told with its accusers", 6*time.Second, func() error {
		if said, _ = why(dead.Name); !strings.Contains(said, "down: accused by bird-") {
			return fmt.Errorf("it says %s", said)
		}
		return nil
	})

	said, code = w.Run("fault", "cut", "bird-44", "--socket", b.Socket(), "--admin-socket", b.AdminSocket())
	if code == 0 {
		t.Error("a fault for nobody was accepted")
	}
	wantWords(t, "a fault for nobody", said, `no member is called "bird-44"`)
	if said, code = w.Run("fault", "cut", "bird-2", "--for", "1s", "--socket", b.Socket(), "--admin-socket", b.AdminSocket()); code != 0 {
		t.Errorf("a fault for somebody: %s", said)
	}
}
