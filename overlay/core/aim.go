package core

import (
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// aim lists where the lost may be: the addresses of members that are down and
// were not superseded, and those that discovery vouches for; neither where a
// living member says that it is there.
func (h *heal) aim(now time.Time, all members) {
	h.revision, h.stale, h.aimedAt = all.Revision(), false, now
	taken, heir := h.census(all)
	old := h.targets
	h.targets = nil
	for _, c := range h.contacts {
		h.add(old, taken, c.Addrs, true)
	}
	h.vouched = len(h.targets)
	for m := range all.Members() {
		if m.Status == proto.StatusDown && heir[m.Entry.Name] == m.Entry {
			h.add(old, taken, m.Entry.Addrs, false)
		}
	}
	for i := range h.targets {
		if t := &h.targets[i]; t.next.IsZero() {
			t.next = now.Add(h.round(t)/2 + h.upTo(h.round(t)/2))
		}
	}
	slices.SortStableFunc(h.targets, func(a, b target) int { return strings.Compare(a.key, b.key) }) // stable: the vouched come first
	h.targets = slices.CompactFunc(h.targets, func(a, b target) bool { return a.key == b.key })
}

// census counts the living, and tells which of the addresses that may be asked
// a living member has, and of each name that somebody down had the newest
// process. It makes tables of those in question alone: of thousands that live,
// hardly any is.
func (h *heal) census(all members) (taken map[string]bool, heir map[string]*proto.Entry) {
	taken, heir = map[string]bool{}, map[string]*proto.Entry{}
	for _, c := range h.contacts {
		for _, a := range c.Addrs {
			taken[a] = false
		}
	}
	for m := range all.Members() {
		if m.Status == proto.StatusDown {
			heir[m.Entry.Name] = m.Entry
			for _, a := range m.Entry.Addrs {
				taken[a] = false
			}
		}
	}
	living := 0
	for m := range all.Members() {
		if m.Status == proto.StatusAlive || m.Status == proto.StatusSuspect {
			living++
			if len(taken) > 0 {
				for _, a := range m.Entry.Addrs {
					if _, asked := taken[a]; asked {
						taken[a] = true
					}
				}
			}
		}
		if len(heir) > 0 {
			if e := heir[m.Entry.Name]; e != nil && supersedes(m.Entry, e) {
				heir[m.Entry.Name] = m.Entry
			}
		}
	}
	h.size = max(1, living)
	return taken, heir
}

// supersedes compares two processes of one name: (birth, ID), see the directory.
func supersedes(a, b *proto.Entry) bool {
	return a.Birth > b.Birth || (a.Birth == b.Birth && b.ID.Less(a.ID))
}

func (h *heal) add(old []target, taken map[string]bool, addrs []string, vouched bool) {
	if len(addrs) == 0 || len(h.targets) == targetsMax || slices.ContainsFunc(addrs, func(a string) bool { return taken[a] }) {
		return
	}
	t := target{key: addrs[0], addrs: addrs, vouched: vouched, wait: probeEvery}
	if i, ok := find(old, t.key); ok {
		t.wait, t.next = old[i].wait, old[i].next
	}
	h.targets = append(h.targets, t)
}

func find(targets []target, key string) (int, bool) {
	return slices.BinarySearchFunc(targets, key, func(t target, key string) int { return strings.Compare(t.key, key) })
}
