package hyparview

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

const (
	contactsMax = 1024 // contacts kept; discovery orders them, the first are kept
	oursMax     = 32   // addresses kept that turned out to be ourselves

	// Where a thousand contacts refuse, the lonely would run through all of them
	// as fast as they can, and keep those busy that might answer: after a burst
	// they dial one each gap.
	contactBurst = 32
	contactGap   = 100 * time.Millisecond
)

// contacts are the addresses that discovery vouches for.
type contacts struct {
	list    []contact
	ours    []string  // first addresses of contacts that are ourselves
	spread  int       // how many are still to be dialled even though there is no need
	startAt time.Time // not before this; zero: now
	paidFor time.Time // until when the dials so far have used up a dial each gap
	again   bool      // it is the turn of those that were tried before
	known   bool      // some were given once
}

// contact is one of them. hint is who answered there last: an address is
// where, never who, so it only saves dialling a member again.
type contact struct {
	key     string // its first address
	addrs   []string
	hint    peer.ID
	retryAt time.Time
	wait    time.Duration
}

// Contacts takes what discovery vouches for now, best first. It replaces what
// was said before.
func (v *Views) Contacts(now time.Time, list []proto.Contact, out *proto.Out) {
	c := &v.contacts
	old := make(map[string]contact, len(c.list)) // a search for each of a thousand would cost milliseconds
	for _, e := range c.list {
		old[e.key] = e
	}
	c.list = make([]contact, 0, min(len(list), contactsMax))
	taken := make(map[string]bool, cap(c.list))
	for _, given := range list {
		if len(given.Addrs) == 0 || len(c.list) == contactsMax {
			continue
		}
		key := given.Addrs[0]
		if taken[key] || slices.Contains(c.ours, key) {
			continue
		}
		taken[key] = true
		next := old[key] // the zero contact if it is new
		next.key, next.addrs = key, given.Addrs
		c.list = append(c.list, next)
	}
	if !c.known && len(c.list) > 0 {
		c.known, c.spread = true, v.cfg.Spread
		c.startAt = now.Add(v.upTo(v.cfg.StartJitter))
	}
	if c.known && c.startAt.IsZero() && v.active.Len() < 2 {
		v.hungry = true
	}
	v.settle(now, out)
}

// dialContacts joins at contacts, each at its own pace, and all of them at ours.
func (v *Views) dialContacts(now time.Time, out *proto.Out) {
	c := &v.contacts
	for c.startAt.IsZero() && v.wants() > 0 {
		e := v.nextContact(now)
		if e == nil {
			return
		}
		if early := c.paidFor.Add(-contactBurst * contactGap); now.Before(early) {
			c.startAt = early
			return
		}
		if c.paidFor.Before(now) {
			c.paidFor = now
		}
		c.paidFor, c.again = c.paidFor.Add(contactGap), !c.again
		c.spread = max(0, c.spread-1)
		e.wait = min(max(2*e.wait, v.cfg.ContactRetry), v.cfg.ContactRetryMax)
		e.retryAt = now.Add(e.wait + v.upTo(e.wait/4))
		v.dial(now, attempt{purpose: forContact, contact: e.key}, e.addrs, proto.LinkOverlay, out)
	}
}

// nextContact is the first, in discovery's order, of those not tried yet or, in
// turn with them, of those whose wait is over: neither a thousand that stay
// silent nor a few that are tried again and again stand before the others.
func (v *Views) nextContact(now time.Time) *contact {
	c := &v.contacts
	var fresh, again *contact
	for i := range c.list {
		e := &c.list[i]
		if now.Before(e.retryAt) || (!e.hint.IsZero() && v.active.Has(e.hint)) || v.joiningAt(e.key) {
			continue
		}
		switch {
		case e.wait == 0 && fresh == nil:
			fresh = e
		case e.wait > 0 && again == nil:
			again = e
		}
		if fresh != nil && again != nil {
			break
		}
	}
	if fresh == nil || c.again && again != nil {
		return again
	}
	return fresh
}

func (v *Views) joiningAt(key string) bool {
	return v.pending(func(a *attempt) bool { return a.purpose == forContact && a.contact == key }) > 0
}

func (c *contacts) find(key string) *contact {
	for i := range c.list {
		if c.list[i].key == key {
			return &c.list[i]
		}
	}
	return nil
}

// learnt keeps who answered at a contact, as a hint.
func (c *contacts) learnt(key string, id peer.ID) {
	if e := c.find(key); e != nil {
		e.hint = id
	}
}

// met forgets the impatience with a contact whose node is a member now.
func (c *contacts) met(id peer.ID) {
	for i := range c.list {
		if c.list[i].hint == id {
			c.list[i].wait, c.list[i].retryAt = 0, time.Time{}
		}
	}
}

// itIsUs drops a contact that is this very node, for good.
func (c *contacts) itIsUs(key string) {
	c.list = slices.DeleteFunc(c.list, func(e contact) bool { return e.key == key })
	if len(c.ours) == oursMax {
		c.ours = slices.Delete(c.ours, 0, 1)
	}
	c.ours = append(c.ours, key)
}
