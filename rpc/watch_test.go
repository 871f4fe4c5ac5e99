package rpc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
)

// crew is a cluster whose processes come, go, return and are forgotten as the directory would tell it, and those who watch.
type crew struct {
	*script
	rt       *rapid.T
	procs    []*proto.Member // each ever begun and not yet purged; replaced, never changed
	begun    int
	watchers []*watching
}

// watching is one watcher and what it has been told.
type watching struct {
	*Watcher
	cancel context.CancelFunc // of the Next that waits; nil: it does not look
	told   chan batch
	fresh  bool
	rev    uint64
	up     map[string]*proto.Member // by name
	ended  map[byte]uint64          // highest incarnation that was told to have ended, by process
}

type batch struct {
	rev     uint64
	all     []Member
	changes []Change
	err     error
}

// TestEachWatcherSeesEachNameUpOnceAndThenDownOnce: D11, however many watch, whenever each began and however seldom it looks:
// for each name up, then exactly one end; and who has looked at everything knows exactly who lives.
func TestEachWatcherSeesEachNameUpOnceAndThenDownOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { rapid.SyncTest(rt, func(rt *rapid.T) { watched(t, rt) }) })
}

func watched(t *testing.T, rt *rapid.T) {
	t.Helper()
	c := &crew{script: bareScript(t), rt: rt, procs: []*proto.Member{aMember(1, "a")}, begun: 1}
	defer c.Close()
	c.tell()
	rt.Repeat(map[string]func(*rapid.T){
		"begin": c.begin, "end": c.end, "back": c.back, "suspect": c.suspect, "change": c.change, "purge": c.purge,
		"watch": c.watch, "look": c.look, "give up": c.giveUp, "close": c.closeOne, "": func(*rapid.T) { c.hear() },
	})
	c.tell()
	for _, w := range c.watchers {
		for range 3 { // the members, the news, and no more
			c.wait(w)
			c.hear()
		}
		c.leave(w)
		for _, m := range c.procs {
			if known := w.up[m.Entry.Name]; living(m) && (known == nil || known.Entry != m.Entry) {
				rt.Fatalf("D11: %s lives, and who has seen all knows %+v", m.Entry.Name, known)
			}
		}
		if n := c.living(c.Roster()); len(w.up) != n {
			rt.Fatalf("D11: %d live, and who has seen all knows %d", n, len(w.up))
		}
	}
}

// tell shows everybody the members as they are now.
func (c *crew) tell() { c.know(c.procs...) }

// some draws one of the processes of which ok holds; the node itself is none of them.
func (c *crew) some(ok func(*proto.Member) bool) int {
	var fit []int
	for i, m := range c.procs {
		if i > 0 && ok(m) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		c.rt.Skip("nobody")
	}
	return rapid.SampledFrom(fit).Draw(c.rt, "who")
}

// becomes replaces a process's record; mostly it is told at once, and now and then together with the next change.
func (c *crew) becomes(i int, change func(*proto.Member, *proto.Entry)) {
	m, e := *c.procs[i], *c.procs[i].Entry
	change(&m, &e)
	m.Entry = &e
	c.procs[i] = &m
	if rapid.IntRange(0, 3).Draw(c.rt, "told") > 0 {
		c.tell()
	}
}

// begin starts a process; of its name it is the newest, and supersedes who had it. IDs are drawn: the order is no hint.
func (c *crew) begin(*rapid.T) {
	if len(c.procs) >= 8 {
		c.rt.Skip("enough")
	}
	c.begun++
	id := rapid.ByteRange(2, 250).Filter(func(n byte) bool {
		return !slices.ContainsFunc(c.procs, func(m *proto.Member) bool { return m.Entry.ID == nodeID(n) })
	}).Draw(c.rt, "id")
	name := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(c.rt, "name")
	for i, m := range c.procs {
		if old := *m; m.Entry.Name == name && living(m) {
			old.Status, old.Superseded = proto.StatusDown, true
			c.procs[i] = &old
		}
	}
	c.procs = append(c.procs, aMember(id, name, func(m *proto.Member) {
		m.Entry.Birth, m.Entry.Incarnation = uint64(c.begun)<<20, uint64(c.begun)<<20
	}))
	c.tell()
}

func (c *crew) end(*rapid.T) {
	status := rapid.SampledFrom([]proto.Status{proto.StatusDown, proto.StatusLeft}).Draw(c.rt, "status")
	c.becomes(c.some(living), func(m *proto.Member, _ *proto.Entry) { m.Status = status })
}

// back: who was certified down answers with its next incarnation, before or after others learn of its death.
func (c *crew) back(*rapid.T) {
	i := c.some(func(m *proto.Member) bool { return m.Status != proto.StatusLeft && !m.Superseded && !c.heir(m) })
	c.becomes(i, func(m *proto.Member, e *proto.Entry) { m.Status, e.Incarnation = proto.StatusAlive, e.Incarnation+1 })
}

