package sim

import "flag"

var (
	seedFlag  = flag.Uint64("seed", 0, "play this one world, and tell its story")
	nodesFlag = flag.Int("nodes", 0, "with so many nodes; 0: as the seed draws")
)
