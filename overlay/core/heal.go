package core

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Healing. "Partitions never heal by HyParView alone": after some shuffles the
// other side is gone from all passive views. So every node knows the name of
// its component, the lowest ID whose beacon it hears, and asks around where the
// lost may be: who names another component is worth a bridge.
const (
	beaconEvery  = 5 * time.Second
	beaconFor    = 3 * beaconEvery // a beacon counts so long; without a lower one for so long we send ours
	beaconsMax   = 64              // origins remembered, the lowest
	bridgesWant  = 8               // bridges that one side of a healed partition opens, about
	probeEvery   = 10 * time.Second
	probeGap     = 100 * time.Millisecond // rounds are rarer if discovery names many: the cluster makes no more than an attempt so often
	probeSlowest = 10 * time.Minute
	probeRare    = 30 * time.Second // rounds of those whom only members remember grow as rare as this, or rarer if they are many:
	probePace    = time.Second      // then the cluster makes an attempt so often
	probeTimeout = time.Second      // for the dial, and again for the pong
	probesMax    = 8                // under way at once
	targetsMax   = 8192             // addresses asked; each costs about 100 bytes
	swapWithin   = 30 * time.Second
	ReturnedFor  = time.Minute // how long a member that came back counts as returned
)

// heal holds the component rules of one node.
type heal struct {
	self  peer.ID
	rng   *rand.Rand
	start time.Time

	beacons   peer.Map[time.Time] // when each origin was heard last
	beaconAt  time.Time           // our next beacon, unless a lower ID's comes first
	component peer.ID             // zero: not known yet
	named     peer.ID             // the last component that was known
	swapAt    time.Time           // zero: nothing to swap

	contacts []proto.Contact
	targets  []target // by key
	vouched  int      // of targets
	probes   []probe
	seq      uint64
	tickAt   time.Time
	size     int    // living members, at least 1
	revision uint64 // of the roster that targets come from
	stale    bool   // the contacts are newer than targets
	aimedAt  time.Time
}

// target is an address where somebody lost may be.
type target struct {
	key     string // its first address
	addrs   []string
	vouched bool // discovery names it now
	wait    time.Duration
	next    time.Time
}

// probe is one attempt, from the dial to the pong.
type probe struct {
	tag   uint64
	key   string
	link  proto.LinkID // 0: dialling
	until time.Time    // for the pong
}

// healWants is what heal can not do by itself. Peers with a zero ID mean none.
type healWants struct {
	Beacon bool           // broadcast a BeaconBody
	Bridge proto.PeerInfo // open a bridge to it
	Swap   proto.PeerInfo // exchange a member of the active view for it
}

func newHeal(self peer.ID, rng *rand.Rand, now time.Time) *heal {
	h := &heal{self: self, rng: rng, start: now, size: 1, stale: true, tickAt: now.Add(time.Second)}
	// Nodes that start together must not all send a beacon: the first to do so
	// silences those above it.
	h.beaconAt = now.Add(beaconEvery + h.upTo(beaconEvery))
	return h
}

// Component is the name of this node's component: the lowest origin of a beacon
// within 15 s. Zero: not known, and then it is compared with nobody's.
func (h *heal) Component() peer.ID { return h.component }

// Beacon takes a beacon from the broadcast.
func (h *heal) Beacon(now time.Time, origin peer.ID) {
	if origin.IsZero() {
		return
	}
	h.beacons.Put(origin, now)
	if h.beacons.Len() > beaconsMax {
		highest, _ := h.beacons.At(beaconsMax)
		h.beacons.Delete(highest)
	}
	if origin.Less(h.self) {
		// The jitter keeps all from taking over at once when that one dies.
		h.beaconAt = now.Add(beaconFor + h.upTo(beaconEvery))
	}
	h.name(now)
}

