package sim

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// besieged is a small cluster with small bounds, and a hostile process.
func besieged(seed uint64) (*World, *Hostile) {
	cfg := Calm(seed)
	cfg.Core.Views.LinksMax = 8
	cfg.Core.Broadcast.WindowsMax = 16
	cfg.Core.Broadcast.WantsMax, cfg.Core.Broadcast.CacheCount = 64, 8
	cfg.Core.Broadcast.BodyMax = 64 << 10
	cfg.Core.Directory.EntriesMax = 16
	cfg.Core.Wave.OpenMax, cfg.Core.Wave.WindowsMax = 4, 8
	w := New(cfg)
	for range 3 {
		w.Start()
	}
	for _, n := range w.Nodes {
		n.Contacts(w.Nodes[0].Addr())
	}
	w.Run(5 * time.Second)
	return w, w.Hostile()
}

func someID(b byte) (id peer.ID) {
	for i := range id {
		id[i] = b
	}
	return id
}

// siege is what a hostile peer says, by the reason for which it is ignored.
// Each is said in a world of its own, in which everything must stay as it was.
var siege = map[string]func(w *World, e *Hostile, v *Node){
	"ask_for_another": func(_ *World, e *Hostile, v *Node) {
		id := proto.CallID{Caller: e.ID, Target: someID(7), Seq: 1}
		e.Says(v, proto.LinkPool, proto.Ask{Call: proto.Call{ID: id, Oldest: 1, Asked: e.asked(), Remaining: time.Second}})
	},
	"body_gone": func(_ *World, e *Hostile, v *Node) {
		m := e.call(1, time.Second)
		m.Size = 100
		e.joined(v, m, proto.CallBody{ID: m.ID, Gone: true})
	},
	"broadcast_malformed": func(_ *World, e *Hostile, v *Node) {
		e.joined(v, proto.IHave{Stream: 1, Ranges: []proto.Range{{Origin: e.ID, From: 5, To: 2}}})
	},
	"broadcast_not_ours": func(_ *World, e *Hostile, v *Node) { e.joined(v, e.gossip(v.ID, 1000, 16)) },
	"broadcast_too_big":  func(_ *World, e *Hostile, v *Node) { e.joined(v, e.gossip(e.ID, 1, 200<<10)) },
	"broadcast_jump": func(_ *World, e *Hostile, v *Node) {
		e.SaysLater(v, proto.LinkOverlay, 400*time.Millisecond, proto.Join{Self: e.Self()}, e.beacon(1), e.beacon(2), e.beacon(3), e.beacon(1<<40))
	},
	"broadcast_too_wide": func(_ *World, e *Hostile, v *Node) {
		e.SaysLater(v, proto.LinkOverlay, 100*time.Millisecond, proto.Join{Self: e.Self()}, e.beacon(1),
			e.has(1, 60_000))
	},
	"broadcast_wants_full": func(_ *World, e *Hostile, v *Node) {
		e.joined(v, e.has(1, 7), e.has(8, 14), e.has(15, 21), e.has(22, 28))
	},
	"broadcast_windows_full": func(_ *World, e *Hostile, v *Node) {
		var all []proto.Message
		for i := range 40 {
			m := e.beacon(1)
			m.ID.Origin = someID(byte(100 + i))
			all = append(all, m)
		}
		e.joined(v, all...)
	},
	"call_sequence_jump": func(_ *World, e *Hostile, v *Node) {
		far := e.call(1<<40, time.Second)
		far.Oldest = 1
		e.joined(v, e.call(1, time.Second), far)
	},
	"call_without_window": func(_ *World, e *Hostile, v *Node) {
		var all []proto.Message
		for i := range 12 {
			m := e.call(1, time.Second)
			m.ID.Caller = someID(byte(100 + i))
			all = append(all, m)
		}
		e.joined(v, all...)
	},
	"call_table_full": func(_ *World, e *Hostile, v *Node) {
		v.world.apps.temper.Hang = 1
		var all []proto.Message
		for i := range uint64(12) {
			m := e.call(i+1, 5*time.Second)
			m.Oldest = 1
			all = append(all, m)
		}
		e.joined(v, all...)
	},
	"certificate_ahead": func(w *World, e *Hostile, v *Node) {
		e.records(v, proto.Record{Entry: w.Nodes[1].core.Self(), Down: 1 << 45})
	},
	"counter_jump": func(w *World, e *Hostile, v *Node) {
		e.records(v, e.opinion(w.Nodes[1], func(o *proto.Opinion) { o.Counter = 1 << 50 }))
	},
	"opinion_ahead": func(w *World, e *Hostile, v *Node) {
		e.records(v, e.opinion(w.Nodes[1], func(o *proto.Opinion) { o.Version += 5 }))
	},
	"opinion_misplaced": func(w *World, e *Hostile, v *Node) {
		e.records(v, e.opinion(w.Nodes[1], func(o *proto.Opinion) { o.Accused = someID(3) }))
	},
	"identity_changed": func(w *World, e *Hostile, v *Node) {
		forged := *w.Nodes[1].core.Self()
		forged.Name, forged.Version = "another", forged.Version+1
		e.records(v, proto.Record{Entry: &forged})
	},
	"incarnation_jump": func(w *World, e *Hostile, v *Node) {
		forged := *w.Nodes[1].core.Self()
		forged.Incarnation += 1 << 30
		e.records(v, proto.Record{Entry: &forged})
	},
	"version_jump": func(w *World, e *Hostile, v *Node) {
		forged := *w.Nodes[1].core.Self()
		forged.Version = 1 << 40
		e.records(v, proto.Record{Entry: &forged})
	},
	"own_entry_forged": func(_ *World, e *Hostile, v *Node) {
		forged := *v.core.Self()
		forged.Version += 3
		e.records(v, proto.Record{Entry: &forged})
	},
	"pong_without_ping": func(_ *World, e *Hostile, v *Node) {
		e.Says(v, proto.LinkProbe, proto.Pong{Seq: 1 << 40, Echo: time.Hour})
	},
	"request_for_another": func(_ *World, e *Hostile, v *Node) {
		other := e.Self()
		other.ID = someID(9)
		e.Says(v, proto.LinkOverlay, proto.Join{Self: other})
	},
	"result_of_ours": func(w *World, e *Hostile, v *Node) {
		w.apps.temper.Hang = 1
		v.Ask(proto.Selector{}, 4*time.Second, 32, 0)
		id := proto.CallID{Caller: v.ID, Seq: 1}
		forged := proto.NodeResult{Node: v.ID, Incarnation: 1, Result: proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Size: 100}}
		e.Says(v, proto.LinkPool, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Results: []proto.NodeResult{forged}}},
			proto.StatusAnswer{ID: id, Node: v.ID, Stage: proto.StageFinished, Result: &forged}, proto.Answer{ID: id, Node: v.ID, Result: &forged})
	},
	"too_many_orphans": func(w *World, _ *Hostile, v *Node) {
		w.apps.temper.Hang = 1
		v.Ask(proto.Selector{}, 4*time.Second, 32, 0)
		id := proto.CallID{Caller: v.ID, Seq: 1}
		for range 24 {
			w.Hostile().Says(v, proto.LinkPool, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1}})
		}
	},
	"views_accept_unasked": func(_ *World, e *Hostile, v *Node) { e.Says(v, proto.LinkOverlay, proto.Accept{Self: e.Self()}) },
	"views_refuse_unasked": func(_ *World, e *Hostile, v *Node) {
		e.Says(v, proto.LinkOverlay, proto.Refuse{Why: proto.RefuseFull})
	},
	"views_on_other_link": func(_ *World, e *Hostile, v *Node) { e.Says(v, proto.LinkPool, proto.Join{Self: e.Self()}) },
	"wave_on_other_link":  func(_ *World, e *Hostile, v *Node) { e.Says(v, proto.LinkPool, e.call(1, time.Second)) },
	"broadcast_from_no_neighbor": func(_ *World, e *Hostile, v *Node) {
		e.Says(v, proto.LinkPool, e.beacon(1))
	},
	"views_own_shuffle": func(_ *World, e *Hostile, v *Node) {
		e.joined(v, proto.Shuffle{Origin: v.info(), TTL: 3, Peers: []proto.PeerInfo{e.Self()}})
	},
	"views_request_again": func(_ *World, e *Hostile, v *Node) { e.joined(v, proto.Join{Self: e.Self()}) },
	"views_shuffle_reply_unasked": func(_ *World, e *Hostile, v *Node) {
		e.Says(v, proto.LinkPool, proto.ShuffleReply{Peers: []proto.PeerInfo{e.Self()}})
	},
	"views_too_many_links": func(_ *World, e *Hostile, v *Node) {
		for range 12 {
			e.Says(v, proto.LinkOverlay)
		}
	},
	"views_walk_from_no_member": func(_ *World, e *Hostile, v *Node) {
		e.Says(v, proto.LinkOverlay, proto.ForwardJoin{Joiner: e.Self(), TTL: 3})
	},
	"views_walk_of_nobody": func(_ *World, e *Hostile, v *Node) {
		e.joined(v, proto.ForwardJoin{Joiner: proto.PeerInfo{ID: e.ID, Name: e.Name}, TTL: 3})
	},
	"directory_full": func(_ *World, e *Hostile, v *Node) {
		for i := range 20 {
			id := someID(byte(50 + i))
			e.records(v, proto.Record{Entry: &proto.Entry{ID: id, Name: id.Short(), Birth: 5, Incarnation: 5, Version: 1}})
		}
	},
}

