// Package proto is the overlay's vocabulary: every message that travels between
// sidecars, every input that the core takes and every output that it gives. It
// holds types and their small accessors only: it decides nothing, encodes
// nothing and keeps no state.
//
// Values of this package are shared between packages and, in the simulator,
// between nodes: once handed on they are never changed. Slices inside them
// belong to whoever made them and are read-only for everybody else.
package proto
