package discovery

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLastKnownPeersOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	cache := func(c *Config) { c.CacheFile = path }
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, cache, s.source("one"))
		r.Up("node-a", []string{addr("a"), "[fd00::1]:7000"})
		r.Up("node-b", []string{addr("b")})
		wait(31 * time.Second)
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		r.Up("node-c", []string{addr("c")})
		r.stop() // writes what is new
	})
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, cache, s.source("one"))
		s.fail(errors.New("no answer"))
		wait(hour)
		want := []string{addr("a"), addr("b"), addr("c")}
		slices.Sort(want)
		if r.last() != strings.Join(want, " ") {
			t.Fatalf("contacts are %q, want %q", r.last(), want)
		}
		if c := r.contacts[0][0]; c.Vouched {
			t.Error("a memory passes for vouched")
		}
		s.observe(Partial{Candidates: peers("z")})
		wait(hour)
		if r.last() != "z" {
			t.Errorf("contacts are %q, want z: the memory is old", r.last())
		}
	})
	bubble(t, func(t *testing.T) { // alone for its whole life, it keeps the old memory
		r := run(t, cache, newScript().source("one"))
		wait(hour)
		r.stop()
		if peers, err := readCache(path); err != nil || len(peers) != 3 {
			t.Errorf("the file has %v, %v, want the three of before", peers, err)
		}
	})
}

func TestABrokenDiskDegradesAndStopsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not-there")
		s := newScript()
		r := run(t, func(c *Config) { c.CacheFile = filepath.Join(dir, "peers.json") }, s.source("one"))
		r.Up("node-a", []string{addr("a")})
		wait(5 * time.Minute)
		if got := r.Snapshot().Cache.Degraded; !strings.Contains(got, "no such file") || r.logged("cannot be written") != 1 {
			t.Errorf("degraded: %q, logged %d times", got, r.logged("cannot be written"))
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		if r.Snapshot().Cache.Degraded != "" {
			t.Error("still degraded though the disk is well")
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

func TestAFailedWriteLeavesNoLitter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers.json")
	if err := os.Mkdir(path, 0o700); err != nil { // nothing can be renamed to it
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("x")); err == nil {
		t.Error("wrote over a directory")
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestABrokenCacheFileIsNoMemory(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":2}`, `[]`, `{"version":1,"peers":[[],["nope"]]}`} {
		path := filepath.Join(t.TempDir(), "peers.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		bubble(t, func(t *testing.T) {
			s := newScript()
			r := run(t, func(c *Config) { c.CacheFile = path }, s.source("one"))
			s.observe(Partial{Candidates: peers("a")})
			wait(time.Second)
			if r.last() != "a" {
				t.Errorf("%q: contacts are %q, want a", text, r.last())
			}
		})
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 300 {
		w.up("p" + string(rune('0'+i%10)) + string(rune('0'+i/10)))
	}
	if n := len(w.l.livingPeers(cacheMax)); n != cacheMax {
		t.Errorf("keeps %d, want %d", n, cacheMax)
	}
}
