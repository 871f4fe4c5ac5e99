package overlay

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// Run takes part in the overlay until ctx ends, which is no error, or the core
// says that this process must end, which is. When it returns, all links are
// closed and nothing of it is left. It runs once.
func (o *Overlay) Run(ctx context.Context, upper Upper) error {
	if o.started.Swap(true) {
		panic("overlay: Run a second time")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.running, o.upper = ctx, upper
	o.accepting.Go(func() { o.accept(ctx) })
	o.log.Info("node started", "name", o.self.Name, "id", o.self.ID.String(), "addr", o.Addr().String(),
		"advertise", o.self.Addrs, "names_proven", o.keys.ProvesNames())
	err := o.loop(ctx)
	cancel()
	o.end()
	return err
}

// end closes everything and waits for it.
func (o *Overlay) end() {
	_ = o.listener.Close()
	o.accepting.Wait()
	o.gate.close()
	o.inbox.close()
	o.ClearFaults("")
	for _, l := range o.table.close() {
		l.Hangup(true)
	}
	o.wg.Wait()
	o.goneOnce.Do(func() { close(o.gone) })
	o.log.Info("node ended", "name", o.self.Name)
}

// idleTick is how long the loop sleeps at most, so that it can be seen to live.
const idleTick = time.Second

// turnMax is how many inputs are taken before what came of them is sent off.
const turnMax = 128

// loop is the only one that touches the core.
func (o *Overlay) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var taken []proto.Input
	for ctx.Err() == nil {
		var since time.Time
		taken, since = o.inbox.take(taken)
		if len(taken) > 0 {
			o.lag.add(time.Since(since))
		}
		rest := taken
		for {
			some := rest[:min(turnMax, len(rest))]
			wakeAt, err := o.turn(some)
			if err != nil {
				return err
			}
			if rest = rest[len(some):]; len(rest) == 0 {
				o.sleep(ctx, timer, wakeAt)
				break
			}
		}
	}
	return nil
}

// turn takes some inputs, and the core's deadline if it has come, and wakes
// the writers of all links that something is to be sent over. It tells when the
// core wants to be woken next.
func (o *Overlay) turn(inputs []proto.Input) (wakeAt time.Time, err error) {
	for i, in := range inputs {
		inputs[i] = nil
		if err := o.step(in); err != nil {
			return wakeAt, err
		}
	}
	now := time.Now()
	wakeAt = o.core.Deadline()
	if !wakeAt.IsZero() && !now.Before(wakeAt) {
		if err := o.step(proto.Wake{}); err != nil {
			return wakeAt, err
		}
		wakeAt = o.core.Deadline()
	}
	for l := range o.touched {
		l.Flush()
		delete(o.touched, l)
	}
	o.tick.Store(now.UnixNano())
	if now.Sub(o.publishedAt) >= idleTick {
		o.publish()
	}
	return wakeAt, nil
}

