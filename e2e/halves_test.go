package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/e2e/netns"
)

// halfSize is how many sidecars a half has.
var halfSize = flag.Int("half", 50, "sidecars in each half")

const (
	cutFor = 120 * time.Second
	rejoin = 60 * time.Second
)

// halves are two hosts with many sidecars each, every sidecar at an address of its own, and a file for each host that says
// where sidecars are.
type halves struct {
	*netns.Net
	t     *testing.T
	files [2]string
}

func sideOf(bird int) int { return (bird - 1) / *halfSize }

func at(bird int) string {
	return fmt.Sprintf("10.77.%d.%d:7827", 1+sideOf(bird), (bird-1)%*halfSize+1)
}

func newHalves(t *testing.T) (*halves, flock.Options) {
	t.Helper()
	h := &halves{Net: netns.New(t), t: t}
	dir := t.TempDir()
	var hosts []*netns.Host
	for side, name := range []string{"left", "right"} {
		h.Switch(name)
		var addresses []string
		for i := range *halfSize {
			addresses = append(addresses, fmt.Sprintf("10.77.%d.%d/16", side+1, i+1))
		}
		hosts = append(hosts, h.Host("host-"+name, name, addresses...))
		h.files[side] = filepath.Join(dir, name)
	}
	h.Trunk("left", "right")
	return h, flock.Options{
		Birds: 2 * *halfSize, NoApps: true,
		Wrap: func(name string) []string { return hosts[sideOf(number(t, name))].Enter() },
		Change: func(name string, s *flock.Settings) {
			bird := number(t, name)
			s.Listen = at(bird)
			s.Sources = fmt.Sprintf("[{kind: file, path: %q, format: list, refresh: 1s}]", h.files[sideOf(bird)])
		},
	}
}

// say writes a side's file: the birds of the sides that it is to know.
func (h *halves) say(side int, sides ...int) {
	h.t.Helper()
	var lines strings.Builder
	for bird := 1; bird <= 2**halfSize; bird++ {
		for _, s := range sides {
			if sideOf(bird) == s {
				fmt.Fprintln(&lines, at(bird))
			}
		}
	}
	next := h.files[side] + ".next"
	if err := os.WriteFile(next, []byte(lines.String()), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(next, h.files[side]); err != nil {
		h.t.Fatal(err)
	}
}

// identities are the IDs of all processes: who was restarted has another.
func identities(w *flocktest.World) string {
	var ids []string
	for _, b := range w.Birds() {
		ids = append(ids, b.Client().Node().ID)
	}
	return strings.Join(ids, " ")
}

// calmly asks at most once a second: a hundred sidecars that are asked for a hundred members all the time have no time for
// each other on a small machine.
func calmly(so func() error) func() error {
	var last time.Time
	var said error
	return func() error {
		if now := time.Now(); now.Sub(last) >= time.Second {
			said, last = so(), time.Now()
		}
		return said
	}
}

// Fault 8, for the time that the promise names: two halves, cut by nftables for 120 s. Nothing in the
// configuration leads across when discovery tells each half of itself alone.
func TestTwoHalvesBecomeOneWithinAMinute(t *testing.T) {
	for name, across := range map[string]bool{"discovery knows each half by itself": false, "discovery vouches for all": true} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			h, options := newHalves(t)
			h.say(0, 0, 1)
			h.say(1, 0, 1)
			w := flocktest.Started(t, options)
			w.Await("one component", 30*time.Second, calmly(func() error { return w.OneComponent(7) }))
			before := identities(w)
			left, right := w.Birds()[:*halfSize], w.Birds()[*halfSize:]

			h.Cut("left", "right")
			cut := time.Now()
			if !across {
				h.say(0, 0)
				h.say(1, 1)
			}
			w.Await("the left know the left", 2*failure, calmly(func() error { return w.Complete(*halfSize, right...) }))
			w.Await("the right know the right", 2*failure, calmly(func() error { return w.Complete(*halfSize, left...) }))
			<-time.After(cutFor - time.Since(cut))
			if err := w.Complete(*halfSize, right...); err != nil {
				t.Errorf("at the end of the cut, the left: %v", err)
			}
			if err := w.Complete(*halfSize, left...); err != nil {
				t.Errorf("at the end of the cut, the right: %v", err)
			}

			h.Mend()
			mended := time.Now()
			w.Await("links lead across, from each to each", rejoin, calmly(func() error { return w.OneComponent(7) }))
			w.Await("all know all", rejoin, calmly(func() error { return w.Complete(2 * *halfSize) }))
			w.Took(fmt.Sprintf("one again, after a cut of %v", mended.Sub(cut).Round(time.Second)), mended, rejoin)
			if after := identities(w); after != before {
				t.Errorf("somebody was restarted:\n%s\n%s", before, after)
			}
			// On a machine with a core for fifty of them: they greet each other, and each call asks for a link to each.
			wantReplies(t, w, []*flock.Bird{left[0], right[0]}, 2**halfSize, failure)
		})
	}
}
