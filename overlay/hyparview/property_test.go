package hyparview

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Whatever happens to a few nodes in whatever order, H1 to H8 hold after each
// step (Check, and the harness about answers and news). When it stops, the rest
// becomes one healthy component (H9, H10, H11).
func TestViewsSurviveAnySchedule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rapid.Uint64Range(0, 1<<20).Draw(rt, "seed"))
		slow := time.Duration(rapid.SampledFrom([]int{1, 30, 300}).Draw(rt, "slow"))
		w.delay = func() time.Duration { return 200*time.Microsecond + w.rngUpTo(slow*time.Millisecond) }
		w.cfg.Active = rapid.IntRange(2, 5).Draw(rt, "active")
		w.cfg.Floor = w.cfg.Active - 1
		w.startMany(rapid.IntRange(2, 8).Draw(rt, "nodes"))
		for _, n := range w.nodes {
			n.contacts(w.nodes...)
		}
		steps := rapid.SliceOfN(rapid.IntRange(0, 99), 0, 60).Draw(rt, "steps")
		for _, s := range steps {
			w.mischief(s)
		}
		w.delay = func() time.Duration { return time.Millisecond + w.rngUpTo(time.Millisecond) }
		for _, n := range w.living() {
			n.contacts(w.living()...)
			w.teachAll(n)
		}
		// Cool-downs have doubled up to a minute by now, and bridges last one.
		w.runUntil("healthy", 4*time.Minute, w.restored)
	})
}

// mischief does one thing of many, for a number below 100.
func (w *world) mischief(s int) {
	living := w.living()
	a := living[w.rng.IntN(len(living))]
	b := living[w.rng.IntN(len(living))]
	switch {
	case s < 40:
		w.run(w.rngUpTo(time.Duration(s*s+1) * time.Millisecond))
	case s < 70:
		if ends := w.endsOf(a); len(ends) > 0 {
			w.lose(ends[w.rng.IntN(len(ends))], time.Second)
		}
	case s < 75:
		if len(living) > 2 {
			w.crash(a)
		}
	case s < 80:
		if len(w.nodes) < 12 {
			w.start().contacts(a, b)
		}
	case s < 85:
		if a != b {
			a.step(func(out *proto.Out) { a.Bridge(w.now, b.info, out) })
		}
	case s < 88:
		if a != b {
			a.step(func(out *proto.Out) { a.Swap(w.now, b.info, out) })
		}
	case s < 91:
		a.step(func(out *proto.Out) { a.Forget(w.now, b.info.ID, b.info.Incarnation, out) })
	case s < 93:
		if len(living) > 2 {
			a.step(func(out *proto.Out) { a.Leave(w.now, out) })
			w.run(5 * time.Second)
			w.crash(a)
		}
	case s < 96:
		w.restart(a)
	case s < 98:
		a.step(func(out *proto.Out) { a.Wake(w.now, out) }) // out of turn
	default:
		if ends := w.endsOf(a); len(ends) > 0 { // the directory hangs up a silent link
			w.hangup(ends[w.rng.IntN(len(ends))], false)
		}
	}
}

// restart replaces a node by a new process of the same name and address.
func (w *world) restart(old *node) {
	w.crash(old)
	n := w.start()
	delete(w.byAddr, n.info.Addrs[0])
	n.info.Addrs, n.info.Name, n.info.Incarnation = old.info.Addrs, old.info.Name, old.info.Incarnation+1
	w.byAddr[n.info.Addrs[0]] = n
	n.SetSelf(n.info)
	n.contacts(w.living()...)
}

func (w *world) teachAll(n *node) {
	var all []proto.PeerInfo
	for _, m := range w.living() {
		all = append(all, m.info)
	}
	n.step(func(out *proto.Out) { n.Learn(w.now, entries(all), out) })
}

// restored is healthy for small views: with a maximum of two a ring is all there
// can be, and with a maximum below the floor of two components are possible.
func (w *world) restored() bool {
	if w.cfg.Active < 4 { // connectedness of sparser graphs is the healing's business
		return w.symmetric() && w.smallest() >= min(1, len(w.living())-1)
	}
	return w.healthy()
}

