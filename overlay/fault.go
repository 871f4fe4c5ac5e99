package overlay

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/peer"
)

// FaultKind is what is done to the links with a peer.
type FaultKind string

const (
	// FaultCut drops what passes. Cut both ways, links to the peer break; either
	// way no new ones come up.
	FaultCut FaultKind = "cut"
	// FaultDelay holds each frame for a while.
	FaultDelay FaultKind = "delay"
	// FaultStall holds everything until the fault ends.
	FaultStall FaultKind = "stall"
)

// FaultWay says which direction suffers.
type FaultWay string

const (
	FaultBoth FaultWay = "both"
	FaultIn   FaultWay = "in"  // what the peer sends us
	FaultOut  FaultWay = "out" // what we send it
)

// Fault is a fault to be injected, for tests and game days.
type Fault struct {
	Peer  string // a node's name or ID; "*": all
	Kind  FaultKind
	Way   FaultWay
	Delay time.Duration // of FaultDelay; up to 10 s
	For   time.Duration // how long the fault lasts; up to 1 h
}

const (
	faultDelayMax = 10 * time.Second
	faultForMax   = time.Hour
	faultsMax     = 1024
)

// ErrFaultsOff is what Fault answers unless the configuration allows faults.
var ErrFaultsOff = errors.New("fault injection is off: allow it in the configuration of this node first")

func (f *Fault) check() error {
	switch {
	case f.Peer == "":
		return errors.New(`fault: name the peer, or "*" for all`)
	case f.Kind != FaultCut && f.Kind != FaultDelay && f.Kind != FaultStall:
		return fmt.Errorf("fault %q: want %s, %s or %s", f.Kind, FaultCut, FaultDelay, FaultStall)
	case f.Way != FaultBoth && f.Way != FaultIn && f.Way != FaultOut:
		return fmt.Errorf("fault in direction %q: want %s, %s or %s", f.Way, FaultBoth, FaultIn, FaultOut)
	case f.For <= 0 || f.For > faultForMax:
		return fmt.Errorf("fault for %v: say for how long, at most %v", f.For, faultForMax)
	case f.Kind == FaultDelay && (f.Delay <= 0 || f.Delay > faultDelayMax):
		return fmt.Errorf("fault delay %v: want more than zero and at most %v", f.Delay, faultDelayMax)
	default:
		return nil
	}
}

// faults are those in force.
type faults struct {
	mu   sync.Mutex // guards the rest
	list []*activeFault
}

type activeFault struct {
	Fault
	until time.Time
	timer *time.Timer
}

func (f *Fault) hits(id peer.ID, name string) bool {
	return f.Peer == "*" || f.Peer == name || f.Peer == id.String()
}

// refuses tells whether no new link with this peer may come up.
func (f *faults) refuses(id peer.ID, name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.list, func(a *activeFault) bool { return a.Kind == FaultCut && a.hits(id, name) })
}

// Fault injects a fault now. It ends by itself; ErrFaultsOff unless the
// configuration allows faults.
func (o *Overlay) Fault(fault Fault) error {
	if !o.cfg.Faults {
		return ErrFaultsOff
	}
	if err := fault.check(); err != nil {
		return err
	}
	f := &o.faults
	f.mu.Lock()
	if len(f.list) >= faultsMax {
		f.mu.Unlock()
		return fmt.Errorf("fault: %d are in force already, clear some", faultsMax)
	}
	a := &activeFault{Fault: fault, until: time.Now().Add(fault.For)}
	a.timer = time.AfterFunc(fault.For, func() { o.endFaults(func(other *activeFault) bool { return other == a }) })
	f.list = append(f.list, a)
	f.mu.Unlock()
	o.log.Warn("fault injected", "peer", fault.Peer, "fault", string(fault.Kind), "way", string(fault.Way), "for", fault.For)
	o.applyFaults()
	return nil
}

// Faults lists the faults in force, with the time they have left.
func (o *Overlay) Faults() []Fault {
	f := &o.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Fault
	for _, a := range f.list {
		left := a.Fault
		left.For = time.Until(a.until)
		list = append(list, left)
	}
	return list
}

// ClearFaults ends the faults of a peer now, or all if peer is empty, and
// tells how many.
func (o *Overlay) ClearFaults(peer string) int {
	return o.endFaults(func(a *activeFault) bool { return peer == "" || a.Peer == peer })
}

func (o *Overlay) endFaults(which func(*activeFault) bool) (ended int) {
	f := &o.faults
	f.mu.Lock()
	f.list = slices.DeleteFunc(f.list, func(a *activeFault) bool {
		if !which(a) {
			return false
		}
		ended++
		a.timer.Stop()
		o.log.Warn("fault ended", "peer", a.Peer, "fault", string(a.Kind), "way", string(a.Way))
		return true
	})
	f.mu.Unlock()
	o.applyFaults()
	return ended
}

// applyFaults tells every link what it suffers now, and breaks those that are cut.
func (o *Overlay) applyFaults() {
	for _, l := range o.table.all() {
		o.applyFaultsTo(l)
	}
}

func (o *Overlay) applyFaultsTo(l *link.Link) {
	f := &o.faults
	f.mu.Lock()
	var in, out link.Fault
	for _, a := range f.list {
		if !a.hits(l.Peer.ID, l.Peer.Name) {
			continue
		}
		if a.Way != FaultOut {
			a.addTo(&in)
		}
		if a.Way != FaultIn {
			a.addTo(&out)
		}
	}
	l.Suffer(in, out)
	f.mu.Unlock()
}

func (f *Fault) addTo(way *link.Fault) {
	switch f.Kind {
	case FaultCut:
		way.Drop = true
	case FaultStall:
		way.Stall = true
	case FaultDelay:
		way.Delay += f.Delay
	}
}
