package hyparview

import (
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Config sizes the views and times their upkeep. Default is right for clusters
// from 1 to 10,000 nodes; change one field at a time and watch the simulator.
type Config struct {
	// Active is how many links a node wants and, bridges aside, may have. Fewer:
	// crashes split the cluster. More: each costs a ping a second, and each
	// broadcast one announcement. With Active+1 nodes or fewer the overlay is a
	// full mesh.
	Active int
	// Floor is below how many links a node asks for help (a join walk) instead of
	// waiting for room to appear. Active itself may be unreachable: an odd number
	// of nodes cannot all have five links.
	Floor int
	// Passive is how many further peers are remembered. Fewer: nothing is left to
	// try after a mass crash. More: older entries, and a larger share of ghosts.
	Passive int

	// ARWL is how many hops a joiner's walk and a shuffle travel (active random
	// walk length, 1 to 255). Short walks end in the contact's neighbourhood.
	ARWL uint8
	// PRWL is with how many hops left a joiner's walk puts it into a passive view.
	PRWL uint8

	// ShuffleActive and ShufflePassive are how many members of each view a shuffle
	// offers; together with the sender at most proto.MaxPeers.
	ShuffleActive, ShufflePassive int
	// ShuffleEvery is the mean time between shuffles (each ± 20 %). Longer: passive
	// views go stale. Shorter: messages for nothing.
	ShuffleEvery time.Duration

	// RefillEvery is how soon a view below Active tries again. Longer: slower
	// repair. Shorter: dials in vain where no room is.
	RefillEvery time.Duration
	// RefillSlowest is what RefillEvery doubles to while a view of Floor or more
	// meets only full peers. It is the price of an odd cluster: dials per node.
	RefillSlowest time.Duration
	// Requests is how many requests for a place are under way at once. More join
	// faster and are wasted more often.
	Requests int
	// RequestTimeout is how long an answer to a request may take. Too short: slow
	// peers are taken for dead. Too long: a hung peer holds a request.
	RequestTimeout time.Duration
	// DialTimeout is how long a connection may take, all addresses together.
	DialTimeout time.Duration

	// Drain is how long a demoted link stays for what is under way. Shorter: calls
	// lose their way. Longer: descriptors.
	Drain time.Duration
	// CoolDown is how long a peer is not asked after an eviction or a failure; it
	// doubles with each further one, up to CoolDownMax. Shorter: churn loops.
	// Longer: a broken link between two living nodes stays broken.
	CoolDown, CoolDownMax time.Duration
	// RefusalWait is how long a peer without room is not asked again; it doubles
	// as well, up to CoolDownMax.
	RefusalWait time.Duration

	// Bridges is how many links above Active a node holds to join components.
	Bridges int
	// BridgeFor is how long a bridge can not be evicted. Too short: the halves
	// part again before the views have mixed.
	BridgeFor time.Duration

	// Spread is over how many contacts a node joins. With one, a cluster whose
	// nodes start at once may be born in two parts.
	Spread int
	// StartJitter is the longest wait before the first contact is dialled, so that
	// nodes that start at once do not arrive at once.
	StartJitter time.Duration
	// ContactRetry is how soon the same contact is dialled again; it doubles up to
	// ContactRetryMax. It also is the load that a lonely node puts on others.
	ContactRetry, ContactRetryMax time.Duration
	// Lonely is how long a node has fewer than two links before it asks discovery
	// to look again and joins again.
	Lonely time.Duration

	// Redirect is how many peers a Refuse or a Bye names to try instead, at most
	// proto.MaxPeers. Fewer: whoever is turned away finds no place.
	Redirect int
	// LinksMax is how many accepted links may wait for their first request. Each
	// costs a descriptor for RequestTimeout.
	LinksMax int
}

// Default returns the values that the simulator is measured with.
func Default() Config {
	return Config{
		Active: 5, Floor: 4, Passive: 30,
		ARWL: 6, PRWL: 3,
		ShuffleActive: 3, ShufflePassive: 4, ShuffleEvery: 10 * time.Second,
		RefillEvery: time.Second, RefillSlowest: 10 * time.Second,
		Requests: 3, RequestTimeout: 500 * time.Millisecond, DialTimeout: time.Second,
		Drain: time.Second, CoolDown: 10 * time.Second, CoolDownMax: time.Minute, RefusalWait: time.Second,
		Bridges: 2, BridgeFor: time.Minute,
		Spread: 3, StartJitter: 100 * time.Millisecond,
		ContactRetry: time.Second, ContactRetryMax: 10 * time.Second, Lonely: 5 * time.Second,
		Redirect: 8, LinksMax: 256,
	}
}

// Validate tells what is wrong with the configuration, naming the field.
func (c Config) Validate() error {
	for _, r := range []struct {
		name      string
		v, lo, hi int
	}{
		{"active", c.Active, 1, 32},
		{"floor", c.Floor, 1, c.Active},
		{"passive", c.Passive, c.Active, 1024},
		{"arwl", int(c.ARWL), 1, 255},
		{"prwl", int(c.PRWL), 0, int(c.ARWL)},
		{"shuffle active", c.ShuffleActive, 0, proto.MaxPeers - 1},
		{"shuffle passive", c.ShufflePassive, 1, proto.MaxPeers - 1 - c.ShuffleActive},
		{"requests", c.Requests, 1, 32},
		{"bridges", c.Bridges, 0, 8},
		{"spread", c.Spread, 1, 32},
		{"redirect", c.Redirect, 1, proto.MaxPeers},
		{"links max", c.LinksMax, 1, 65536},
	} {
		if r.v < r.lo || r.v > r.hi {
			return fmt.Errorf("overlay views: %s is %d, want %d to %d", r.name, r.v, r.lo, r.hi)
		}
	}
	for _, r := range []struct {
		name      string
		v, lo, hi time.Duration
	}{
		{"shuffle every", c.ShuffleEvery, 10 * time.Millisecond, time.Hour},
		{"refill every", c.RefillEvery, time.Millisecond, time.Minute},
		{"refill slowest", c.RefillSlowest, c.RefillEvery, time.Hour},
		{"request timeout", c.RequestTimeout, time.Millisecond, time.Minute},
		{"dial timeout", c.DialTimeout, time.Millisecond, time.Minute},
		{"drain", c.Drain, 0, time.Minute},
		{"cool-down", c.CoolDown, time.Millisecond, time.Hour},
		{"cool-down max", c.CoolDownMax, c.CoolDown, 24 * time.Hour},
		{"refusal wait", c.RefusalWait, time.Millisecond, c.CoolDownMax},
		{"bridge for", c.BridgeFor, 0, time.Hour},
		{"start jitter", c.StartJitter, 0, time.Minute},
		{"contact retry", c.ContactRetry, time.Millisecond, time.Hour},
		{"contact retry max", c.ContactRetryMax, c.ContactRetry, 24 * time.Hour},
		{"lonely", c.Lonely, time.Millisecond, time.Hour},
	} {
		if r.v < r.lo || r.v > r.hi {
			return fmt.Errorf("overlay views: %s is %v, want %v to %v", r.name, r.v, r.lo, r.hi)
		}
	}
	return nil
}