// What a hostile peer sends in whatever order breaks nothing.
func TestNoPeerCanBreakTheViews(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSolo(t)
		info := rapid.Custom(func(rt *rapid.T) proto.PeerInfo {
			p := person(rapid.ByteRange(0, 12).Draw(rt, "id"))
			p.ID[0] += 94 // the solo itself among them
			p.Incarnation = rapid.Uint64Range(0, 3).Draw(rt, "incarnation")
			p.Name = fmt.Sprint("p", rapid.IntRange(96, 102).Draw(rt, "name"))
			if rapid.IntRange(0, 9).Draw(rt, "addr") == 0 {
				p.Addrs = nil
			}
			return p
		})
		people := rapid.SliceOfN(info, 0, 40)
		open := map[proto.LinkID]proto.PeerInfo{}
		var ids []proto.LinkID
		dials := []proto.Dial{}
		note := func(list []proto.Output) { dials = append(dials, outputs[proto.Dial](list)...) }
		anyLink := func() proto.LinkID {
			if len(ids) == 0 {
				return 0
			}
			return ids[rapid.IntRange(max(0, len(ids)-8), len(ids)-1).Draw(rt, "link")]
		}
		for range rapid.IntRange(1, 80).Draw(rt, "n") {
			id := anyLink()
			from := open[id]
			var msg proto.Message
			switch rapid.IntRange(0, 12).Draw(rt, "what") {
			case 0, 1:
				p := info.Draw(rt, "comes")
				if p.ID == s.self.ID || p.ID.IsZero() {
					continue // the handshake sees to it
				}
				id := s.comes(p)
				open[id], ids = p, append(ids, id)
				note(s.says(id, p, proto.Neighbor{Self: p, High: rapid.Bool().Draw(rt, "high"), Bridge: rapid.Bool().Draw(rt, "bridge")}))
				continue
			case 2, 3:
				if len(dials) == 0 {
					continue
				}
				d := dials[0]
				dials = dials[1:]
				p := info.Draw(rt, "who")
				if p.ID == s.self.ID || (!d.Expect.IsZero() && p.ID != d.Expect) {
					note(s.do(func(out *proto.Out) {
						s.DialFailed(s.now, proto.DialFailed{Tag: d.Tag, Why: proto.DialOtherNode, Peer: p.ID}, out)
					}))
					continue
				}
				id, out := s.reaches(d, p)
				open[id], ids = p, append(ids, id)
				note(out)
				if rapid.Bool().Draw(rt, "yes") {
					note(s.says(id, p, proto.Accept{Self: p}))
				}
				continue
			case 4:
				note(s.wait(time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "wait")) * time.Millisecond))
				continue
			case 5:
				note(s.ends(id, proto.DownReset))
				continue
			case 6:
				note(s.knows(people.Draw(rt, "learn")...))
				continue
			case 7:
				msg = proto.Join{Self: info.Draw(rt, "self")}
			case 8:
				msg = proto.ForwardJoin{Joiner: info.Draw(rt, "joiner"), TTL: rapid.Byte().Draw(rt, "ttl")}
			case 9:
				msg = proto.Accept{Self: info.Draw(rt, "self")}
			case 10:
				msg = proto.Refuse{Why: proto.RefuseWhy(rapid.Byte().Draw(rt, "why")), Peers: people.Draw(rt, "peers")}
			case 11:
				msg = proto.Bye{Why: proto.ByeWhy(rapid.Byte().Draw(rt, "why")), Peers: people.Draw(rt, "peers")}
			case 12:
				msg = proto.Shuffle{Origin: info.Draw(rt, "origin"), TTL: rapid.Byte().Draw(rt, "ttl"), Peers: people.Draw(rt, "peers")}
			}
			note(s.says(id, from, msg))
		}
	})
}

// Simultaneous dials end with one link on both sides, whatever crosses what.
func TestSimultaneousDialsEndWithOneLink(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, seed)
		w.cfg.StartJitter = time.Millisecond
		low, high := w.startAs(peer.ID{1}), w.startAs(peer.ID{2})
		low.contacts(high)
		w.run(time.Duration(seed) * 20 * time.Microsecond)
		high.contacts(low)
		w.runUntil("one link", 3*time.Second, func() bool { return w.smallest() == 1 && w.symmetric() })
		w.run(10 * time.Second)
		if !w.symmetric() || len(low.downs)+len(high.downs) > 0 || len(w.ends) != 2 {
			t.Fatalf("seed %d: the link did not stay: %v %v, %d ends", seed, low.downs, high.downs, len(w.ends))
		}
	}
}

// A connection lost at any moment of a request leaves no side with half a link.
func TestALinkLostDuringARequestIsLostToBoth(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, seed)
		w.cfg.StartJitter = time.Millisecond
		a, b := w.start(), w.start()
		a.contacts(b)
		b.contacts(a)
		w.run(time.Duration(seed) * 40 * time.Microsecond)
		for _, e := range w.endsOf(a) {
			w.lose(e, 500*time.Millisecond)
		}
		w.run(600 * time.Millisecond)
		w.runUntil("both know", 100*time.Millisecond, w.symmetric)
		w.runUntil("a link again", 30*time.Second, func() bool { return w.smallest() == 1 && w.symmetric() })
	}
}
