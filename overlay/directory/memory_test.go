package directory

import (
	"fmt"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// --- names ------------------------------------------------------------------------

func entryOf(n int, name string, birth uint64) *proto.Entry {
	return &proto.Entry{ID: idOf(n), Name: name, Birth: birth, Incarnation: birth, Version: 1, Addrs: []string{idOf(n).Short() + ":1"}}
}

func TestTheNewerProcessOfANameSupersedesTheOlder(t *testing.T) {
	older, newer := entryOf(1, "db", 1000), entryOf(2, "db", 1001)
	refuted := *older
	refuted.Incarnation += 50 // higher than the newer's: births are compared
	for _, order := range [][]*proto.Entry{{older, newer, &refuted}, {newer, &refuted, older}, {&refuted, older, newer}} {
		d := lone(idOf(0), nil)
		now := noon
		for _, e := range order {
			d.Delivered(now, e.ID, proto.DirectoryBody{Records: []proto.Record{{Entry: e}}}, &proto.Out{})
			now, _ = wait(d, now, 200*time.Millisecond)
		}
		if a, b := d.Member(idOf(1)).Status, d.Member(idOf(2)).Status; a != proto.StatusDown || b != proto.StatusAlive {
			t.Errorf("older %v, newer %v", a, b)
		}
		if d.Living() != 2 {
			t.Errorf("%d living", d.Living())
		}
	}
}

// A pod restarts more than once; each process has an ID of its own.
func TestTheNewestOfManyProcessesOfANameHoldsIt(t *testing.T) {
	d, now := lone(idOf(0), nil), noon
	for i := range 20 {
		e := entryOf(i+1, "db", uint64(1000+i))
		d.Delivered(now, e.ID, proto.DirectoryBody{Records: []proto.Record{{Entry: e}}}, &proto.Out{})
		now, _ = wait(d, now, 200*time.Millisecond)
		if got := d.Member(e.ID).Status; got != proto.StatusAlive || d.Living() != 2 {
			t.Fatalf("process %d is %v, %d living", i+1, got, d.Living())
		}
	}
}

func TestAProcessIsBornHoweverManyHadItsName(t *testing.T) {
	for earlier := range 9 {
		w := newWorld(t, 1, 4, mesh(4), nil)
		for i := range earlier {
			e := entryOf(50+i, "again", uint64(w.begin.UnixMilli())+uint64(i)-100)
			for _, n := range w.nodes {
				w.step(n, func(out *proto.Out) {
					n.d.Delivered(w.now, e.ID, proto.DirectoryBody{Records: []proto.Record{{Entry: e, Down: e.Incarnation}}}, out)
				})
			}
		}
		w.settle(3 * time.Second)
		n := w.start(idOf(90), "again")
		w.edges = append(w.edges, [2]int{0, 4})
		w.run(2 * time.Second)
		if n.fatal != "" || !w.everybody(n, proto.StatusAlive) {
			t.Errorf("after %d others it ended with %q", earlier, n.fatal)
		}
	}
}

func TestASupersededProcessLeavesAndEnds(t *testing.T) {
	w := newWorld(t, 1, 8, mesh(8), nil)
	w.settle(5 * time.Second)
	old := w.nodes[3]
	w.run(time.Second)
	successor := w.start(idOf(100), "n3")
	w.edges = append(w.edges, [2]int{0, 8}, [2]int{1, 8})
	w.runUntil(2*time.Second, func() bool { return old.fatal != "" && w.everybody(old, proto.StatusLeft) })
	if old.fatal != "superseded: a newer process is called n3" {
		t.Fatalf("it ended with %q", old.fatal)
	}
	w.settle(3 * time.Second)
	w.run(time.Second)
	for _, n := range w.nodes {
		if n.state == running && n != successor && (n.tellings(old.id, proto.ChangeDown)+n.tellings(old.id, proto.ChangeLeft) != 1) {
			t.Errorf("node %d was told %v", n.i, n.told)
		}
	}
	w.audit()
}

func TestABirthIsAboveAllThatIsKnownOfTheName(t *testing.T) {
	w := newWorld(t, 1, 4, mesh(4), nil)
	ahead := w.begin.Add(time.Hour)
	for i := range 3 { // its last process had a clock one hour ahead
		e := entryOf(50, "late", uint64(ahead.UnixMilli()))
		e.Incarnation += 7
		w.step(w.nodes[i], func(out *proto.Out) {
			w.nodes[i].d.Delivered(w.now, e.ID, proto.DirectoryBody{Records: []proto.Record{{Entry: e, Down: e.Incarnation}}}, out)
		})
	}
	w.settle(3 * time.Second)
	n := w.start(idOf(60), "late")
	w.edges = append(w.edges, [2]int{0, 4})
	w.runUntil(2*time.Second, func() bool { return w.everybody(n, proto.StatusAlive) })
	if want := uint64(ahead.UnixMilli()) + 8; n.d.Self().Birth != want || n.d.Self().Incarnation != want {
		t.Fatalf("born at %d, want %d", n.d.Self().Birth, want)
	}
}

func sharedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 1, 8, mesh(8), func(c *Config) { c.PerNode = false })
	w.settle(5 * time.Second)
	return w
}

