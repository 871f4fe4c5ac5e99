package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/connectivity"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Members lists the members as the sidecar knows them, by name: those alive or
// suspect, and with IncludeGone the others too.
func (c *Client) Members(ctx context.Context, opts ...CallOption) ([]Member, Snapshot, error) {
	o := gather(opts)
	r, err := c.members.ListMembers(ctx, &starlingv1.ListMembersRequest{Select: o.selector, IncludeGone: o.gone})
	if err != nil {
		return nil, Snapshot{}, fmt.Errorf("list members: %w", fromStatus(err))
	}
	return membersOf(r.GetMembers()), snapshot(r.GetSnapshot()), nil
}

// Watch yields a snapshot of the members and then every change, until ctx ends
// or the loop is left. After a lost connection it goes on with a new snapshot.
func (c *Client) Watch(ctx context.Context) iter.Seq2[MemberUpdate, error] {
	return func(yield func(MemberUpdate, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.done, cancel)()
		for retry := 20 * time.Millisecond; ; retry = min(2*retry, time.Second) {
			more, err := c.watchOnce(ctx, yield)
			if !more || ctx.Err() != nil {
				return
			}
			c.log.Info("lost the watch of members, starting again", "addr", c.socket, "why", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retry):
			}
		}
	}
}

// watchOnce follows one stream; more is false when the loop was left.
func (c *Client) watchOnce(ctx context.Context, yield func(MemberUpdate, error) bool) (more bool, err error) {
	stream, err := c.members.WatchMembers(ctx, &starlingv1.WatchMembersRequest{})
	if err != nil {
		return true, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) || err != nil {
			return true, fromStatus(err)
		}
		u := MemberUpdate{Revision: m.GetRevision()}
		if snap := m.GetSnapshot(); snap != nil {
			u.Snapshot = membersOf(snap.GetMembers())
		}
		for _, ch := range m.GetChanges().GetChanges() {
			u.Changes = append(u.Changes, MemberChange{Event: word(ch.GetEvent().String(), "MEMBER_EVENT_"), Member: member(ch.GetMember())})
		}
		if !yield(u, nil) {
			return false, nil
		}
	}
}

// Peers is how an AwaitPeers ended.
type Peers struct {
	Satisfied     bool
	Alive, Wanted int
	Members       []Member
}

// AwaitPeers waits until count members are alive, self included; 0 means as
// many as discovery expects. It is not satisfied when the time (the context's
// deadline, Timeout, else 30 s) was over before.
func (c *Client) AwaitPeers(ctx context.Context, count int, opts ...CallOption) (*Peers, error) {
	o := gather(opts)
	if o.timeout <= 0 {
		o.timeout = 30 * time.Second
		if end, ok := ctx.Deadline(); ok {
			c.connected(ctx)
			o.timeout = time.Until(end) * 9 / 10 // the answer is to come before the deadline
		}
	}
	r, err := c.members.AwaitPeers(ctx, &starlingv1.AwaitPeersRequest{
		Count: uint32(max(count, 0)), Select: o.selector, StableFor: seconds(o.stableFor), Timeout: seconds(o.timeout),
	})
	if err != nil {
		return nil, fmt.Errorf("await peers: %w", fromStatus(err))
	}
	return &Peers{Satisfied: r.GetSatisfied(), Alive: int(r.GetAlive()), Wanted: int(r.GetWanted()), Members: membersOf(r.GetMembers())}, nil
}

// connected waits for the connection that asks about members, which is opened
// when it is first used, or until there is none to be had.
func (c *Client) connected(ctx context.Context) {
	c.conn.Connect()
	for {
		switch state := c.conn.GetState(); state {
		case connectivity.Idle, connectivity.Connecting:
			if !c.conn.WaitForStateChange(ctx, state) {
				return
			}
		default: // ready, or the call itself tells why not
			return
		}
	}
}

// Status tells how the sidecar is, in the API's own words.
func (c *Client) Status(ctx context.Context) (*starlingv1.GetStatusResponse, error) {
	r, err := c.members.GetStatus(ctx, &starlingv1.GetStatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status: %w", fromStatus(err))
	}
	return r, nil
}
