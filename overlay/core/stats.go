package core

import (
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/wave"
)

// Stats is how things stand, and counters since the start.
type Stats struct {
	Active, Passive []peer.ID // the views, in the order of the IDs
	Component       peer.ID   // zero: not known yet
	Health          int       // this node's own, as Lifeguard counts it: 0 is well
	Pooled          int       // pooled links remembered, and those being dialled
	Running         int       // dispatches that owe their result
	Calls           wave.Stats
}

// Stats copies them.
func (c *Core) Stats() Stats {
	return Stats{
		Active: c.views.Active(), Passive: c.views.Passive(), Component: c.heal.Component(), Health: c.dir.Health(),
		Pooled: c.pool.entries.Len(), Running: c.running, Calls: c.wave.Stats(),
	}
}
