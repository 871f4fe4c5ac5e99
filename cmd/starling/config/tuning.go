package config

import "time"

// Overlay says how many links this node holds and how it cares for them. The defaults suit 3 to 10,000 members.
type Overlay struct {
	// Links held to other members. More: a little faster and heavier; fewer: a crash of many may split the overlay.
	Active int `yaml:"active" range:"4..16"`
	// Members remembered to replace broken links by.
	Passive int `yaml:"passive" range:"5..256"`
}

// Detection says how soon a silent member is suspected and declared down.
type Detection struct {
	// How often a link is pinged.
	PingEvery time.Duration `yaml:"ping_every" range:"100ms..10s"`
	// Pings in a row without an answer until the peer is accused. Fewer: sooner, and wrong more often under load.
	MissedPings int `yaml:"missed_pings" range:"2..20"`
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
	defaultOverlay   = Overlay{Active: 5, Passive: 30}
	defaultDetection = Detection{PingEvery: time.Second, MissedPings: 3}
	defaultLimits    = Limits{Handshake: 5 * time.Second, Handshakes: 128, Dials: 512, Links: 2048, WriteStall: time.Second}
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