// heir tells whether a newer process has the name.
func (c *crew) heir(m *proto.Member) bool {
	return slices.ContainsFunc(c.procs, func(o *proto.Member) bool { return o.Entry.Name == m.Entry.Name && o.Entry.Birth > m.Entry.Birth })
}

func (c *crew) suspect(*rapid.T) {
	c.becomes(c.some(living), func(m *proto.Member, _ *proto.Entry) {
		m.Status = rapid.SampledFrom([]proto.Status{proto.StatusAlive, proto.StatusSuspect}).Draw(c.rt, "status")
	})
}

func (c *crew) change(*rapid.T) {
	c.becomes(c.some(living), func(_ *proto.Member, e *proto.Entry) { e.Version++ })
}

// purge forgets a process; a living one goes only by a tombstone that says it was dead.
func (c *crew) purge(*rapid.T) {
	i := c.some(func(*proto.Member) bool { return true })
	c.procs = slices.Delete(c.procs, i, i+1)
	c.tell()
}

func (c *crew) watch(*rapid.T) {
	if len(c.watchers) >= 3 {
		c.rt.Skip("enough")
	}
	w, refused := c.Watch()
	if refused != nil {
		c.rt.Fatal(refused)
	}
	c.watchers = append(c.watchers, &watching{Watcher: w, fresh: true, up: map[string]*proto.Member{}, ended: map[byte]uint64{}})
}

func (c *crew) watcher() *watching {
	if len(c.watchers) == 0 {
		c.rt.Skip("nobody watches")
	}
	return rapid.SampledFrom(c.watchers).Draw(c.rt, "watcher")
}

func (c *crew) look(*rapid.T) { c.wait(c.watcher()) }

// wait begins to look; the first news, now or later, ends that.
func (c *crew) wait(w *watching) {
	if w.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.told = cancel, make(chan batch, 1)
	told := w.told
	go func() {
		var b batch
		b.rev, b.all, b.changes, b.err = w.Next(ctx)
		told <- b
	}()
}

func (c *crew) giveUp(*rapid.T) { c.leave(c.watcher()) }

// leave ends a look that has found nothing.
func (c *crew) leave(w *watching) {
	if w.cancel != nil {
		w.cancel()
		c.hear()
	}
}

func (c *crew) closeOne(*rapid.T) {
	w := c.watcher()
	c.leave(w)
	w.Close()
	c.watchers = slices.DeleteFunc(c.watchers, func(o *watching) bool { return o == w })
}

// hear takes what the watchers were told.
func (c *crew) hear() {
	synctest.Wait()
	for _, w := range c.watchers {
		if w.cancel == nil {
			continue
		}
		select {
		case b := <-w.told:
			w.cancel()
			w.cancel = nil
			if b.err == nil {
				w.takes(c.rt, b)
			}
		default:
		}
	}
}

// takes holds one batch to D11.
func (w *watching) takes(rt *rapid.T, b batch) {
	switch {
	case b.rev < w.rev:
		rt.Fatalf("D11: revision %d after %d", b.rev, w.rev)
	case w.fresh != (b.changes == nil):
		rt.Fatalf("D11: want the members once, then changes: %+v", b)
	}
	w.rev, w.fresh = b.rev, false
	for _, m := range b.all {
		w.begins(rt, m.Member)
	}
	for _, ch := range b.changes {
		m := ch.Member.Member
		name, known := m.Entry.Name, w.up[m.Entry.Name]
		same := known != nil && known.Entry.ID == m.Entry.ID && known.Entry.Incarnation == m.Entry.Incarnation
		switch {
		case ch.Kind == proto.ChangeUp:
			w.begins(rt, m)
		case !same:
			rt.Fatalf("D11: %v of process %d of %s, incarnation %d, which is not up: %+v", ch.Kind, m.Entry.ID[0], name, m.Entry.Incarnation, known)
		case ch.Kind == proto.ChangeDown || ch.Kind == proto.ChangeLeft:
			delete(w.up, name)
			w.ended[m.Entry.ID[0]] = known.Entry.Incarnation
		default:
			w.up[name] = m
		}
	}
}

func (w *watching) begins(rt *rapid.T, m *proto.Member) {
	what := fmt.Sprintf("D11: up of %s, process %d, incarnation %d", m.Entry.Name, m.Entry.ID[0], m.Entry.Incarnation)
	if known := w.up[m.Entry.Name]; known != nil {
		rt.Fatalf("%s, while process %d, incarnation %d of that name is up", what, known.Entry.ID[0], known.Entry.Incarnation)
	}
	if m.Entry.Incarnation <= w.ended[m.Entry.ID[0]] {
		rt.Fatalf("%s, which has ended", what)
	}
	w.up[m.Entry.Name] = m
}
