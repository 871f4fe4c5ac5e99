package discovery

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"
)

// triedLately is for how long a dialled contact stands behind the others.
const triedLately = time.Minute

// Contact is somebody to dial.
type Contact struct {
	Key   string   `json:"key"`   // of the candidate
	Addrs []string `json:"addrs"` // "host:port", best first
	Host  string   `json:"host,omitempty"`
	Zone  string   `json:"zone,omitempty"`
	// Node is who is believed to answer: a hint, empty when nobody has yet.
	Node string `json:"node,omitempty"`
	// Vouched: some source names it now. Otherwise it is a memory, for want of
	// better.
	Vouched bool `json:"vouched"`
	// Alive: a living member advertises it, so nobody needs to look for it.
	Alive bool `json:"alive"`
	// NotBefore is until when dialling it is pointless: it failed lately. The
	// wait doubles from 1 s to 60 s.
	NotBefore time.Time `json:"not_before,omitzero"`
}

// Use says what becomes of a candidate.
type Use string

// The uses of a candidate.
const (
	UseContact     Use = "contact"     // it is offered
	UseLater       Use = "later"       // offered, but it failed lately
	UseSelf        Use = "self"        // it is this node
	UseTerminating Use = "terminating" // it is about to go
	UseLeft        Use = "left"        // it said goodbye
	UseDuplicate   Use = "duplicate"   // another candidate is the same peer
	UseCrowded     Use = "crowded"     // more than contacts_max stand before it
)

// verdict is a use, and what explains it; words are made of it only for who asks.
type verdict struct {
	use   Use
	than  string // duplicate: the contact before it, if it is the same node
	count int    // crowded: the contacts before it
}

// why says in words how the record came to its verdict.
func (l *ledger) why(r *record, v verdict, now time.Time) string {
	switch v.use {
	case UseSelf:
		return "is this node"
	case UseTerminating:
		return "is terminating"
	case UseLeft:
		return fmt.Sprintf("node %s left %v ago; offered again after %v", r.endNode, now.Sub(r.endAt).Round(time.Second), leftHold)
	case UseLater:
		return fmt.Sprintf("dial failed: %s; next try in %v", r.dialErr, r.notBefore.Sub(now).Round(time.Second))
	case UseDuplicate:
		if v.than != "" {
			return "is the same node as " + v.than
		}
		return "its addresses are those of contacts before it"
	case UseCrowded:
		return fmt.Sprintf("%d contacts stand before it (contacts_max)", v.count)
	case UseContact:
		if !l.vouched(r) {
			return "no source vouches for it now; kept until the overlay loses it and the grace is over"
		}
		return "vouched for"
	default:
		panic("discovery: unknown use")
	}
}

// choose returns the contacts, best first, and what became of each record.
//
// Everybody has an order of his own (a hash of self and peer), so that a fleet
// that starts together does not fall upon one node, and takes sources and zones
// in turn, so that one bad source or zone does not fill the front.
func (l *ledger) choose(now time.Time) ([]Contact, map[string]verdict) {
	verdicts := make(map[string]verdict, len(l.records))
	order := make([]*ranked, 0, len(l.records))
	groups := map[group]uint64{}
	for _, r := range l.records {
		use := l.judge(r, now)
		verdicts[r.key] = verdict{use: use}
		if use == UseContact || use == UseLater {
			order = append(order, l.rank(r, groups, now))
		}
	}
	spread(order)

	var contacts []Contact
	byAddr, byNode := map[string]int{}, map[string]int{} // index in contacts
	for _, o := range order {
		r, node := o.rec, l.nodeOf(o.rec, now)
		addrs := slices.DeleteFunc(slices.Clone(r.addrs()), func(a string) bool {
			_, taken := byAddr[a]
			return taken || l.isSelfAddr(a, now)
		})
		at, sameNode := byNode[node]
		switch {
		case sameNode && len(contacts[at].Addrs)+len(addrs) <= addrsMax:
			c := &contacts[at]
			c.Addrs = append(c.Addrs, addrs...)
			c.Vouched = c.Vouched || l.vouched(r)
			verdicts[r.key] = verdict{use: UseDuplicate, than: c.Key}
		case len(addrs) == 0:
			// The same address is no proof of the same peer, so nothing is merged;
			// but nobody needs to dial it twice.
			verdicts[r.key] = verdict{use: UseDuplicate}
		case len(contacts) >= l.cfg.ContactsMax:
			verdicts[r.key] = verdict{use: UseCrowded, count: len(contacts)}
			continue
		default:
			at = len(contacts)
			contacts = append(contacts, l.contact(r, addrs, node, now))
			if node != "" {
				byNode[node] = at
			}
		}
		for _, a := range addrs {
			byAddr[a] = at
		}
	}
	return l.addFormer(contacts, byAddr), verdicts
}

