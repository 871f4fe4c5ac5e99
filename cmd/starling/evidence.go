package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
)

// evidenceMax is how many members, and how many candidates, one answer explains.
const evidenceMax = 64

// evidence is the chain that leads to a member, or to its absence: who vouched for an address, what became of dialling it,
// and what the members say of whom they found there.
type evidence struct {
	Sources    []discovery.Health    `json:"sources"`
	Members    []memberEvidence      `json:"members"`
	Candidates []discovery.Explained `json:"candidates"`
}

// memberEvidence is what the directory knows of a member.
type memberEvidence struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Zone        string    `json:"zone,omitempty"`
	Addrs       []string  `json:"addrs"`
	Incarnation uint64    `json:"incarnation"`
	Version     uint64    `json:"version"`
	Status      string    `json:"status"`
	Since       time.Time `json:"since"`
	Why         string    `json:"why,omitempty"`
	Linked      bool      `json:"linked"`
	Self        bool      `json:"self"`
	// Heard is the last first-hand sign of life; without one others vouch for it.
	Heard    time.Time `json:"heard,omitzero"`
	Accused  []string  `json:"accused_by,omitempty"`
	Defended []string  `json:"defended_by,omitempty"`
}

// Evidence tells what is known of whom about names, as JSON.
func (a *admin) Evidence(about string) (string, error) {
	snap := a.finder.Snapshot()
	e := evidence{Sources: snap.Sources, Members: []memberEvidence{}, Candidates: []discovery.Explained{}}
	if about != "" {
		roster := a.mesh.Roster()
		linked := map[string]bool{}
		for _, id := range a.mesh.Stats().Core.Active {
			linked[id.String()] = true
		}
		for _, m := range roster.Members {
			if is(m, about) && len(e.Members) < evidenceMax {
				e.Members = append(e.Members, explainMember(m, roster, linked[m.Entry.ID.String()]))
			}
		}
		for _, c := range snap.Candidates {
			if len(e.Candidates) < evidenceMax && (leadsTo(c, e.Members) || len(e.Members) == 0 && mentions(c, about)) {
				e.Candidates = append(e.Candidates, c)
			}
		}
		if len(e.Members)+len(e.Candidates) == 0 {
			return "", rpc.Errorf(rpc.NodeUnknown, "%q is no member's name, ID or address, and no source names anything like it", about)
		}
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("write the evidence: %w", err)
	}
	return string(text), nil
}

// is tells whether a member is meant: by its name, the beginning of its ID, or an address.
func is(m *proto.Member, about string) bool {
	const short = 6 // hex digits that are enough to mean somebody
	return m.Entry.Name == about || len(about) >= short && strings.HasPrefix(m.Entry.ID.String(), about) || slices.Contains(m.Entry.Addrs, about)
}

func explainMember(m *proto.Member, roster *proto.Roster, linked bool) memberEvidence {
	e := memberEvidence{
		ID: m.Entry.ID.String(), Name: m.Entry.Name, Zone: m.Entry.Zone, Addrs: m.Entry.Addrs,
		Incarnation: m.Entry.Incarnation, Version: m.Entry.Version, Status: m.Status.String(), Since: m.Since, Why: m.Why,
		Linked: linked, Self: m.Entry.ID == roster.Self, Heard: m.Heard,
	}
	for _, o := range m.Accused {
		who := o.Author.Short()
		if author := roster.Get(o.Author); author != nil {
			who = author.Entry.Name
		}
		if o.Accuse {
			e.Accused = append(e.Accused, who)
		} else {
			e.Defended = append(e.Defended, who)
		}
	}
	return e
}

func leadsTo(c discovery.Explained, members []memberEvidence) bool {
	return slices.ContainsFunc(members, func(m memberEvidence) bool {
		return c.Node == m.ID || slices.ContainsFunc(m.Addrs, func(a string) bool { return slices.Contains(c.Addrs, a) })
	})
}

func mentions(c discovery.Explained, text string) bool {
	return strings.Contains(c.Key, text) || strings.Contains(c.Host, text) ||
		slices.ContainsFunc(c.Addrs, func(a string) bool { return strings.Contains(a, text) })
}
