package flock_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/rpc/client"
)

func TestWhoStopsGracefullyHasLeftAndIsNotSuspected(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 5})
	leaver := w.Bird(4)
	others := w.Except(leaver)
	news := w.Listen(others...)
	began := time.Now()
	leaver.Stop()
	w.Took("the farewell of one without calls", began, time.Second)
	w.AwaitEvent(news, "left", leaver.Name, time.Second)
	a := w.Multicall(others[0])
	if a.Summary.Asked != 4 || a.Summary.Replied != 4 {
		t.Errorf("asked %d, replied %d: %+v", a.Summary.Asked, a.Summary.Replied, a.Verdicts)
	}
	w.WantEvents(news, "suspect", "", 0)
	w.WantEvents(news, "down", "", 0)
	w.WantEvents(news, "left", "", 1)
}

// A call that is under way when its node is told to stop is finished first.
func TestAGracefulStopFailsNoAcceptedCall(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 3, Change: withHTTP})
	leaver := w.Bird(2)
	got := make(chan string, 1)
	go func() {
		v, err := w.Bird(1).Client().Call(t.Context(), leaver.Name, flock.SleepMethod, client.Text("1s"), client.Timeout(time.Minute))
		got <- fmt.Sprintf("%v %+v", err, v)
	}()
	running(w, leaver, 1)
	leaver.Stop()
	if text := <-got; !strings.Contains(text, "Verdict:replied") {
		t.Errorf("the call that was accepted: %s", text)
	}
}

func TestARestartUnderTheSameNameCountsAtOnce(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 5})
	again := w.Bird(2)
	others := w.Except(again)
	before := idOf(t, others[0], again.Name)
	news := w.Listen(others...)
	again.Kill()
	began := time.Now()
	if err := w.Restart(w.Patience(2*time.Second), again); err != nil {
		t.Fatal(err)
	}
	w.AwaitEvent(news, "up", again.Name, 2*time.Second)
	if err := w.AwaitAll(w.Patience(2*time.Second), 5); err != nil {
		t.Fatal(err)
	}
	w.Took("restarted, known by all and served again", began, 2*time.Second)
	w.WantVerdicts(w.Multicall(others[0]), nil)
	if now := idOf(t, others[0], again.Name); now == before {
		t.Errorf("it is the same process, %s, as before", now)
	}
	for _, b := range others {
		w.WantEvents(news, "down", b.Name, 0)
	}
}

// idOf is the process that a bird knows under a name; there must be one.
func idOf(t *testing.T, b *flock.Bird, name string) string {
	t.Helper()
	list, _, err := b.Client().Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range list {
		if m.Name == name {
			ids = append(ids, m.NodeID)
		}
	}
	if len(ids) != 1 {
		t.Fatalf("%s knows %v as %s", b.Name, ids, name)
	}
	return ids[0]
}

func TestASecondLivingProcessUnderOneNameIsRefusedInWords(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 4})
	first := w.Bird(2)
	id := idOf(t, w.Bird(1), first.Name)
	news := w.Listen(w.Except(first)...)
	said, code := w.Run("agent", "-c", copyConfig(t, first, "bird-2", "bird-2"))
	t.Logf("the newcomer ended with %d: %s", code, lastLine(said))
	if code == 0 || !strings.Contains(said, "bird-2") || !strings.Contains(lastLine(said), "name") {
		t.Errorf("the newcomer ended with %d:\n%s", code, said)
	}
	for _, b := range w.Birds() {
		if now := idOf(t, b, first.Name); now != id {
			t.Errorf("%s takes %s for bird-2, it was %s", b.Name, now, id)
		}
	}
	w.WantVerdicts(w.Multicall(w.Bird(1)), nil)
	w.WantEvents(news, "down", "", 0)
}

// copyConfig is a bird's configuration with other sockets and one thing changed.
func copyConfig(t *testing.T, b *flock.Bird, before, after string) string {
	t.Helper()
	text, err := os.ReadFile(b.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), before) {
		t.Fatalf("there is no %q in\n%s", before, text)
	}
	dir := tempDir(t)
	changed := strings.ReplaceAll(string(text), b.Socket(), filepath.Join(dir, "sock"))
	changed = strings.ReplaceAll(changed, b.AdminSocket(), filepath.Join(dir, "admin"))
	changed = strings.Replace(changed, before, after, 1)
	file := filepath.Join(dir, "yaml")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}