func TestWithSharedCertificatesALivingHolderKeepsItsName(t *testing.T) {
	w := sharedWorld(t)
	w.edges = append(w.edges, [2]int{0, 8})
	thief := w.start(idOf(100), "n3")
	w.run(3 * time.Second)
	if thief.fatal != "name in use: n3 is held by a living process" {
		t.Fatalf("it ended with %q", thief.fatal)
	}
	for _, n := range w.nodes[:8] {
		if n.d.Member(thief.id) != nil || n.fatal != "" {
			t.Fatalf("node %d: %q", n.i, n.fatal)
		}
	}
}

func TestTheContactRefusesANameWhoseHolderLives(t *testing.T) {
	w := sharedWorld(t)
	contact, holder := w.nodes[0], w.nodes[3]
	ask := func(info proto.PeerInfo) (a Admission) {
		w.step(contact, func(out *proto.Out) { a = contact.d.Admit(w.now, info, out) })
		return a
	}
	newcomer := proto.PeerInfo{ID: idOf(100), Name: "n3"}
	if got := ask(newcomer); got != Undecided {
		t.Fatalf("at once: %v", got)
	}
	w.run(100 * time.Millisecond)
	if got := ask(newcomer); got != NameInUse {
		t.Fatalf("with its holder alive: %v", got)
	}
	if got := ask(proto.PeerInfo{ID: idOf(101), Name: contact.d.Self().Name}); got != NameInUse {
		t.Fatalf("our own name: %v", got)
	}
	if got := ask(proto.PeerInfo{ID: idOf(102), Name: "fresh"}); got != Admitted {
		t.Fatalf("a fresh name: %v", got)
	}
	w.stop(holder) // alive in all directories for seconds to come
	other := proto.PeerInfo{ID: idOf(103), Name: "n3"}
	if got := ask(other); got != Undecided {
		t.Fatalf("at once: %v", got)
	}
	w.run(1100 * time.Millisecond)
	if got := ask(other); got != Admitted {
		t.Fatalf("its holder does not answer for a second: %v", got)
	}
	w.leave(w.nodes[5])
	w.run(100 * time.Millisecond)
	if got := ask(w.nodes[5].d.Self().Info()); got != Superseded {
		t.Fatalf("who left knocks again: %v", got)
	}
}

// --- tombstones -------------------------------------------------------------------

// aged is a directory that knew member 1 (certified), and then time passed.
func aged(t *testing.T, by time.Duration) (*Directory, time.Time) {
	t.Helper()
	d := lone(idOf(0), nil)
	e := entryOf(1, "old", 1000)
	d.Delivered(noon, e.ID, proto.DirectoryBody{Records: []proto.Record{{Entry: e, Down: 1000}}}, &proto.Out{})
	now := noon
	for range by / time.Hour {
		now, _ = wait(d, now, time.Hour)
	}
	return d, now
}

func TestTheDeadArePurgedAfterADayAndTheirTombstonesAfterAWeek(t *testing.T) {
	if d, _ := aged(t, 23*time.Hour); d.Member(idOf(1)) == nil {
		t.Fatal("purged before a day")
	}
	d, now := aged(t, 25*time.Hour)
	if d.Member(idOf(1)) != nil || d.tombs.Len() != 1 || len(d.names.claims("old")) != 1 {
		t.Fatal("not purged after a day")
	}
	if d.digest != d.self.hash() {
		t.Fatal("a tombstone is in the digest")
	}
	d.purgeAt = now.Add(7*24*time.Hour + time.Minute) // spare us the week's wake-ups
	d.last, d.tickAt = d.purgeAt, d.purgeAt.Add(time.Second)
	d.purgeDue(d.purgeAt)
	if d.tombs.Len() != 0 || len(d.names.claims("old")) != 0 {
		t.Fatal("its tombstone outlived the week")
	}
}

