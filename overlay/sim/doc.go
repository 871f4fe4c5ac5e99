// Package sim is a deterministic world for many cores: links that are slow,
// stall and break, nodes that crash, pause and return, partitions, discovery
// that lies, applications that call and publish all along. It drives the very
// machines that production runs, every message goes through wire as bytes, and
// all of it happens in one goroutine, in the order of one heap, out of one seed:
// the same seed tells the same story. Checkers watch every step.
//
// It never reads a clock, opens a socket or starts a goroutine, and it never
// looks inside a machine: what it checks is what a runtime could see.
package sim
