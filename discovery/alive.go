package discovery

import (
	"slices"
	"time"
)

const (
	// hintTTL is how long "this node answered at that address" is believed.
	hintTTL = 10 * time.Minute
	// leftHold is how long a node that said goodbye gets no new contacts while
	// sources still list it. A process that restarts on the same address calls
	// us; we only need to call it when it cannot.
	leftHold = time.Minute

	dialBackoffFirst = time.Second
	dialBackoffMax   = time.Minute
)

// hint is who answered at an address. It is never a reason to merge candidates:
// addresses are reused, and some belong to several nodes.
type hint struct {
	node   string
	at     time.Time
	shared bool // two living nodes answered here: a virtual IP
}

func (h hint) fresh(now time.Time) bool { return now.Sub(h.at) < hintTTL }

// up notes that a node lives and advertises addrs.
func (l *ledger) up(node string, addrs []string) {
	l.gone(node)
	if node == l.cfg.Self || len(l.nodes) >= l.cfg.CandidatesMax {
		return
	}
	var good []string
	for _, a := range addrs[:min(len(addrs), addrsMax)] {
		a, err := ParseAddr(a)
		if err != nil || slices.Contains(good, a) {
			continue
		}
		good = append(good, a)
		l.living[a] = append(l.living[a], node)
		for r := range l.byAddr[a] {
			r.end = notEnded
			r.wait, r.notBefore, r.dialErr = 0, time.Time{}, ""
		}
	}
	l.nodes[node] = good
}

// ended notes that a node is down, or left.
func (l *ledger) ended(now time.Time, node string, how ending) {
	for _, a := range l.gone(node) {
		for r := range l.byAddr[a] {
			if !l.alive(r, now) {
				r.end, r.endAt, r.endNode = how, now, node
			}
		}
	}
}

// gone takes a node off the living and returns where it was.
func (l *ledger) gone(node string) []string {
	addrs := l.nodes[node]
	delete(l.nodes, node)
	for _, a := range addrs {
		l.living[a] = slices.DeleteFunc(l.living[a], func(n string) bool { return n == node })
		if len(l.living[a]) == 0 {
			delete(l.living, a)
		}
	}
	return addrs
}

// dialed notes the outcome of a dial and its handshake. spread (0 to 1) is the
// caller's chance: it makes the backoff up to 20 % longer.
func (l *ledger) dialed(now time.Time, addr, node string, err error, spread float64) {
	addr, parseErr := ParseAddr(addr)
	if parseErr != nil {
		return
	}
	for r := range l.byAddr[addr] {
		r.tried = now
		if err == nil {
			r.wait, r.notBefore, r.dialErr = 0, time.Time{}, ""
			continue
		}
		r.wait = min(max(2*r.wait, dialBackoffFirst), dialBackoffMax)
		r.notBefore = now.Add(time.Duration(float64(r.wait) * (1 + jitterShare*spread)))
		r.dialErr = err.Error()
	}
	if err != nil || node == "" || len(l.hints) >= 2*l.cfg.CandidatesMax {
		return
	}
	old, known := l.hints[addr]
	both := known && old.fresh(now) && old.node != node && l.nodes[old.node] != nil
	l.hints[addr] = hint{node: node, at: now, shared: both || known && old.shared && old.fresh(now)}
}

// alive reports whether a living member advertises an address of r or answered
// there lately.
func (l *ledger) alive(r *record, now time.Time) bool {
	return slices.ContainsFunc(r.addrs(), func(a string) bool {
		if len(l.living[a]) > 0 {
			return true
		}
		h, ok := l.hints[a]
		return ok && h.fresh(now) && l.nodes[h.node] != nil
	})
}

// nodeAt returns who is believed to answer at addr, or "".
func (l *ledger) nodeAt(addr string, now time.Time) string {
	h, hinted := l.hints[addr]
	hinted = hinted && h.fresh(now)
	switch nodes := l.living[addr]; {
	case hinted && h.shared, len(nodes) > 1:
		return "" // a virtual IP is a contact and nobody's address
	case hinted && (l.nodes[h.node] != nil || len(nodes) == 0):
		return h.node // the newest handshake counts
	case len(nodes) == 1:
		return nodes[0]
	default:
		return ""
	}
}

func (l *ledger) nodeOf(r *record, now time.Time) string {
	for _, a := range r.addrs() {
		if node := l.nodeAt(a, now); node != "" {
			return node
		}
	}
	return ""
}

func (l *ledger) isSelf(r *record, now time.Time) bool {
	return slices.ContainsFunc(r.addrs(), func(a string) bool { return l.isSelfAddr(a, now) })
}

// isSelfAddr: by the node that answered there, or as what we advertise.
func (l *ledger) isSelfAddr(addr string, now time.Time) bool {
	if node := l.nodeAt(addr, now); node != "" {
		return node == l.cfg.Self
	}
	return slices.Contains(l.cfg.SelfAddrs, addr)
}
