package gossip

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
	"github.com/starlingmesh/starling/discovery/keyring"
)

var three = []string{"10.1.2.1:7000", "10.1.2.2:7000", "10.1.2.3:7000"}

func TestContract(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		w := newWorld(t)
		g := w.build("10.9.9.9:7000", nil)
		var held []string
		set := func(addrs ...string) {
			held = addrs
			w.set(addrs...)
		}
		return discoverytest.Harness{
			Strategy: g, Refresh: g.Refresh, Set: set, Close: w.killAll, BreakWays: 3,
			Break: func(way int) {
				w.killAll()
				switch way {
				case 1: // strangers are where they were, with another key
					w.key = 2
					w.start("10.8.8.8:7000", nil)
				case 2: // or of another cluster
					w.cluster = "market"
					w.start("10.8.8.8:7000", nil)
				}
			},
			Mend: func() {
				w.killAll()
				w.key, w.cluster = 1, "shop"
				w.set(held...)
			},
		}
	})
}

// offered is who a member of the world offers.
func (w *world) offered(addr string) func() string { return w.members[addr].sink.keys }

func TestWhoLeavesIsWithdrawnAndWhoIsKilledIsAHint(t *testing.T) {
	w := newWorld(t)
	w.set(three...)
	await(t, "all three", w.offered(three[0]), is(strings.Join(three, " ")))
	w.kill(three[1])
	await(t, "a failure", w.offered(three[0]), is(three[0]+" "+three[1]+"! "+three[2]))
	w.leave(three[2])
	await(t, "a withdrawal", w.offered(three[0]), is(three[0]+" "+three[1]+"!"))
	await(t, "the failure of being alone", w.members[three[0]].sink.failed, contains("none of"))
}

func TestTwoHalvesThatNeverHeardOfEachOtherBecomeOne(t *testing.T) {
	w := newWorld(t)
	w.start(three[0], nil) // the hub
	lone := w.start(three[1], func(c *Config) { c.Join = nil })
	w.start(three[2], func(c *Config) { c.Join = []string{lone.s.transport.own.String()} })
	await(t, "the other half", w.offered(three[2]), is(three[1]+" "+three[2]))
	bridge := "10.1.2.9:7000"
	w.start(bridge, func(c *Config) { c.Join = []string{w.hub, lone.s.transport.own.String()} })
	await(t, "one of four, though its first contact answered", w.offered(three[0]), is(strings.Join(three, " ")+" "+bridge))
}

func TestASnapshotFindsThemWhenNoContactIsLeft(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "snapshot")
	keep := func(c *Config) { c.SnapshotFile = file }
	w.set(three[0], three[1])
	w.start(three[2], keep)
	await(t, "all three", w.offered(three[2]), is(strings.Join(three, " ")))
	w.leave(three[2])
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the snapshot: %v, %v", info, err)
	}
	w.kill(three[0]) // the contact
	m := w.start(three[2], func(c *Config) { keep(c); c.Bind = "127.0.0.1:0" })
	await(t, "the one that is left", m.sink.keys, contains(three[1]+" "+three[2]))
}

func TestConvergedLeavesTheGossipAndContactsStay(t *testing.T) {
	w := newWorld(t)
	settle := func(c *Config) { c.LeaveAfter, c.ConvergedFor = converged, time.Second }
	hub := w.start(three[0], settle)
	g := w.build(three[1], settle)
	sink := &recorder{}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = g.Run(ctx, sink) })
	await(t, "the contact", sink.keys, is(three[0]+" "+three[1]))
	await(t, "that the contact knows it", w.offered(three[0]), is(three[0]+" "+three[1]))
	if hub.s.mayLeave(ctx, time.Now().Add(-time.Hour)) {
		t.Error("the contact that newcomers ask may leave")
	}
	await(t, "that it leaves", w.offered(three[0]), is(three[0]))
	if got := sink.keys(); got != three[0]+" "+three[1] {
		t.Errorf("leaving made it forget: %s", got)
	}
	g.Refresh()
	await(t, "that it is back when asked", w.offered(three[0]), is(three[0]+" "+three[1]))
	cancel()
	done.Wait()
}