func TestATombstoneRefusesAndAnswers(t *testing.T) {
	d, now := aged(t, 25*time.Hour)
	var out proto.Out
	late := proto.SyncRecords{Records: []proto.Record{{Entry: entryOf(1, "old", 1000)}}}
	d.Receive(now, 7, idOf(1), late, &out)
	if d.Member(idOf(1)) != nil {
		t.Fatal("the dead rose")
	}
	answer, ok := out.List[0].(proto.Send)
	if !ok || answer.Link != 7 {
		t.Fatalf("got %v", out.List)
	}
	// The owner lives after all: it comes back above its tombstone, and is taken in.
	owner := lone(idOf(1), nil)
	owner.self.entry.Birth, owner.self.entry.Incarnation = 1000, 1000
	owner.Receive(noon, 3, idOf(0), answer.Msg, &proto.Out{})
	if owner.Self().Incarnation != 1001 {
		t.Fatalf("incarnation %d", owner.Self().Incarnation)
	}
	back := proto.SyncRecords{Records: []proto.Record{owner.self.export()}}
	back.Records[0].Entry.Name = "old"
	d.Receive(now, 7, idOf(1), back, &proto.Out{})
	if d.Member(idOf(1)).Status != proto.StatusAlive {
		t.Fatal("not taken in")
	}
}

func TestWhoHearsOfATombstoneBuriesItsCopy(t *testing.T) {
	d := lone(idOf(0), nil)
	e := entryOf(1, "old", 1000)
	d.Delivered(noon, e.ID, proto.DirectoryBody{Records: []proto.Record{{Entry: e}}}, &proto.Out{})
	now, out := wait(d, noon, 100*time.Millisecond)
	if up := out.List[len(out.List)-1].(proto.MembersChanged); len(up.Changes) != 1 && len(up.Changes) != 2 {
		t.Fatalf("%+v", up)
	}
	tomb := &proto.Tombstone{ID: e.ID, Name: e.Name, Birth: 1000, Incarnation: 1000}
	d.Delivered(now, idOf(9), proto.DirectoryBody{Records: []proto.Record{{Tomb: tomb}}}, &proto.Out{})
	_, out = wait(d, now, 100*time.Millisecond)
	down := out.List[len(out.List)-1].(proto.MembersChanged)
	if len(down.Changes) != 1 || down.Changes[0].Kind != proto.ChangeDown || d.Member(e.ID) != nil || d.Living() != 1 {
		t.Fatalf("%+v", down)
	}
}

func TestANewcomerGetsTheTombstones(t *testing.T) {
	d, now := aged(t, 25*time.Hour)
	var out proto.Out
	d.NeighborUp(now, 1, proto.PeerInfo{ID: idOf(5), Name: "new"}, &out)
	sent := out.List[0].(proto.Send).Msg.(proto.SyncRecords)
	if len(sent.Records) != 1 || sent.Records[0].Tomb.ID != idOf(1) || !sent.More {
		t.Fatalf("%+v", sent)
	}
	newborn := New(Default(), proto.Entry{ID: idOf(5), Name: "old"}, d.rng, time.UnixMilli(500))
	newborn.Receive(time.UnixMilli(500), 1, idOf(0), sent, &proto.Out{})
	newborn.beBorn(time.UnixMilli(500), &proto.Out{})
	if newborn.Self().Birth != 1001 {
		t.Fatalf("born at %d, below its name's tombstone", newborn.Self().Birth)
	}
}

// --- anti-entropy -----------------------------------------------------------------

func TestDifferencesAreRepairedInMessagesBelowTheLimits(t *testing.T) {
	w := newWorld(t, 1, 2, nil, func(c *Config) { c.ChunkBytes = 4 << 10; c.ProbeEvery = time.Hour })
	for i := range 3000 {
		e := entryOf(1000+i, fmt.Sprintf("m%d", i), 1000)
		for k, n := range w.nodes {
			if i%3 == k {
				continue // one third is known to 0 alone, one to 1 alone
			}
			n.d.apply(w.now, &proto.Record{Entry: e}, idOf(9), &proto.Out{})
		}
	}
	largest := 0
	w.watch = func(m proto.Message) {
		if s, ok := m.(proto.SyncRecords); ok {
			size := 0
			for i := range s.Records {
				size += sizeOf(&s.Records[i])
			}
			largest = max(largest, size)
			if len(s.Records) > proto.MaxRecords {
				t.Fatalf("%d records in one message", len(s.Records))
			}
		}
	}
	w.link(w.nodes[0], w.nodes[1])
	took := w.runUntil(time.Second, func() bool { return w.equal(w.nodes...) && w.nodes[0].d.records.Len() == 3002 })
	t.Logf("equal after %v, largest message %d bytes, %v", took, largest, w.sent)
	if largest > 4<<10 || largest < 2<<10 {
		t.Errorf("largest message %d bytes", largest)
	}
	w.audit()
	clear(w.sent)
	w.run(5 * time.Second)
	if w.sent["proto.SyncHashes"] > 0 {
		t.Errorf("equal, they still exchange: %v", w.sent)
	}
}

