package rpc

import (
	"fmt"
	"slices"
)

// Reason says why something could not be done, in a word that programs branch on.
type Reason string

// The reasons; Reasons explains them.
const (
	BadRequest          Reason = "BAD_REQUEST"
	PayloadTooLarge     Reason = "PAYLOAD_TOO_LARGE"
	NodeUnknown         Reason = "NODE_UNKNOWN"
	NoOwner             Reason = "NO_OWNER"
	TooManyCalls        Reason = "TOO_MANY_CALLS"
	CastsTooFast        Reason = "CASTS_TOO_FAST"
	CallRefused         Reason = "CALL_REFUSED"
	TooManyApplications Reason = "TOO_MANY_APPLICATIONS"
	TooManyWatchers     Reason = "TOO_MANY_WATCHERS"
	TooManyHandlers     Reason = "TOO_MANY_HANDLERS"
	BadFrame            Reason = "BAD_FRAME"
	TooSlow             Reason = "TOO_SLOW"
	LeaseUnknown        Reason = "LEASE_UNKNOWN"
	NotAllowed          Reason = "NOT_ALLOWED"
	NeedsStream         Reason = "NEEDS_STREAM"
	FaultsOff           Reason = "FAULTS_OFF"
	ShuttingDown        Reason = "SHUTTING_DOWN"
)

// Code is a google.rpc.Code.
type Code int32

// The codes in use.
const (
	codeInvalid      Code = 3
	codeNotFound     Code = 5
	codeDenied       Code = 7
	codeExhausted    Code = 8
	codePrecondition Code = 9
	codeUnsupported  Code = 12
	codeUnavailable  Code = 14
)

// Explanation tells people about a reason.
type Explanation struct {
	Reason Reason
	Code   Code
	Means  string
	Do     string
}

// Reasons lists all reasons, sorted.
func Reasons() []Explanation {
	list := slices.Clone(explanations)
	slices.SortFunc(list, func(a, b Explanation) int {
		if a.Reason < b.Reason {
			return -1
		}
		return 1
	})
	return list
}

var explanations = []Explanation{
	{BadRequest, codeInvalid, "A field is missing, malformed or beyond its bound; the message names it.", "Correct the request; asking again unchanged cannot succeed."},
	{PayloadTooLarge, codeInvalid, "The payload is larger than a message may be.", "Send less, send a reference, or raise api.message_max on all nodes."},
	{NodeUnknown, codeNotFound, "No member has this name or ID.", "Compare with `starling members`; a node that never joined cannot be asked."},
	{NoOwner, codeNotFound, "No living member is in the group, so nobody owns the key.", "Wait for a member (await-peers with the group), or correct the group's name."},
	{TooManyCalls, codeExhausted, "As many calls are open as this sidecar or this connection allows.", "Wait for answers before asking more, or raise api.calls_max; nothing was sent."},
	{CastsTooFast, codeExhausted, "More casts a second than this sidecar takes.", "Slow down, or raise api.casts_per_second; nothing was sent."},
	{CallRefused, codeExhausted, "The overlay could not start the call.", "The message says why; nothing was sent, so it is safe to ask again."},
	{TooManyApplications, codeExhausted, "As many applications are connected as this sidecar allows.", "Close connections that are not used, or raise api.applications_max."},
	{TooManyWatchers, codeExhausted, "As many watches of members are open as this sidecar allows.", "Share one watch within a process."},
	{TooManyHandlers, codeExhausted, "The node would announce more methods, topics or groups than an entry may hold.", "Serve fewer methods, and tell finer things apart in the payload."},
	{BadFrame, codeInvalid, "A frame of the session made no sense; the message tells which.", "This is an error in the client library; only this connection was closed."},
	{TooSlow, codeExhausted, "The application did not read what it asked for, and its queue was full.", "Read the session's stream without waiting for handlers."},
	{LeaseUnknown, codeNotFound, "The lease of a Poll has expired or never existed.", "Poll without a lease to begin anew; poll or answer within `keep`."},
	{NotAllowed, codeDenied, "The socket's owner does not allow this user.", "Run as an allowed user, or extend api.allowed_uids or api.allowed_gids."},
	{NeedsStream, codeUnsupported, "A Session needs a stream in both directions, which HTTP/1.1 has not.", "Use gRPC, or Poll and Respond."},
	{FaultsOff, codePrecondition, "Fault injection is not allowed here.", "Set faults.allowed: true in the configuration of this node; never in production."},
	{ShuttingDown, codeUnavailable, "The sidecar is going away.", "Connect again when it is back."},
}

// Explain tells about one reason.
func Explain(r Reason) (Explanation, bool) {
	i := slices.IndexFunc(explanations, func(e Explanation) bool { return e.Reason == r })
	if i < 0 {
		return Explanation{}, false
	}
	return explanations[i], true
}

// Error is a request that could not be carried out. Nothing of it was sent.
type Error struct {
	Reason Reason
	Text   string // names the thing and says what to do
}

func (e *Error) Error() string { return e.Text }

// Code is what gRPC and HTTP call it.
func (e *Error) Code() Code {
	x, ok := Explain(e.Reason)
	if !ok {
		panic("rpc: a reason without explanation: " + string(e.Reason))
	}
	return x.Code
}

// Errorf makes an Error.
func Errorf(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Text: fmt.Sprintf(format, args...)}
}