// addFormer adds living peers that lost their name to another address.
func (l *ledger) addFormer(contacts []Contact, byAddr map[string]int) []Contact {
	var former []string
	for _, r := range l.records {
		former = append(former, r.former...)
	}
	slices.Sort(former)
	for _, a := range slices.Compact(former) {
		if _, taken := byAddr[a]; !taken && len(contacts) < l.cfg.ContactsMax {
			contacts = append(contacts, Contact{Key: a, Addrs: []string{a}, Alive: true})
		}
	}
	return contacts
}

func (l *ledger) contact(r *record, addrs []string, node string, now time.Time) Contact {
	c := r.newest()
	contact := Contact{
		Key: r.key, Addrs: addrs, Host: c.Host, Zone: c.Labels[LabelZone], Node: node,
		Vouched: l.vouched(r), Alive: l.alive(r, now),
	}
	if r.notBefore.After(now) {
		contact.NotBefore = r.notBefore
	}
	return contact
}

// vouched reports whether a source names r now. A memory is nobody's word.
func (l *ledger) vouched(r *record) bool {
	return slices.ContainsFunc(r.words, func(w *word) bool {
		return w.withdrawn.IsZero() && !l.books[w.src].cache
	})
}

// judge says what becomes of r, before it is compared with others.
func (l *ledger) judge(r *record, now time.Time) Use {
	// A source may give one key the addresses of several nodes; then what is true
	// of one of them must not hide another that lives.
	switch alive := l.alive(r, now); {
	case l.isSelf(r, now) && !alive:
		return UseSelf
	case r.newest().Terminating == Yes:
		return UseTerminating
	case r.end == wentAway && !alive && now.Sub(r.endAt) < leftHold && !l.vouchedAnew(r):
		return UseLeft
	case r.notBefore.After(now):
		return UseLater
	default:
		return UseContact
	}
}

// vouchedAnew: a source began to name r after it left, so it is back.
func (l *ledger) vouchedAnew(r *record) bool {
	return slices.ContainsFunc(r.words, func(w *word) bool {
		return w.withdrawn.IsZero() && !l.books[w.src].cache && w.since.After(r.endAt)
	})
}

// ranked is a record on its way to becoming a contact.
type ranked struct {
	rec   *record
	tier  int    // 0 vouched for, 1 a memory, 2 failed lately
	late  bool   // dialled lately
	group uint64 // rank of its source and zone
	turn  int    // its place within the group
}

// group is whose contacts come in turn with those of others.
type group struct {
	src  int
	zone string
}

func (l *ledger) rank(r *record, groups map[group]uint64, now time.Time) *ranked {
	o := &ranked{rec: r, late: !r.tried.IsZero() && now.Sub(r.tried) < triedLately}
	g := group{len(l.books) - 1, r.newest().Labels[LabelZone]}
	for _, w := range r.words {
		if w.withdrawn.IsZero() {
			g.src = w.src
			break
		}
	}
	if _, known := groups[g]; !known {
		groups[g] = mix(l.cfg.Self, l.books[g.src].name+"\x00"+g.zone)
	}
	o.group = groups[g]
	switch {
	case r.notBefore.After(now):
		o.tier = 2
	case !l.vouched(r):
		o.tier = 1
	}
	return o
}

// spread sorts by tier, and within a tier takes the groups in turn.
func spread(order []*ranked) {
	slices.SortFunc(order, func(a, b *ranked) int {
		return cmp.Or(cmp.Compare(a.tier, b.tier), compareBool(a.late, b.late), cmp.Compare(a.group, b.group),
			cmp.Compare(a.rec.hash, b.rec.hash), cmp.Compare(a.rec.key, b.rec.key))
	})
	for i := 1; i < len(order); i++ {
		if a, b := order[i-1], order[i]; a.tier == b.tier && a.late == b.late && a.group == b.group {
			b.turn = a.turn + 1
		}
	}
	slices.SortStableFunc(order, func(a, b *ranked) int {
		return cmp.Or(cmp.Compare(a.tier, b.tier), compareBool(a.late, b.late), cmp.Compare(a.turn, b.turn))
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// mix hashes self and peer to a rank (highest random weight hashing, Thaler and
// Ravishankar 1998). FNV alone leaves the high bits alike for like names, so the
// finalizer of SplitMix64 stirs them.
func mix(self, peer string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, self)
	_, _ = h.Write([]byte{0})
	_, _ = io.WriteString(h, peer)
	z := h.Sum64()
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
