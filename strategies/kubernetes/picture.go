package kubernetes

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/starlingmesh/starling/discovery"
)

// picture is what the objects of the API say together: which pods there are, and
// how they can be dialled. One pod may be in several objects at once: a slice for
// each family and Service, two slices while the controller moves it. It is for
// one goroutine at a time.
type picture struct {
	cfg     *Config
	names   naming
	objects map[string]map[string]endpoint // object: what it says, by candidate key
	holders map[string][]string            // candidate key: objects that speak of it
	changed map[string]struct{}            // candidate keys
}

// naming is what the forms of addresses need to know of this machine.
type naming struct {
	domain string // cluster.local
	six    bool   // IPv6 first
	self   string // this pod's name, for its revision
	selfNS string
}

// skippedMax bounds what is told of those who are not offered.
const skippedMax = 64

func newPicture(cfg *Config, names naming) *picture {
	return &picture{
		cfg: cfg, names: names, objects: map[string]map[string]endpoint{},
		holders: map[string][]string{}, changed: map[string]struct{}{},
	}
}

// put notes all that an object says now.
func (p *picture) put(object string, ends []endpoint) {
	before := p.objects[object]
	after := make(map[string]endpoint, len(ends))
	for _, e := range ends {
		if twin, ok := after[e.key]; ok {
			e.addrs = union(twin.addrs, e.addrs)
		}
		after[e.key] = e
	}
	for key, e := range after {
		old, held := before[key]
		if !held {
			p.holders[key] = append(p.holders[key], object)
		}
		if !held || !e.equal(&old) {
			p.changed[key] = struct{}{}
		}
	}
	for key := range before {
		if _, held := after[key]; !held {
			p.release(object, key)
		}
	}
	p.objects[object] = after
	if len(after) == 0 {
		delete(p.objects, object)
	}
}

// drop forgets an object.
func (p *picture) drop(object string) { p.put(object, nil) }

// keep forgets all objects that begin with scope and are not in list.
func (p *picture) keep(scope string, list map[string]bool) {
	for object := range p.objects {
		if strings.HasPrefix(object, scope) && !list[object] {
			p.drop(object)
		}
	}
}

func (p *picture) release(object, key string) {
	p.changed[key] = struct{}{}
	p.holders[key] = slices.DeleteFunc(p.holders[key], func(o string) bool { return o == object })
	if len(p.holders[key]) == 0 {
		delete(p.holders, key)
	}
}

func (e *endpoint) equal(o *endpoint) bool {
	return e.facts == o.facts && slices.Equal(e.addrs, o.addrs)
}

// find returns what all objects together say about a candidate.
func (p *picture) find(key string) (endpoint, bool) {
	var all endpoint
	for i, object := range p.holders[key] {
		e := p.objects[object][key]
		if i == 0 {
			all = e
			all.addrs = slices.Clone(e.addrs)
			continue
		}
		all.addrs = union(all.addrs, e.addrs)
		all.port = max(all.port, e.port)
		all.host = longer(all.host, e.host)
		all.service = longer(all.service, e.service)
		all.zone, all.node = longer(all.zone, e.zone), longer(all.node, e.node)
		// An older copy may still be in another slice. A pod gets ready at the
		// newest word, and never stops terminating.
		all.ready, all.serving = yes(all.ready, e.ready), yes(all.serving, e.serving)
		all.terminating = yes(all.terminating, e.terminating)
		if all.unfit == "" || e.unfit == "" {
			all.unfit = ""
		}
	}
	return all, len(p.holders[key]) > 0
}