// forges are those sieges that forge what only an owner may write. Nothing but
// certificates could prevent that: only that nobody panics is asked of them.
var forges = map[string]bool{"directory_full": true, "broadcast_windows_full": true, "own_entry_forged": true}

// joined says it as a member of the victim's active view.
func (e *Hostile) joined(v *Node, messages ...proto.Message) {
	e.Says(v, proto.LinkOverlay, append([]proto.Message{proto.Join{Self: e.Self()}}, messages...)...)
}

func (e *Hostile) records(v *Node, r proto.Record) {
	e.Says(v, proto.LinkProbe, proto.SyncRecords{Records: []proto.Record{r}})
}

// opinion is an accusation that something is wrong with.
func (e *Hostile) opinion(about *Node, wrong func(*proto.Opinion)) proto.Record {
	self := about.core.Self()
	o := proto.Opinion{Accused: about.ID, Incarnation: self.Incarnation, Version: self.Version, Author: e.ID, Counter: 1, Accuse: true}
	wrong(&o)
	return proto.Record{Entry: self, Opinions: []proto.Opinion{o}}
}

func (e *Hostile) beacon(seq uint64) proto.Gossip {
	return proto.Gossip{ID: proto.MsgID{Origin: e.ID, Stream: proto.DirStream, Seq: seq}, Body: proto.BeaconBody{}}
}

