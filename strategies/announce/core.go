package announce

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

const (
	// rateMax is how many packets a second a segment is to see, whatever the
	// number of nodes.
	rateMax = 50
	// rateMean is what the nodes aim at together: they speak at random moments,
	// so the second with twice the mean is about one in a million.
	rateMean = rateMax / 2
	// rateBusy is from how many packets in the last second on nobody speaks: the
	// rest is for those that cannot have heard each other yet.
	rateBusy = rateMax * 4 / 5

	// silences is how many intervals one may miss before it expires.
	silences = 3
	// skewMax is how far a sender's clock may be from ours.
	skewMax = 5 * time.Minute
	// windowKeep is how long sequences are remembered after the last packet: an
	// older packet is refused by its time, from whichever end of the skew.
	windowKeep = 2 * skewMax
	// sendersMax bounds whom we remember, about 500 bytes each. Only holders of a
	// key can fill it.
	sendersMax = 16384
	// intervalMax bounds what a sender may claim.
	intervalMax = 30 * time.Minute
	// scans is how often in an interval silence is looked for.
	scans = 5
)

// Why an announcement that opened was not taken; names of counters.
const (
	taken    = "heard"
	ourOwn   = "own"
	repeated = "repeated" // replays, and the copy over the other family
	skewed   = "skewed"
	contrary = "contradictory" // one boot, two nodes
	crowded  = "crowded"
	nonsense = "nonsensical"
)

// core decides when to speak and who is there. It is pure: time and chance are
// given, it neither waits nor sends. Its owner is one goroutine.
type core struct {
	every  time.Duration
	copies int
	me     announcement // without seq, sent and interval; no node: only listen
	rng    *rand.Rand

	senders map[boot]*sender
	live    int // senders that are not silent
	heardAt time.Time
	deaf    bool
	recent  [rateBusy]time.Time // a ring of when packets were on the air
	at      int

	seq    uint64
	spoke  time.Time
	speak  time.Time // when to speak next
	stride float64   // this round's chance: 0.8 to 1.2
	scan   time.Time

	news news
}

// sender is what is known of a boot.
type sender struct {
	node     string
	first    string // of its addresses, as it writes it
	key      string // of its candidate: the same in canonical form
	last     time.Time
	interval time.Duration
	top      uint64 // greatest sequence
	window   uint64 // bit i: top-i was seen
	silent   bool   // expired or left: only its sequences are remembered
}

// news is what changed since it was last taken.
type news struct {
	offers    map[string]discovery.Candidate
	withdrawn map[string]bool
	deaf      int  // so many are not heard any more, nor anybody else
	again     bool // somebody is heard again: tell everything
}

func newCore(now time.Time, every time.Duration, copies int, me announcement, rng *rand.Rand) *core {
	c := &core{every: every, copies: copies, me: me, rng: rng, senders: map[boot]*sender{}, heardAt: now, scan: now}
	c.speak = now.Add(time.Duration(rng.Float64() * float64(time.Second)))
	c.draw()
	c.clear()
	return c
}

func (c *core) draw() { c.stride = 0.8 + 0.4*c.rng.Float64() }
func (c *core) clear() {
	c.news = news{offers: map[string]discovery.Candidate{}, withdrawn: map[string]bool{}}
}

// take returns what changed.
func (c *core) take() news {
	n := c.news
	c.clear()
	return n
}

// interval is how often each of those we hear should speak, so that all together
// keep to the rate.
func (c *core) interval() time.Duration {
	n := c.live + 1
	return max(c.every, time.Duration(n*c.copies)*time.Second/rateMean)
}

// heard takes an announcement that opened, and returns what became of it.
func (c *core) heard(now time.Time, a announcement) string {
	if a.boot == c.me.boot {
		return ourOwn
	}
	if off := now.Sub(a.sent); off > skewMax || off < -skewMax {
		return skewed
	}
	s := c.senders[a.boot]
	if s == nil && len(c.senders) >= sendersMax {
		return crowded
	}
	if s != nil && s.node != a.node {
		return contrary
	}
	known := s != nil && !s.silent && !a.leaving && s.first == a.addrs[0]
	var cand discovery.Candidate
	if !a.leaving && !known {
		var err error
		if cand, err = candidate(a); err != nil {
			return nonsense
		}
	}
	if s == nil {
		s = &sender{node: a.node, silent: true}
		c.senders[a.boot] = s
	}
	if !s.fresh(a.seq) {
		return repeated
	}
	c.aired(now, c.copies)
	c.listened(now)
	s.last, s.interval = now, min(a.interval, intervalMax)
	switch {
	case a.leaving:
		c.silence(s)
	case !known:
		c.silence(s) // under the address that it had before
		s.silent, s.first, s.key = false, a.addrs[0], cand.Key
		c.live++
		c.offer(cand)
	}
	return taken
}

