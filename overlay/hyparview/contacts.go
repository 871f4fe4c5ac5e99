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
)

// contacts are the addresses that discovery vouches for.
type contacts struct {
	list    []contact
	ours    []string  // first addresses of contacts that are ourselves
	spread  int       // how many are still to be dialled even though there is no need
	startAt time.Time // not before this; zero: now
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
	old := c.list
	c.list = make([]contact, 0, min(len(list), contactsMax))
	for _, given := range list {
		if len(given.Addrs) == 0 || len(c.list) == contactsMax || slices.Contains(c.ours, given.Addrs[0]) {
			continue
		}
		key := given.Addrs[0]
		if c.find(key) != nil {
			continue
		}
		next := contact{key: key}
		if i := slices.IndexFunc(old, func(o contact) bool { return o.key == key }); i >= 0 {
			next = old[i]
		}
		next.addrs = given.Addrs
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

// dialContacts joins at contacts in their order, each at its own pace.
func (v *Views) dialContacts(now time.Time, out *proto.Out) {
	c := &v.contacts
	if !c.startAt.IsZero() {
		return
	}
	for i := range c.list {
		if v.wants() <= 0 {
			return
		}
		e := &c.list[i]
		if now.Before(e.retryAt) || (!e.hint.IsZero() && v.active.Has(e.hint)) || v.joiningAt(e.key) {
			continue
		}
		c.spread = max(0, c.spread-1)
		e.wait = min(max(2*e.wait, v.cfg.ContactRetry), v.cfg.ContactRetryMax)
		e.retryAt = now.Add(e.wait + v.upTo(e.wait/4))
		v.dial(now, attempt{purpose: forContact, contact: e.key}, e.addrs, proto.LinkOverlay, out)
	}
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
