// Package report is what the tests' application tells the tests, over HTTP, while it lives: its pod and the pod's log may be gone
// when they are wanted. It has words only.
package report

import "time"

// Paths of what is told.
const (
	RanPath   = "/ran"   // before a handler answers
	AskedPath = "/asked" // after a call
	SeenPath  = "/seen"  // now and again
)

// A Ran is one run of a handler.
type Ran struct {
	Call string // as the caller named it
	Node string // ID
	Name string
}

// An Asked is what became of one call.
type Asked struct {
	Call     string
	Kind     string // "multicall", "abcast"; "farewell", a multicall by who is about to end
	Err      string // why it could not be made
	At       time.Time
	Verdicts []Verdict
	Extra    []Verdict // of nodes that came while it was under way, and were not asked
}

// A Verdict is what is said of one node.
type Verdict struct {
	Node, Name, Verdict, Executed, Stage, Reason string
}

// A Seen is how a node sees its cluster.
type Seen struct {
	Node, Name string
	Alive      []string // IDs
	Linked     []string // IDs
	Gone       bool     // it will not be heard of again
}