// fresh tells whether a sequence was not seen before, and notes it (the window of
// RFC 4303, 3.4.3).
func (s *sender) fresh(seq uint64) bool {
	switch {
	case seq > s.top:
		if by := seq - s.top; by < 64 {
			s.window <<= by
		} else {
			s.window = 0
		}
		s.top = seq
	case s.top-seq >= 64:
		return false // too old to tell
	}
	bit := uint64(1) << (s.top - seq)
	if s.window&bit != 0 {
		return false
	}
	s.window |= bit
	return true
}

// listened notes that our ears work. If they did not for a while, nobody's silence
// before now counts.
func (c *core) listened(now time.Time) {
	if now.Sub(c.heardAt) > c.interval()*3/2 {
		for _, s := range c.senders {
			if !s.silent {
				s.last = now
			}
		}
	}
	if c.deaf {
		c.deaf, c.news.again = false, true
	}
	c.heardAt = now
}

func (c *core) offer(cand discovery.Candidate) {
	c.news.offers[cand.Key] = cand
	delete(c.news.withdrawn, cand.Key)
}

// withdraw takes a candidate back unless another sender, a process that came back
// at the same address, is it now.
func (c *core) withdraw(key string) {
	for _, s := range c.senders {
		if !s.silent && s.key == key {
			return
		}
	}
	delete(c.news.offers, key)
	c.news.withdrawn[key] = true
}

func (c *core) silence(s *sender) {
	if s.silent {
		return
	}
	s.silent = true
	c.live--
	c.withdraw(s.key)
}

// aired notes packets on the air.
func (c *core) aired(now time.Time, packets int) {
	for range packets {
		c.recent[c.at] = now
		c.at = (c.at + 1) % len(c.recent)
	}
}

// busy tells whether the last second has had its share.
func (c *core) busy(now time.Time) bool { return now.Sub(c.recent[c.at]) < time.Second }

// tick does what is due. It returns what to send now, if anything.
func (c *core) tick(now time.Time) (announcement, bool) {
	if !now.Before(c.scan) {
		c.scan = now.Add(c.interval() / scans)
		c.expire(now)
	}
	if c.me.node == "" || now.Before(c.speak) {
		return announcement{}, false
	}
	wait := time.Duration(c.stride * float64(c.interval()))
	switch {
	case c.seq > 0 && (c.seq > 1 || c.interval() > c.every) && now.Sub(c.spoke) < wait:
		// Others came since: their turn.
		c.speak = c.spoke.Add(wait)
		return announcement{}, false
	case c.busy(now):
		// Who was never heard tries again sooner than who will be missed later.
		again := (0.1 + c.rng.Float64()) * float64(c.interval())
		if c.seq == 0 {
			again /= 4
		}
		c.speak = now.Add(time.Duration(again))
		return announcement{}, false
	}
	c.draw()
	a := c.say(now)
	c.speak = now.Add(time.Duration(c.stride * float64(c.interval())))
	if c.seq == 1 { // once more soon, in case a packet is lost; many need not
		c.speak = now.Add(time.Second)
	}
	return a, true
}

// say is the next announcement.
func (c *core) say(now time.Time) announcement {
	c.seq++
	c.spoke = now
	c.aired(now, c.copies)
	a := c.me
	a.seq, a.sent, a.interval = c.seq, now, c.interval()
	return a
}

// bye is the last announcement, if there is to be one: where many may leave at
// once, only as many say so as the rate has room for. The others expire.
func (c *core) bye(now time.Time) (announcement, bool) {
	if c.seq == 0 || c.busy(now) || c.rng.Float64()*float64((c.live+1)*c.copies) > rateBusy {
		return announcement{}, false
	}
	a := c.say(now)
	a.leaving, a.addrs = true, nil
	return a, true
}

// deadline is when tick has something to do.
func (c *core) deadline() time.Time {
	if c.me.node != "" && c.speak.Before(c.scan) {
		return c.speak
	}
	return c.scan
}

// expire withdraws who was silent while others were not. If all are silent, it is
// our ears: nobody is removed by that.
func (c *core) expire(now time.Time) {
	mine := c.interval()
	for b, s := range c.senders {
		i := max(mine, s.interval)
		switch {
		case !s.silent && now.Sub(s.last) > silences*i && c.heardAt.Sub(s.last) > (silences-1)*i:
			c.silence(s)
		case s.silent && now.Sub(s.last) > windowKeep:
			delete(c.senders, b)
		}
	}
	if c.live > 0 && !c.deaf && now.Sub(c.heardAt) > silences*c.interval() {
		c.deaf = true
		c.news.deaf = c.live
	}
}

func candidate(a announcement) (discovery.Candidate, error) {
	c := discovery.Candidate{Host: a.name, Ready: discovery.Yes, Labels: map[string]string{"node_id": a.node}}
	for _, addr := range a.addrs {
		addr, err := discovery.ParseAddr(addr)
		if err != nil {
			return c, err
		}
		c.Addrs = append(c.Addrs, addr)
	}
	if len(c.Addrs) == 0 {
		return c, errors.New("it has no address")
	}
	c.Key = c.Addrs[0]
	if a.zone != "" {
		c.Labels[discovery.LabelZone] = a.zone
	}
	return c, nil
}
