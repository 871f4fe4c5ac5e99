package sim

import "flag"

// For the swarm, which plays package weather and so cannot be of this package.
var (
	SeedFlag = flag.Uint64("seed", 0, "play this one world, and tell its story")
	Besiege  = besiege
	Reasons  = reasons
	Races    = raceEnabled
)
