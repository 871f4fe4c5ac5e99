// Package mutations holds the checkers to account: for each invariant of ARCHITECTURE.md it names a change to production
// code that breaks it, and the ordinary run that notices, be it a world of the simulator's swarm or a property test. A
// checker that never spoke up is not trusted. All of it is tests and one table; no change ever touches the sources: each is
// built from a patched copy.
package mutations
