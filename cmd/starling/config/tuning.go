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

// Limits bound what others can make this node hold. Beyond one, the caller gets a verdict or an error that names it.
type Limits struct {
	// Largest payload of a call, an answer or a broadcast.
	Message Size `yaml:"message" range:"1KiB..64MiB"`
}

var (
	defaultOverlay   = Overlay{Active: 5, Passive: 30}
	defaultDetection = Detection{PingEvery: time.Second, MissedPings: 3}
	defaultLimits    = Limits{Message: 4 << 20}
)
