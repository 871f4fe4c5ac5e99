package hyparview

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// known is an entry of the passive view.
type known struct {
	info  proto.PeerInfo
	heard time.Time // last first-hand sign of life; zero: hearsay only
}

// hear takes what somebody else says of a peer.
func (v *Views) hear(now time.Time, info proto.PeerInfo) {
	if v.isDead(now, &info) {
		return
	}
	v.remember(info, time.Time{})
}

// remember puts a peer into the passive view, unless it has no place there, and
// drops a random entry if the view overflows.
func (v *Views) remember(info proto.PeerInfo, heard time.Time) {
	if info.ID.IsZero() || info.ID == v.self.ID || len(info.Addrs) == 0 || v.active.Has(info.ID) {
		return
	}
	if c, ok := v.cooling.Get(info.ID); ok && c.dead != alive && info.Incarnation > c.dead {
		v.cooling.Delete(info.ID) // it came back: the old failure says nothing of it
	}
	if old, ok := v.passive.Get(info.ID); ok {
		if info.Incarnation < old.info.Incarnation {
			info = old.info
		}
		if heard.Before(old.heard) {
			heard = old.heard
		}
		v.passive.Delete(info.ID) // its name may be another now
	}
	if !v.freeName(&info) {
		return
	}
	v.passive.Put(info.ID, known{info: info, heard: heard})
	v.renamed = true
	for v.passive.Len() > v.cfg.Passive {
		if id, _ := v.passive.At(v.rng.IntN(v.passive.Len())); id != info.ID {
			v.passive.Delete(id)
		}
	}
}

// freeName makes way for a peer if its name is known: of one name the highest
// incarnation stays (H1). It tells whether the peer may come in.
func (v *Views) freeName(info *proto.PeerInfo) bool {
	if info.Name == "" {
		return true
	}
	if info.Name == v.self.Name || v.namesake(info) != nil {
		return false // a living link says more than hearsay
	}
	for id, k := range v.passive.All() {
		if k.info.Name == info.Name {
			if k.info.Incarnation >= info.Incarnation {
				return false
			}
			v.passive.Delete(id)
			return true // names are unique in it
		}
	}
	return true
}

// forgetName removes a new member's namesake from the passive view.
func (v *Views) forgetName(info proto.PeerInfo) {
	if info.Name == "" {
		return
	}
	for _, id := range v.passive.Keys() {
		if k, _ := v.passive.Get(id); k.info.Name == info.Name {
			v.passive.Delete(id)
		}
	}
}

// namesake is the link to a member with this peer's name and another ID, or nil.
func (v *Views) namesake(info *proto.PeerInfo) *link {
	if info.Name == "" {
		return nil
	}
	for id, l := range v.active.All() {
		if l.peer.Name == info.Name && id != info.ID {
			return l
		}
	}
	return nil
}

// takeHints remembers peers that were named to us to be asked, in that order.
func (v *Views) takeHints(now time.Time, peers []proto.PeerInfo) {
	v.preferred = v.preferred[:0]
	for i := range peers[:min(len(peers), v.cfg.Redirect)] {
		v.hear(now, peers[i])
		if id := peers[i].ID; v.passive.Has(id) {
			v.preferred = append(v.preferred, id)
		}
	}
}

// redirect tells a peer that finds no place here whom to ask instead. These are
// members only: among the merely known are others that were turned away, and
// joiners that are sent to each other make a cluster of their own (seen with 13
// nodes and one contact). Sent to members, each finds its first link among
// nodes that are linked already.
func (v *Views) redirect(to peer.ID) []proto.PeerInfo {
	var peers []proto.PeerInfo
	for _, i := range v.sample(v.active.Len(), v.cfg.Redirect) {
		if id, l := v.active.At(i); id != to {
			peers = append(peers, l.peer)
		}
	}
	return peers
}

// farewell tells a member that loses its place whom to ask instead: first the
// newcomer that took it, then a random choice of both views.
func (v *Views) farewell(to peer.ID, newcomer *proto.PeerInfo) []proto.PeerInfo {
	var peers []proto.PeerInfo
	if newcomer != nil {
		peers = append(peers, *newcomer)
	}
	all := v.all()
	for _, i := range v.sample(len(all), len(all)) {
		if len(peers) == v.cfg.Redirect {
			break
		}
		if id := all[i].ID; id != to && (newcomer == nil || id != newcomer.ID) {
			peers = append(peers, all[i])
		}
	}
	return peers
}

// vouched lists the passive entries that we heard of at first hand lately: in
// the time that probing one of them per shuffle takes to come round. Handing on
// hearsay keeps the dead in circulation for ever: whoever finds one out is told
// of it again (of 20 clusters of 64, 18 still knew a dead node after 10 minutes).
func (v *Views) vouched(now time.Time) []proto.PeerInfo {
	var peers []proto.PeerInfo
	for _, k := range v.passive.All() {
		if now.Sub(k.heard) < v.hearsayFor() {
			peers = append(peers, k.info)
		}
	}
	return peers
}

// hearsayFor is how long a peer that was met is handed on to others.
func (v *Views) hearsayFor() time.Duration { return time.Duration(v.cfg.Passive) * v.cfg.ShuffleEvery }

// all lists both views.
func (v *Views) all() []proto.PeerInfo {
	peers := make([]proto.PeerInfo, 0, v.active.Len()+v.passive.Len())
	for _, l := range v.active.All() {
		peers = append(peers, l.peer)
	}
	for _, k := range v.passive.All() {
		peers = append(peers, k.info)
	}
	return peers
}
