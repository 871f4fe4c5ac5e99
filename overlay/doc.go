// Package overlay runs the overlay's pure core in the world: one goroutine owns
// the core and feeds it, every connection has a reader and a writer of its own,
// and TLS says who may speak. It carries out what the core decides and tells it
// what came of it; it never decides who is a neighbour, a member or a target,
// and it never waits for an application.
//
// The way of the data: readers, dials and the layer above put inputs into one
// inbox; the loop takes them in batches, steps the core, queues what it wants
// sent at the links and wakes each touched link once per batch.
package overlay