// name finds the component's name anew. A lower one than before says that two
// components have become one, or that a newcomer is the lowest.
func (h *heal) name(now time.Time) {
	for h.beacons.Len() > 0 {
		lowest, heard := h.beacons.At(0)
		if now.Sub(heard) < beaconFor {
			break
		}
		h.beacons.Delete(lowest)
	}
	h.component = peer.ID{}
	if h.beacons.Len() == 0 {
		return
	}
	h.component, _ = h.beacons.At(0)
	if !h.named.IsZero() && h.component.Less(h.named) && h.swapAt.IsZero() {
		h.swapAt = now.Add(h.upTo(swapWithin))
	}
	h.named = h.component
}

// Contacts takes what discovery vouches for now.
func (h *heal) Contacts(list []proto.Contact) { h.contacts, h.stale = list, true }

// members is what healing reads of the directory, and only when something has
// changed.
type members interface {
	Members() iter.Seq[proto.Member]
	Revision() uint64
}

// Wake does what is due.
func (h *heal) Wake(now time.Time, all members, out *proto.Out) healWants {
	var wants healWants
	h.name(now)
	if proto.Due(now, h.beaconAt) {
		wants.Beacon = true
		h.beaconAt = now.Add(beaconEvery)
		h.Beacon(now, h.self)
	}
	if proto.Due(now, h.swapAt) {
		h.swapAt = time.Time{}
		wants.Swap = h.returned(now, all)
	}
	if proto.Due(now, h.tickAt) {
		h.tickAt = now.Add(time.Second)
		h.giveUp(now, out)
		// Large clusters change often, and looking costs their size: at a thousand once a second, at ten thousand every ten.
		if h.stale || h.revision != all.Revision() && !now.Before(h.aimedAt.Add(time.Duration(h.size)*time.Millisecond)) {
			h.aim(now, all)
		}
		h.ask(now, out)
	}
	return wants
}

// Deadline is when Wake is wanted next.
func (h *heal) Deadline() time.Time {
	next := proto.Sooner(h.beaconAt, h.tickAt, h.swapAt)
	if h.beacons.Len() > 0 {
		_, heard := h.beacons.At(0)
		next = proto.Sooner(next, heard.Add(beaconFor))
	}
	return next
}

// returned draws a member that was certified down and came back lately: that
// is how the other side of a healed partition looks. A newcomer with the lowest
// ID lowers the component too, and nobody need swap a link for it.
func (h *heal) returned(now time.Time, all members) proto.PeerInfo {
	var back []*proto.Entry
	for m := range all.Members() {
		if e := m.Entry; m.Status == proto.StatusAlive && e.ID != h.self && e.Incarnation > e.Birth && now.Sub(m.Since) < ReturnedFor {
			back = append(back, e)
		}
	}
	if len(back) == 0 {
		return proto.PeerInfo{}
	}
	return back[h.rng.IntN(len(back))].Info()
}

// ask probes targets whose round has come. Every node takes part in each round
// with probability 1/size, so that the cluster makes about one attempt a round.
// Of what discovery vouches for, a thousand may never answer: the rounds are as
// long as it takes to keep the attempts probeGap apart.
// Rounds of what discovery does not vouch for grow rarer, since most of the dead
// stay dead, until all of them together get an attempt each probePace: enough to
// notice soon that a partition is over, however long it was.
//
// Rounds are drawn widely around their mean. Who is lost in a partition is lost
// at once and to all: rounds in step would leave the whole cluster blind between.
func (h *heal) ask(now time.Time, out *proto.Out) {
	n := len(h.targets)
	if n == 0 {
		return
	}
	first := h.rng.IntN(n) // or the last would always find all probes under way
	for i := range n {
		t := &h.targets[(first+i)%n]
		if now.Before(t.next) {
			continue
		}
		if h.rng.IntN(h.size) == 0 {
			if len(h.probes) >= probesMax {
				continue // its round waits
			}
			h.dial(t, out)
		}
		if !t.vouched {
			t.wait = min(2*t.wait, max(probeRare, time.Duration(n)*probePace), probeSlowest)
		}
		t.next = now.Add(h.round(t)/4 + h.upTo(3*h.round(t)/2))
	}
}

