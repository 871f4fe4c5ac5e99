package proto

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// CallID names one call in the whole cluster. A wave has no Target; a call to
// one node has one, and counts in a sequence of that caller and target, so
// that the windows which keep a call from running twice stay dense.
type CallID struct {
	Caller peer.ID
	Target peer.ID // zero: a wave
	Seq    uint64  // counts from 1
}

// Mode says what a call is for.
type Mode uint8

const (
	ModeCall           Mode = iota + 1 // a handler runs and its reply returns
	ModeCast                           // a handler runs; only its receipt returns
	ModeDeliver                        // abcast confirmed by the node: handed to the queues of subscribers
	ModeDeliverHandler                 // abcast confirmed by a subscriber's handler
)

func (m Mode) String() string { return name(int(m), "call", "cast", "deliver", "deliver_handler") }

// Selector says who is meant. The zero Selector means everybody. All that is
// set must hold.
type Selector struct {
	IDs      []peer.ID // one of these; nil: not asked for
	Zone     string
	Group    string
	Handler  string // serves this method
	Tags     []Tag
	NotSelf  bool // the caller itself is not a target
	Draining bool // also those that drain
}

// Everybody tells whether the selector leaves nobody out (but the caller, perhaps).
func (s *Selector) Everybody() bool {
	return s.IDs == nil && s.Zone == "" && s.Group == "" && s.Handler == "" && len(s.Tags) == 0
}

// Match tells whether the entry's owner is meant by it.
func (s *Selector) Match(e *Entry) bool {
	if s.IDs != nil && !slices.Contains(s.IDs, e.ID) {
		return false
	}
	if s.Zone != "" && s.Zone != e.Zone {
		return false
	}
	if s.Group != "" && !slices.Contains(e.Groups, s.Group) {
		return false
	}
	if s.Handler != "" && !slices.Contains(e.Handlers, s.Handler) {
		return false
	}
	for _, want := range s.Tags {
		if got, ok := e.Tag(want.Key); !ok || got != want.Value {
			return false
		}
	}
	return true
}

// Request is what the calling application said; it travels unchanged.
type Request struct {
	Mode        Mode
	Method      string // or the topic, with ModeDeliver
	ContentType string
	Payload     []byte
	Meta        []Tag // such as traceparent
}

// Verdict is what became of one target of a call; see the table in ARCHITECTURE.md.
type Verdict uint8

const (
	Replied      Verdict = iota + 1 // the handler's answer
	AppError                        // the handler's error
	ResultLost                      // it answered, and the kept answer had to be dropped before it was fetched
	NoHandler                       // its own word: no application there serves the method
	Overloaded                      // its own word: a bound of sidecar or application
	Rejected                        // its own word: authorisation, version, size, draining, not selected, too late
	HandlerGone                     // the application disconnected while it had the request
	TimedOut                        // receipt or status seen, no answer in the budget
	Lost                            // receipt seen, then it went down or came back as a newer incarnation
	Down                            // known down when the call started, or died during it
	Left                            // it left while the call ran
	Unreachable                     // no receipt, only silence
	Abandoned                       // the caller had enough, or cancelled
	NotAttempted                    // a local bound or the deadline came before any byte was sent
)

func (v Verdict) String() string {
	return name(int(v), "replied", "app_error", "result_lost", "no_handler", "overloaded", "rejected", "handler_gone",
		"timed_out", "lost", "down", "left", "unreachable", "abandoned", "not_attempted")
}

// Executed says whether the handler may have run. No is a promise: repeating
// the call cannot run the handler twice.
type Executed uint8

const (
	ExecutedYes Executed = iota + 1
	ExecutedNo
	ExecutedMaybe
)

func (e Executed) String() string { return name(int(e), "yes", "no", "maybe") }

// Stage is the last that is known of a call at one target.
type Stage uint8

const (
	StageNotSent  Stage = iota + 1
	StageSent           // handed to a link; nothing heard
	StageReceived       // the target's receipt was seen
	StageStarted        // handed to its application
	StageFinished       // it gave its word
)

func (s Stage) String() string {
	return name(int(s), "not_sent", "sent", "received", "started", "finished")
}

// Result is a target's own word on a call. Outcome is one of Replied,
// AppError, ResultLost, NoHandler, Overloaded, Rejected, HandlerGone and, for
// a run that its own node cut off at the end of the budget, TimedOut.
type Result struct {
	Outcome     Verdict
	Executed    Executed
	Stage       Stage
	Reason      string // for people; also what is served instead, with NoHandler
	Code        string // the application's error code
	ContentType string
	Payload     []byte
	Size        uint32 // of the payload; larger than len(Payload) if it must be fetched directly
}

// NodeResult is one target's result on its way to the caller.
type NodeResult struct {
	Node        peer.ID
	Incarnation uint64
	Result      Result
}

// Receipt says that a node has the call and who gave it to it first.
type Receipt struct {
	Node, Parent peer.ID
	Round        uint8
}

// TestimonyKind says what a witness knows of a neighbour in a call.
type TestimonyKind uint8

const (
	TestifyReset   TestimonyKind = iota + 1 // the link to it broke
	TestifySilent                           // the link is up, nothing came for Ago
	TestifyPending                          // at the end of the budget it still owed its answer
)

func (k TestimonyKind) String() string { return name(int(k), "reset", "silent", "pending") }

// Testimony is what a witness tells the caller about a neighbour that has not
// answered, so that hung, slow and dead are told apart.
type Testimony struct {
	Witness, Node peer.ID
	Kind          TestimonyKind
	Received      bool          // the witness had its receipt
	Ago           time.Duration // since the last that was heard
}

// TopicStream is the broadcast stream that carries a topic: topics share the
// streams above the directory's by their hash (FNV-1a).
func TopicStream(topic string) uint8 {
	h := uint32(2166136261)
	for i := range len(topic) {
		h = (h ^ uint32(topic[i])) * 16777619
	}
	return uint8(1 + h%(Streams-1))
}