// candidate returns one candidate, or why it is not offered.
func (p *picture) candidate(key string) (c discovery.Candidate, why string, ok bool) {
	e, ok := p.find(key)
	if !ok {
		return c, "", false
	}
	c = discovery.Candidate{
		Key: key, Host: e.pod, Ready: e.ready, Serving: e.serving, Terminating: e.terminating, Labels: p.labels(&e),
	}
	var addrs []netip.Addr
	for _, ip := range e.addrs {
		if p.cfg.takes(ip) {
			addrs = append(addrs, ip)
		}
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		if a.Is6() == b.Is6() {
			return 0
		}
		if a.Is6() == p.names.six {
			return -1
		}
		return 1
	})
	switch {
	case e.unfit != "":
		return c, e.unfit, true
	case len(addrs) == 0:
		return c, "it has no " + p.cfg.Family + " address", true
	}
	if c.Addrs, why = p.addrs(&c, &e, addrs); why != "" {
		return c, why, true
	}
	switch {
	case e.terminating == discovery.Yes && !p.cfg.Include[terminating]:
		why = "it is terminating"
	case e.serving == discovery.No && !p.cfg.Include[notReady]:
		why = "it is not ready"
	}
	return c, why, true
}

// addrs writes the addresses in the form that was asked for.
func (p *picture) addrs(c *discovery.Candidate, e *endpoint, ips []netip.Addr) (list []string, why string) {
	port := strconv.Itoa(int(e.port))
	switch p.cfg.Address {
	case hostname:
		if e.host == "" || e.service == "" {
			return nil, "it has no name under a headless Service (a StatefulSet's pods have)"
		}
		c.Host = strings.Join([]string{e.host, e.service, e.namespace, "svc", p.names.domain}, ".")
		return []string{net.JoinHostPort(c.Host, port)}, ""
	case podDNS:
		for _, ip := range ips {
			dashed := strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
			list = append(list, net.JoinHostPort(strings.Join([]string{dashed, e.namespace, "pod", p.names.domain}, "."), port))
		}
		return list, ""
	default:
		for _, ip := range ips {
			list = append(list, netip.AddrPortFrom(ip, e.port).String())
		}
		return list, ""
	}
}

func (p *picture) labels(e *endpoint) map[string]string {
	l := map[string]string{}
	for name, value := range map[string]string{
		discovery.LabelZone: e.zone, "node": e.node, "namespace": e.namespace, "service": e.service, "revision": e.revision,
	} {
		if value != "" {
			l[name] = value
		}
	}
	return l
}

// all returns everybody who is offered, in the order of their keys, and some of
// those who are not.
func (p *picture) all() ([]discovery.Candidate, []discovery.Skipped) {
	cands := make([]discovery.Candidate, 0, len(p.holders))
	var skipped []discovery.Skipped
	mine, grouped := p.ownRevision()
	for _, key := range slices.Sorted(maps.Keys(p.holders)) {
		c, why, _ := p.candidate(key)
		if why == "" && grouped {
			why = otherRevision(&c, mine)
		}
		switch {
		case why == "":
			cands = append(cands, c)
		case len(skipped) < skippedMax:
			skipped = append(skipped, discovery.Skipped{What: described(&c), Why: why})
		}
	}
	return cands, skipped
}

// ownRevision is the rollout this pod is of, "" while it has not been seen.
func (p *picture) ownRevision() (mine string, grouped bool) {
	if p.cfg.GroupBy != revision {
		return "", false
	}
	for _, ends := range p.objects {
		for _, e := range ends {
			if e.pod == p.names.self && (p.names.selfNS == "" || e.namespace == p.names.selfNS) {
				return e.revision, true
			}
		}
	}
	return "", true
}

func otherRevision(c *discovery.Candidate, mine string) string {
	switch {
	case mine == "":
		return "this pod itself has not been seen, so its own revision is not known (is it selected?)"
	case c.Labels[revision] != mine:
		return fmt.Sprintf("it is of revision %q, this pod of %q", c.Labels[revision], mine)
	default:
		return ""
	}
}

func described(c *discovery.Candidate) string {
	if c.Host != "" {
		return c.Labels["namespace"] + "/" + c.Host
	}
	return c.Key
}

func union(a, b []netip.Addr) []netip.Addr {
	for _, ip := range b {
		if !slices.Contains(a, ip) {
			a = append(slices.Clip(a), ip)
		}
	}
	return a
}

func longer(a, b string) string {
	if len(b) > len(a) {
		return b
	}
	return a
}

func yes(a, b discovery.Tri) discovery.Tri {
	if a == discovery.Yes || b == discovery.Yes {
		return discovery.Yes
	}
	return max(a, b)
}
