package mutations

import "fmt"

// mutation is a change to production code that breaks an invariant, and who notices.
type mutation struct {
	invariant string
	says      string // what the mutant does
	file      string
	old, new  string // old occurs once in file
	by        catcher
	words     string // what the catcher says; empty: the invariant's name
}

// catcher is an ordinary run: a world of the swarm, or a test.
type catcher struct {
	pkg, test string
	seed      uint64 // of the swarm
	rapid     bool
}

// swarmSeeds is how many worlds the ordinary swarm plays.
const swarmSeeds = 200

func swarm(seed uint64) catcher { return catcher{pkg: "overlay/sim", test: "TestSwarm", seed: seed} }

func property(pkg, test string) catcher { return catcher{pkg: pkg, test: test, rapid: true} }

func test(pkg, test string) catcher { return catcher{pkg: pkg, test: test} }

func (c catcher) String() string {
	if c.seed > 0 {
		return "the swarm"
	}
	return fmt.Sprintf("%s in %s", c.test, c.pkg)
}

// sign is what the catcher's words must contain.
func (m *mutation) sign() string {
	switch {
	case m.words != "":
		return m.words
	case m.by.seed > 0:
		return m.invariant + ":"
	}
	return "--- FAIL: " + m.by.test
}