// round is the mean time between two attempts of the cluster at a target.
func (h *heal) round(t *target) time.Duration {
	if !t.vouched {
		return t.wait
	}
	return max(t.wait, min(time.Duration(h.vouched)*probeGap, probeSlowest))
}

func (h *heal) dial(t *target, out *proto.Out) {
	h.seq++
	p := probe{tag: proto.DialTag(proto.OwnerHeal, h.seq), key: t.key}
	h.probes = append(h.probes, p)
	out.Add(proto.Dial{Tag: p.tag, Owner: proto.OwnerHeal, Kind: proto.LinkProbe, Addrs: t.addrs, Timeout: probeTimeout})
}

// LinkUp: a probe reached somebody. It is asked for its component.
func (h *heal) LinkUp(now time.Time, up proto.LinkUp, out *proto.Out) {
	i := slices.IndexFunc(h.probes, func(p probe) bool { return p.tag == up.Tag })
	if i < 0 {
		panic("core: a probe that healing did not dial")
	}
	h.probes[i].link, h.probes[i].until = up.Link, now.Add(probeTimeout)
	out.Add(proto.Send{Link: up.Link, Msg: proto.Ping{
		Seq: h.seq, Sent: now.Sub(h.start), Component: h.component, Size: uint32(h.size),
	}})
}

// DialFailed: nobody is there, or ourselves.
func (h *heal) DialFailed(df proto.DialFailed) {
	i := slices.IndexFunc(h.probes, func(p probe) bool { return p.tag == df.Tag })
	if i < 0 {
		panic("core: a probe that healing did not dial")
	}
	if df.Why == proto.DialSelf {
		h.calm(h.probes[i].key)
	}
	h.probes = slices.Delete(h.probes, i, i+1)
}

// LinkDown: a probe's link ended, by us or before its pong.
func (h *heal) LinkDown(id proto.LinkID) {
	h.probes = slices.DeleteFunc(h.probes, func(p probe) bool { return p.link == id })
}

// giveUp ends probes without a pong.
func (h *heal) giveUp(now time.Time, out *proto.Out) {
	for _, p := range h.probes {
		if proto.Due(now, p.until) {
			out.Add(proto.Hangup{Link: p.link, Why: "no pong"})
		}
	}
	h.probes = slices.DeleteFunc(h.probes, func(p probe) bool { return proto.Due(now, p.until) })
}

// Pong takes the answer of a node that is no neighbour, to a probe of healing
// or of the directory, and tells whether a bridge to it is wanted. All of one
// side ask, so each opens one with a probability that leaves a few in a round of
// probeEvery; in rarer rounds fewer ask, and more of them do.
func (h *heal) Pong(id proto.LinkID, who proto.PeerInfo, component peer.ID, out *proto.Out) healWants {
	same, want := component == h.component, bridgesWant
	if i := slices.IndexFunc(h.probes, func(p probe) bool { return p.link == id && id != 0 }); i >= 0 {
		if t, ok := find(h.targets, h.probes[i].key); ok {
			want *= max(1, int(h.round(&h.targets[t])/probeEvery))
		}
		if same && !component.IsZero() {
			h.calm(h.probes[i].key)
		}
		h.probes = slices.Delete(h.probes, i, i+1)
		out.Add(proto.Hangup{Link: id, Why: "probe done", Flush: true})
	}
	if same || component.IsZero() || h.component.IsZero() || h.rng.IntN(max(h.size, want)) >= want {
		return healWants{}
	}
	return healWants{Bridge: who}
}

// calm makes the rounds of an address rare that led to our own component: an
// address shared by many, say, or one of our own.
func (h *heal) calm(key string) {
	if i, ok := find(h.targets, key); ok {
		t := &h.targets[i]
		t.next = t.next.Add(min(4*t.wait, probeSlowest))
		t.wait = min(4*t.wait, probeSlowest)
	}
}

func (h *heal) upTo(d time.Duration) time.Duration { return time.Duration(h.rng.Int64N(int64(d) + 1)) }
