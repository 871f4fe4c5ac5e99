package client

import (
	"encoding/json"
	"fmt"
	"time"
)

// Payload is what applications send each other: bytes and what they are. The
// mesh carries it and never looks inside. At most 4 MiB by default.
type Payload struct {
	Data        []byte
	ContentType string // RFC 9110 media type; empty means application/octet-stream
}

// Bytes is a payload of bytes.
func Bytes(data []byte) Payload { return Payload{Data: data} }

// Text is a payload of text.
func Text(text string) Payload {
	return Payload{Data: []byte(text), ContentType: "text/plain; charset=utf-8"}
}

// JSON is the value as JSON.
func JSON(value any) (Payload, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return Payload{}, fmt.Errorf("payload as JSON: %w", err)
	}
	return Payload{Data: data, ContentType: "application/json"}, nil
}

// Decode reads a JSON payload into value.
func (p Payload) Decode(value any) error {
	if err := json.Unmarshal(p.Data, value); err != nil {
		return fmt.Errorf("payload (%s, %d bytes) as JSON: %w", p.ContentType, len(p.Data), err)
	}
	return nil
}

// String is the data as it stands.
func (p Payload) String() string { return string(p.Data) }

// Verdict is what became of a call at one node.
type Verdict string

// The verdicts; docs/concepts tells the evidence for each. An unknown one may
// come from a newer sidecar.
const (
	Replied      Verdict = "replied"       // the handler's answer
	AppErrored   Verdict = "app_error"     // the handler's error
	ResultLost   Verdict = "result_lost"   // it answered, but the answer had to be dropped
	NoHandler    Verdict = "no_handler"    // no application there serves the method
	Overloaded   Verdict = "overloaded"    // a bound of the sidecar or application there
	Rejected     Verdict = "rejected"      // refused by its own word
	HandlerGone  Verdict = "handler_gone"  // the application disconnected while it had the request
	TimedOut     Verdict = "timed_out"     // a sign of life, no answer in time
	Lost         Verdict = "lost"          // received, then the node went down or came back anew
	Down         Verdict = "down"          // down before or during the call
	Left         Verdict = "left"          // it left during the call
	Unreachable  Verdict = "unreachable"   // only silence
	Abandoned    Verdict = "abandoned"     // the caller had enough, or cancelled
	NotAttempted Verdict = "not_attempted" // nothing was sent
	Delivered    Verdict = "delivered"     // an abcast arrived as far as was to be confirmed
)

// Executed says whether the handler ran. No is a promise: to ask again cannot
// run it twice.
type Executed string

// What is known about a handler's run.
const (
	Yes   Executed = "yes"
	No    Executed = "no"
	Maybe Executed = "maybe"
)

// Stage is how far a call is known to have come.
type Stage string

// The stages in their order.
const (
	NotSent  Stage = "not_sent"
	Sent     Stage = "sent"
	Received Stage = "received"
	Started  Stage = "started"
	Finished Stage = "finished"
)

// NodeVerdict is one node's verdict and the evidence for it.
type NodeVerdict struct {
	NodeID   string        // 32 hexadecimal digits
	Name     string        // the node's name
	Verdict  Verdict       //
	Executed Executed      //
	Stage    Stage         // the last that is known
	Elapsed  time.Duration // from the start of the call
	Attempts int           // how often the node was asked
	Reason   string        // why, in words; empty when it replied
	Payload  Payload       // the answer, with Replied
	Err      *AppError     // the handler's error, with AppErrored
	Extra    bool          // it answered and was not a target
}

// OK tells whether the node did what was asked.
func (v *NodeVerdict) OK() bool { return v.Verdict == Replied || v.Verdict == Delivered }

// AppError is an error that a handler returns to its caller. Other errors of
// handlers arrive as one with Code "error".
type AppError struct {
	Code    string // for programs, e.g. "not_found"; at most 255 bytes
	Message string // for people; at most 1 KiB, the rest is cut off
	Details Payload
}

func (e *AppError) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Snapshot says what "all" was when a call started.
type Snapshot struct {
	Version   uint64        // of the sidecar's directory; only grows
	Size      int           // members, self included
	Age       time.Duration // since its last change
	Discovery string        // "agrees", "differs" or "unknown"
	Expected  int           // members that discovery expects; 0 if it does not say
	Coverage  float64       // share of the targets that gave a sign of life, 0 to 1
}

// Summary counts the verdicts of one call.
type Summary struct {
	Asked, Replied                         int
	ExecutedYes, ExecutedNo, ExecutedMaybe int
	Elapsed                                time.Duration
}

// Answer is the outcome of a call to many: one verdict for every target.
type Answer struct {
	Verdicts []NodeVerdict // by name
	Extra    []NodeVerdict // answered without having been asked
	Snapshot Snapshot
	Summary  Summary
}

// Failed are the verdicts of the targets that did not do what was asked.
func (a *Answer) Failed() []NodeVerdict {
	var bad []NodeVerdict
	for _, v := range a.Verdicts {
		if !v.OK() {
			bad = append(bad, v)
		}
	}
	return bad
}

// Node is where the application is.
type Node struct {
	ID         string
	Name       string
	Version    string // of the sidecar
	MessageMax int    // largest payload, in bytes
}

// Request is a call to be served.
type Request struct {
	Method   string
	Payload  Payload
	Caller   string // the calling node's name
	CallerID string
	OneWay   bool // nobody waits for an answer
	Metadata map[string]string
}

// Event is a topic's message, or word that some were missed.
type Event struct {
	Topic    string
	Origin   string // the sending node's name; empty in a gap made here
	OriginID string
	Payload  Payload
	// Gap, when positive, says that so many messages (1 if unknown) were missed
	// at this point; there is no payload then. Reason tells why.
	Gap      uint64
	Reason   string
	Metadata map[string]string
}

// Member is one node as the sidecar knows it.
type Member struct {
	NodeID      string
	Name        string
	Status      string // "alive", "suspect", "down", "left"
	Incarnation uint64 // grows each time it comes back
	Addresses   []string
	Zone        string
	Tags        map[string]string
	Groups      []string
	Handlers    []string
	Self        bool
	Linked      bool // the sidecar holds an overlay link to it
}

// MemberChange is one change of a watched membership.
type MemberChange struct {
	Event  string // "up", "suspect", "down", "left", "updated"
	Member Member
}

// MemberUpdate is a snapshot or changes.
type MemberUpdate struct {
	Revision uint64
	Snapshot []Member       // not nil: replaces all that was known
	Changes  []MemberChange // belong together
}
