package hyparview

import (
	"time"
)

// Check asserts the invariants of the views. It is cheap enough to call after
// every step, in production too. What it panics about is a bug of this package.
//
// H4 (walks shrink), H5 (refusals have a reason) and H8 (no request within a
// cool-down) are asserted where they are decided, and H6 and H7 follow from
// where peers go when they leave the active view, which Check sees as H1 and H3.
//
// It looks only at what was touched since it looked last.
func (v *Views) Check() {
	if !v.unchecked {
		return
	}
	v.unchecked = false
	mustHold(!v.active.Has(v.self.ID) && !v.passive.Has(v.self.ID), "H1: a node is in none of its own views")
	bridges := v.active.Len() - v.ordinary()
	mustHold(v.active.Len()-bridges <= v.cfg.Active, "H2: the active view is within its bound")
	mustHold(bridges <= v.cfg.Bridges, "H2: bridges are within their bound")
	mustHold(v.passive.Len() <= v.cfg.Passive, "H2: the passive view is within its bound")
	mustHold(v.cooling.Len() <= coolMax, "H2: cool-downs are within their bound")
	mustHold(len(v.preferred) <= v.cfg.Redirect, "H2: hints are within their bound")
	mustHold(v.pending((*attempt).needsRoom) <= v.cfg.Requests, "H2: requests are within their bound")

	members := 0
	for i, l := range v.links {
		mustHold(i == 0 || v.links[i-1].id < l.id, "links are in order")
		timed := l.state == stateIdle || l.state == stateAsked || l.state == stateDraining
		mustHold(timed == !l.deadline.IsZero(), "a link that waits has a deadline, and no other has")
		if l.state == stateActive {
			members++
		}
	}
	mustHold(members == v.active.Len(), "H3: a member has one link, an active link has its member")
	for id, l := range v.active.All() {
		mustHold(l.state == stateActive && l.peer.ID == id && v.find(l.id) == l, "H3: a member's link is open and is its own")
		mustHold(!v.passive.Has(id), "H1: active and passive are disjoint")
		mustHold(v.namesake(&l.peer) == nil, "H1: one member per name")
	}
	if v.renamed { // it takes longer than all the rest
		v.renamed = false
		v.checkNames()
	}
}

func (v *Views) checkNames() {
	for i := range v.passive.Len() {
		_, k := v.passive.At(i)
		if k.info.Name == "" {
			continue
		}
		mustHold(v.namesake(&k.info) == nil, "H1: no passive entry with a member's name")
		for j := range i {
			_, other := v.passive.At(j)
			mustHold(other.info.Name != k.info.Name, "H1: one passive entry per name")
		}
	}
}

// mayAsk asserts H8 before a dial, and H1's part of it.
func (v *Views) mayAsk(now time.Time, a *attempt) {
	mustHold(!v.leaving, "who leaves asks nobody")
	if a.purpose == forContact || a.purpose == forProbe {
		return // an address, not a peer; and a probe asks for nothing
	}
	mustHold(a.peer.ID != v.self.ID && !v.active.Has(a.peer.ID), "H1: neither self nor a member is asked")
	mustHold(v.active.Len() == 0 || !v.isCooling(now, a.peer.ID), "H8: no request within a cool-down unless the view is empty")
}

// mustHold stops the process when what this package relies on is not so: going
// on would spread the damage to other nodes.
func mustHold(ok bool, what string) {
	if !ok {
		panic("hyparview: " + what)
	}
}
