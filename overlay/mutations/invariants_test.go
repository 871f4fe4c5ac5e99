package mutations

import "slices"

var table = slices.Concat(links, broadcast, directory, calls)

// open are invariants without a checker or a mutation, and why.
var open = map[string]string{}

// invariants are all that ARCHITECTURE.md names, in a few words.
var invariants = map[string]string{
	"H1": "self in no view, active and passive disjoint, one entry a name", "H2": "views within their bounds",
	"H3": "each member has exactly one open link", "H4": "walks shrink", "H5": "refusals have a reason",
	"H6": "eviction moves to the passive view, failure does not", "H7": "news of an old link changes nothing",
	"H8": "no request within a cool-down", "H9": "at rest links are symmetric", "H10": "at rest one component",
	"H11": "at rest links enough", "H12": "at rest the dead have left all views", "H13": "at rest views rest",

	"P1": "eager and lazy links are the active view", "P2": "delivered at most once", "P3": "delivered as published",
	"P4": "who was up and linked has everything", "P6": "one timer for each missing broadcast", "P7": "tables are bounded",
	"P8": "frames within the limit", "P9": "at most one eager copy a link", "P10": "in order, or a gap in place",

	"D1": "(incarnation, version) never falls", "D2": "nobody but its owner writes an entry", "D3": "one process a name",
	"D4": "who is accused answers", "D5": "life is credited to who was authenticated", "D6": "self lives in its own view",
	"D7": "at rest directories are equal", "D8": "the directory is bounded", "D9": "reconciling is idempotent",
	"D10": "discovery's error removes nobody", "D11": "each application: up, then one down or left",

	"M1": "one verdict for each target", "M2": "a call ends by its deadline", "M3": "executed is true", "M4": "no call runs twice",
	"M5": "an answer is that node's, for that call", "M6": "no handler starts after the deadline",
	"M7": "one slow target changes no other's verdict", "M8": "open calls are bounded", "M9": "nothing is left of who has gone",
	"M10": "casts in order", "M11": "one down for each incarnation that was up",

	"S1": "a bad frame ends its own connection only", "S2": "memory per connection is bounded",
	"S3": "the loop never waits for an application", "S4": "nobody answers another's calls",
}