func (e *Hostile) has(from, to uint64) proto.IHave {
	return proto.IHave{Stream: proto.DirStream, Ranges: []proto.Range{{Origin: e.ID, From: from, To: to}}}
}

func (e *Hostile) gossip(origin peer.ID, seq uint64, size int) proto.Gossip {
	return proto.Gossip{ID: proto.MsgID{Origin: origin, Stream: 1, Seq: seq}, Body: proto.CastBody{Topic: "evil", Payload: make([]byte, size)}}
}

func (e *Hostile) call(seq uint64, budget time.Duration) proto.Call {
	return proto.Call{
		ID: proto.CallID{Caller: e.ID, Seq: seq}, Round: 1, Oldest: seq, Asked: e.asked(), Remaining: budget,
	}
}

func (e *Hostile) asked() *proto.Asked {
	return &proto.Asked{From: e.Self(), Request: proto.Request{Mode: proto.ModeCall, Method: method}}
}

// besiege plays every siege, and counts into the report.
func besiege(t *testing.T, total *Report) {
	t.Helper()
	for why, attack := range siege {
		w, e := besieged(11)
		victim := w.Nodes[0]
		w.checks.hostile = true
		attack(w, e, victim)
		w.Run(10 * time.Second)
		if w.Failed() != "" && !forges[why] {
			t.Errorf("%s: %s", why, w.Failed())
		}
		if w.Report.Ignored[why] == 0 {
			t.Errorf("%s: a hostile peer was not ignored for it: %v", why, w.Report.Ignored)
		}
		total.Add(&w.Report)
	}
}

func TestAHostilePeerIsIgnoredAndHarmsNobody(t *testing.T) {
	total := NewReport()
	besiege(t, &total)
}