func TestSyncHashesOfAnotherLengthAreIgnored(t *testing.T) {
	d := lone(idOf(0), nil)
	var out proto.Out
	d.Receive(noon, 1, idOf(1), proto.SyncHashes{Buckets: make([]uint64, 255)}, &out)
	d.Receive(noon, 1, idOf(1), proto.Pong{Seq: 1, Echo: time.Hour}, &out)
	d.Receive(noon, 1, idOf(1), proto.Prune{}, &out)
	for i, why := range []string{"sync_hashes_length", "pong_without_ping", "not_for_the_directory"} {
		if got, ok := out.List[i].(proto.Ignored); !ok || got.Why != why {
			t.Errorf("got %v, want %s", out.List[i], why)
		}
	}
}

// --- batches and clocks ---------------------------------------------------------------

func TestOurChangesAreGatheredFor50To100ms(t *testing.T) {
	d := lone(idOf(0), nil)
	now, _ := wait(d, noon, time.Second)
	began := now
	for i := range 10 {
		d.UpdateSelf(now, proto.UpdateSelf{Zone: fmt.Sprint(i)}, &proto.Out{})
		var out *proto.Out
		if now, out = wait(d, now, 4*time.Millisecond); len(out.List) != 0 {
			t.Fatalf("%v after %v", out.List, now.Sub(began))
		}
	}
	for now.Sub(began) < 50*time.Millisecond {
		var out *proto.Out
		if now, out = wait(d, now, time.Millisecond); len(out.List) != 0 && now.Sub(began) < 50*time.Millisecond {
			t.Fatalf("%v after %v", out.List, now.Sub(began))
		}
	}
	_, out := wait(d, now, 50*time.Millisecond)
	published := 0
	for _, o := range out.List {
		if p, ok := o.(proto.PublishRecords); ok {
			published++
			if len(p.Records) != 1 || p.Records[0].Entry.Zone != "9" {
				t.Errorf("%+v", p)
			}
		}
	}
	if published != 1 {
		t.Errorf("published %d times", published)
	}
}

func TestAPongTellsRoundTripAndOffset(t *testing.T) {
	d := lone(idOf(0), nil)
	now := noon.Add(500 * time.Millisecond)
	var out proto.Out
	d.NeighborUp(now, 1, proto.PeerInfo{ID: idOf(1)}, &out)
	ping := out.List[0].(proto.Send).Msg.(proto.Ping)
	out.List = nil
	// Its clock shows 30 s more than ours; 2 ms there, 3 ms busy, 2 ms back.
	d.Receive(now.Add(7*time.Millisecond), 1, idOf(1), proto.Pong{
		Seq: ping.Seq, Echo: ping.Sent, Received: 30*time.Second + ping.Sent + 2*time.Millisecond, Sent: 30*time.Second + ping.Sent + 5*time.Millisecond,
		Digest: d.digest,
	}, &out)
	want := proto.LinkTiming{Link: 1, RTT: 4 * time.Millisecond, Offset: -30 * time.Second}
	if out.List[0] != want {
		t.Fatalf("got %+v, want %+v", out.List[0], want)
	}
}

func TestNewsOfAnExchangeTravelsOnWithoutWaitingForPings(t *testing.T) {
	var line [][2]int
	for i := range 15 {
		line = append(line, [2]int{i, i + 1})
	}
	w := newWorld(t, 1, 16, line, func(c *Config) { c.ProbeEvery = time.Hour })
	w.settle(5 * time.Second)
	w.run(5 * time.Second)
	far := w.nodes[15]
	w.step(w.nodes[0], func(out *proto.Out) { // it brings a member from another island
		rec := proto.SyncRecords{Records: []proto.Record{{Entry: entryOf(99, "m99", 1000)}}}
		w.nodes[0].d.Receive(w.now, 1000, idOf(99), rec, out)
	})
	took := w.runUntil(15*200*time.Millisecond, func() bool { return far.d.Member(idOf(99)) != nil })
	t.Logf("15 hops in %v", took)
}