func TestStrangersAreRefusedAndCounted(t *testing.T) {
	for what, tt := range map[string]struct {
		change func(*world)
		want   string
	}{
		countForeign: {func(w *world) { w.cluster = "market" }, "same cluster"},
		countSealed:  {func(w *world) { w.key = 2 }, "no installed keys could decrypt"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			hub := w.start(three[0], nil)
			tt.change(w)
			stranger := w.start(three[1], nil)
			await(t, "a refusal", stranger.sink.failed, contains(tt.want))
			await(t, "that it is counted", func() string { return fmt.Sprint(hub.g.Counters()[what] > 0) }, is("true"))
			if got := hub.sink.keys(); got != three[0] {
				t.Errorf("the stranger is offered: %s", got)
			}
		})
	}
}

func TestKeysChangeWhileTheyGossip(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "keys")
	write := func(keys ...byte) {
		var text string
		for _, b := range keys {
			text += base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, keyring.KeyLen)) + "\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	hub := w.start(three[0], nil)
	ring, err := keyring.File(file)
	if err != nil {
		t.Fatal(err)
	}
	hub.s.ring = ring
	write(2, 1)
	hub.s.reloadKeys()
	if got := hub.s.keys.GetPrimaryKey(); got[0] != 2 || len(hub.s.keys.GetKeys()) != 2 {
		t.Errorf("sealing with key %d of %d", got[0], len(hub.s.keys.GetKeys()))
	}
	write(2)
	hub.s.reloadKeys()
	if got := hub.s.keys.GetKeys(); len(got) != 1 || got[0][0] != 2 {
		t.Errorf("the old key is still there: %d keys", len(got))
	}
	w.key = 2
	w.start(three[1], nil)
	await(t, "one with the new key", w.offered(three[0]), is(three[0]+" "+three[1]))
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	w := newWorld(t)
	w.start(three[0], nil)
	g := w.build(three[1], func(c *Config) { c.Bind = w.hub })
	if err := g.Run(t.Context(), &recorder{}); err == nil || !strings.Contains(err.Error(), "bind") {
		t.Errorf("got %v", err)
	}
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"join: 65 entries":               func(c *Config) { c.Join = slices.Repeat([]string{"a:1"}, 65) },
		`join[0]: address "a"`:           func(c *Config) { c.Join = []string{"a"} },
		`bind: "a:1" is no`:              func(c *Config) { c.Bind = "a:1" },
		`bind: "7946" is no`:             func(c *Config) { c.Bind = "7946" },
		`advertise: "0.0.0.0:1" is no`:   func(c *Config) { c.Advertise = "0.0.0.0:1" },
		`profile: "moon" is none`:        func(c *Config) { c.Profile = "moon" },
		`encryption: "rot13" is none`:    func(c *Config) { c.Encryption = "rot13" },
		"keyring_file: is for":           func(c *Config) { c.Encryption, c.KeyringFile = off, "x" },
		`label: "mine" is none`:          func(c *Config) { c.Label = "mine" },
		`leave_after: "lunch" is none`:   func(c *Config) { c.LeaveAfter = "lunch" },
		"leave_after: converged needs":   func(c *Config) { c.LeaveAfter = converged },
		"rejoin_every: 1ms is not":       func(c *Config) { c.RejoinEvery = time.Millisecond },
		"converged_for: 0s is not":       func(c *Config) { c.ConvergedFor = 0 },
		"forget_after: 1s is not within": func(c *Config) { c.ForgetAfter = time.Second },
	} {
		cfg := Default()
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if _, err := New(Default(), discovery.Self{}, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "keyring_file") {
		t.Errorf("without a key: %v", err)
	}
}