// sleep waits for inputs, the core's deadline, or the end.
func (o *Overlay) sleep(ctx context.Context, timer *time.Timer, wakeAt time.Time) {
	wait := idleTick
	if !wakeAt.IsZero() {
		wait = min(wait, time.Until(wakeAt))
	}
	if wait <= 0 {
		return
	}
	timer.Reset(whole(wait))
	select {
	case <-o.inbox.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// whole lengthens a wait by up to a millisecond. epoll counts in milliseconds,
// of which Go takes the whole ones and then wakes to wait for the rest; so a
// wait is made of whole ones and the little by which the kernel is late.
func whole(wait time.Duration) time.Duration {
	if wait < 5*time.Millisecond {
		return wait
	}
	return wait.Truncate(time.Millisecond) + time.Millisecond + 50*time.Microsecond
}

// publish makes what the core knows known to other goroutines.
func (o *Overlay) publish() {
	o.publishedAt = time.Now()
	o.giveBack(o.publishedAt)
	o.roster.Store(o.core.Roster())
	s := o.core.Stats()
	o.inner.Store(&s)
}

// step gives the core one input and carries out what it wants.
func (o *Overlay) step(in proto.Input) error {
	switch in := in.(type) {
	case proto.Received:
		o.frames.in.add(in.Msg)
	case proto.LinkUp:
		if in.Dialed {
			o.dialed(in.Addr, in.Peer.ID, 0)
		}
	case proto.DialFailed:
		o.dialed(in.Addr, in.Peer, in.Why)
	case proto.LinkDown:
		if in.Why == proto.DownGarbage {
			o.littered = true
		}
	default:
	}
	for _, out := range o.core.Step(time.Now(), in) {
		switch out := out.(type) {
		case proto.Send:
			o.send(out)
		case proto.Dial:
			o.dial(out)
		case proto.Hangup:
			o.hangup(out)
		case proto.Ignored:
			o.ignored.add(out.Why)
		case proto.Fatal:
			o.upper.Handle(out)
			return fmt.Errorf("overlay: this node must end: %w", errors.New(out.Why))
		default:
			o.tell(out)
		}
	}
	return nil
}

// dialed tells whoever wants to know how a dial of an address ended.
func (o *Overlay) dialed(addr string, who peer.ID, why proto.DialWhy) {
	if o.cfg.Dialed == nil || addr == "" || why == proto.DialLocal {
		return
	}
	switch why {
	case 0, proto.DialOtherNode:
		o.cfg.Dialed(addr, who, nil)
	case proto.DialSelf:
		o.cfg.Dialed(addr, o.self.ID, nil)
	default:
		o.cfg.Dialed(addr, peer.ID{}, errors.New(why.String()))
	}
}

// giveBackEvery is the least time between two rounds of giving memory back.
const giveBackEvery = 5 * time.Second

// giveBack returns memory to the system after a peer broke the protocol: what
// it made us hold (at most a frame) must not stay ours for the minutes that the
// runtime takes by itself.
func (o *Overlay) giveBack(now time.Time) {
	if o.littered && now.Sub(o.gaveBackAt) >= giveBackEvery {
		o.littered, o.gaveBackAt = false, now
		o.wg.Go(debug.FreeOSMemory)
	}
}

// keepFrame is the largest buffer for frames that is kept, in bytes.
const keepFrame = 64 << 10

// send writes a frame and queues it; its link is woken at the end of the turn.
func (o *Overlay) send(out proto.Send) {
	l := o.table.get(out.Link)
	if l == nil {
		return // its LinkDown is on the way
	}
	o.out = wire.Append(o.out[:0], out.Msg)
	l.Send(out.Msg, o.out)
	o.touched[l] = struct{}{}
	o.frames.out.add(out.Msg)
	if cap(o.out) > keepFrame {
		o.out = nil
	}
}

func (o *Overlay) hangup(out proto.Hangup) {
	if l := o.table.get(out.Link); l != nil {
		o.log.Debug("hang up", "peer", l.Peer.Name, "addr", l.Addr, "why", out.Why)
		l.Hangup(out.Flush)
	}
}

// nameOf is a member's name for people; of one that is no member the start of its ID.
func (o *Overlay) nameOf(id peer.ID) string {
	if m := o.roster.Load().Get(id); m != nil {
		return m.Entry.Name
	}
	return id.Short()
}

// tell hands an output to the layer above, and logs what changes the node's state.
func (o *Overlay) tell(out proto.Output) {
	switch out := out.(type) {
	case proto.MembersChanged:
		o.roster.Store(o.core.Roster())
		for _, c := range out.Changes {
			if c.Kind != proto.ChangeUpdated {
				o.log.Info("member changed", "change", c.Kind.String(), "peer", c.Member.Entry.Name, "id", c.Member.Entry.ID.String(), "why", c.Member.Why)
			}
		}
	case proto.NeighborUp:
		o.log.Info("neighbour up", "peer", out.Peer.Name, "link", uint64(out.Link))
	case proto.NeighborDown:
		o.log.Info("neighbour down", "peer", o.nameOf(out.Peer), "link", uint64(out.Link), "why", out.Why)
	case proto.ContactsWanted:
		o.log.Info("contacts wanted", "why", out.Why)
	case proto.Gone:
		o.goneOnce.Do(func() { close(o.gone) })
	case proto.Dispatch, proto.CancelDispatch, proto.CallStarted, proto.CallVerdict, proto.CallDone, proto.CallRefused,
		proto.Published, proto.Deliver, proto.Gap, proto.NeighborDraining:
	default:
		panic(fmt.Sprintf("overlay: the core gave a %T, which is not for the world", out))
	}
	o.upper.Handle(out)
}
