package config

import "time"

// Overlay says how many links this node holds and how it cares for them (HyParView). The defaults suit 3 to 10,000
// members, and all members should agree.
type Overlay struct {
	// Links wanted to other members. Fewer: a crash of many splits the cluster; more: each costs a ping a second, and each
	// broadcast an announcement. With one member more than this, or fewer, everybody is linked to everybody.
	Active int `yaml:"active" range:"3..32"`
	// With fewer links than this a node asks for help instead of waiting for room.
	Floor int `yaml:"floor" range:"1..32"`
	// Members remembered to replace broken links by. Fewer: nothing is left to try after a mass crash; more: older entries.
	Passive int `yaml:"passive" range:"5..1024"`
	// Hops that a joiner's walk and a shuffle travel. Short walks end in the contact's neighbourhood.
	ARWL int `yaml:"arwl" range:"1..20"`
	// With so many hops left a joiner's walk leaves it among the remembered.
	PRWL int `yaml:"prwl" range:"0..20"`
	// Linked members that a shuffle offers.
	ShuffleActive int `yaml:"shuffle_active" range:"1..15"`
	// Remembered members that a shuffle offers.
	ShufflePassive int `yaml:"shuffle_passive" range:"1..15"`
	// Mean time between shuffles. Longer: what is remembered goes stale; shorter: messages for nothing.
	ShuffleEvery time.Duration `yaml:"shuffle_every" range:"100ms..10m"`
	// How soon a missing link is tried for again. Longer: slower repair; shorter: dials in vain.
	RefillEvery time.Duration `yaml:"refill_every" range:"50ms..1m"`
	// Requests for a link under way at once.
	Requests int `yaml:"requests" range:"1..16"`
	// Wait for the answer to one. Shorter: slow members are taken for dead; longer: a hung one holds a request.
	RequestTimeout time.Duration `yaml:"request_timeout" range:"50ms..1m"`
	// Wait for a connection, all addresses of a member together.
	DialTimeout time.Duration `yaml:"dial_timeout" range:"50ms..1m"`
	// How long a demoted link stays for what is under way.
	Drain time.Duration `yaml:"drain" range:"10ms..1m"`
	// How long a leaving node may take to finish the calls it runs.
	Leave time.Duration `yaml:"leave" range:"100ms..10m"`
	// How long a member is not asked after it failed or was evicted; doubles up to cool_down_max.
	CoolDown time.Duration `yaml:"cool_down" range:"100ms..1h"`
	// What cool_down doubles to.
	CoolDownMax time.Duration `yaml:"cool_down_max" range:"100ms..1h"`
}

// Detection says how soon a silent member is suspected and certified down. All members should agree.
type Detection struct {
	// How often a link is pinged. Shorter finds failures sooner and costs a wake-up each on every link.
	PingEvery time.Duration `yaml:"ping_every" range:"100ms..30s"`
	// Pings in a row without an answer until a link is called silent. Fewer: wrong more often under load.
	MissedMax int `yaml:"missed_max" range:"2..20"`
	// Time of a probe for dial, handshake and ping. Shorter: loaded nodes look dead; longer: each detection waits for it.
	ProbeTimeout time.Duration `yaml:"probe_timeout" range:"100ms..30s"`
	// How often a random member without a link is probed: it finds those whose watchers died with them.
	ProbeEvery time.Duration `yaml:"probe_every" range:"100ms..10m"`
	// How long after a reset a refused redial accuses. Shorter: who restarts its listener is accused.
	ConfirmAfter time.Duration `yaml:"confirm_after" range:"0s..30s"`
	// Members that are asked first about a suspect, and accusers that make a certificate. Fewer: two bad links down
	// somebody; more: slower.
	Committee int `yaml:"committee" range:"1..16"`
	// A lone accuser certifies after this time.
	SuspectMax time.Duration `yaml:"suspect_max" range:"1s..10m"`
	// What suspect_max shrinks to as others confirm.
	SuspectMin time.Duration `yaml:"suspect_min" range:"100ms..10m"`
	// How long one that heard from the suspect outweighs all accusers.
	DenyFor time.Duration `yaml:"deny_for" range:"100ms..1m"`
}

// Limits bound what connections may cost. Each default holds with room for 10,000 members.
type Limits struct {
	// A new connection must have proven its membership within this time.
	Handshake time.Duration `yaml:"handshake" range:"100ms..1m"`
	// Connections that may be about to prove it at once; the oldest silent one goes first.
	Handshakes int `yaml:"handshakes" range:"1..10000"`
	// Dials at once.
	Dials int `yaml:"dials" range:"1..10000"`
	// Connections to members at once, of all kinds; about 60 KiB each.
	Links int `yaml:"links" range:"8..100000"`
	// How long one write may block before its link is given up. Shorter: a slow network breaks links; longer: a stopped
	// peer is noticed late.
	WriteStall time.Duration `yaml:"write_stall" range:"100ms..1m"`
}

var (
	defaultOverlay = Overlay{
		Active: 5, Floor: 4, Passive: 30, ARWL: 6, PRWL: 3, ShuffleActive: 3, ShufflePassive: 4, ShuffleEvery: 10 * time.Second,
		RefillEvery: time.Second, Requests: 3, RequestTimeout: 500 * time.Millisecond, DialTimeout: time.Second,
		Drain: time.Second, Leave: 5 * time.Second, CoolDown: 10 * time.Second, CoolDownMax: time.Minute,
	}
	defaultDetection = Detection{
		PingEvery: time.Second, MissedMax: 3, ProbeTimeout: time.Second, ProbeEvery: 10 * time.Second,
		ConfirmAfter: time.Second, Committee: 3, SuspectMax: 10 * time.Second, SuspectMin: 3 * time.Second, DenyFor: 5 * time.Second,
	}
	defaultLimits = Limits{Handshake: 5 * time.Second, Handshakes: 128, Dials: 512, Links: 2048, WriteStall: time.Second}
)

var defaultDiscovery = Discovery{
	Grace: 30 * time.Second, Debounce: 100 * time.Millisecond, StartJitter: 250 * time.Millisecond,
	CandidatesMax: 16384, ContactsMax: 1024,
}

var defaultAPI = API{
	Socket: "/run/starling/api.sock", Mode: "0666",
	MessageMax: 4 << 20, CallsMax: 1024, AppCallsMax: 512, CastsPerSecond: 20_000, ApplicationsMax: 256,
	HandlersMax: 1024, QueueBytes: 32 << 20, EventBytes: 8 << 20, AnswerBytes: 64 << 20,
}
