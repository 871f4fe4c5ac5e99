package rpc

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Delivered stands in place of proto.Replied for a confirmed abcast.
const Delivered = proto.NotAttempted + 1

// Payload is bytes and what they are.
type Payload struct {
	Data        []byte
	ContentType string
}

// Selector says who is asked; the zero Selector means everybody.
type Selector struct {
	Nodes         []string // names or IDs
	Tags          []proto.Tag
	Zone          string
	Group         string
	Handler       string
	Sample        int
	ExcludeSelf   bool
	Key, KeyGroup string // with ByKey: the one member that owns the key
	ByKey         bool
}

// Kind is what an application wants.
type Kind uint8

// The kinds of calls.
const (
	Multicall Kind = iota + 1 // all verdicts at once
	Stream                    // verdicts as they come
	Call                      // one node
	Cast                      // one node, without an answer
	Abcast                    // everybody, told
)

// Confirm is what an abcast waits for.
type Confirm uint8

// The confirmations.
const (
	ConfirmNone Confirm = iota
	ConfirmNode
	ConfirmHandler
)

// Ask is a call to be made.
type Ask struct {
	Kind       Kind
	Method     string
	Topic      string // of an Abcast, instead of Method
	Payload    Payload
	Targets    Selector
	Timeout    time.Duration // 0: DefaultTimeout
	MinReplies int
	Confirm    Confirm
	Meta       []proto.Tag
}

// NodeVerdict is what became of one target.
type NodeVerdict struct {
	Node     peer.ID
	Name     string
	Verdict  proto.Verdict // or Delivered
	Executed proto.Executed
	Stage    proto.Stage
	Elapsed  time.Duration
	Attempts int
	Reason   string
	Payload  Payload // the reply, or the details of the application's error
	Code     string  // the application's error code
	Message  string  // and its words
	Extra    bool    // it was not a target
}

// Snapshot says what "all" was.
type Snapshot struct {
	Version  uint64
	Size     int // members alive or suspect
	Age      time.Duration
	Expected int  // by discovery
	Known    bool // discovery has said
	Coverage float64
}

// Agrees tells whether discovery sees as many members.
func (s *Snapshot) Agrees() bool { return s.Known && s.Expected == s.Size }

// Summary counts verdicts.
type Summary struct {
	Asked, Replied, Yes, No, Maybe int
	Elapsed                        time.Duration
}

// Answer is what became of a call. Err is set if it could not be made.
type Answer struct {
	Verdicts []NodeVerdict // by name; empty if they were streamed
	Extra    []NodeVerdict
	Snapshot Snapshot
	Summary  Summary
	Node     peer.ID // of a Cast
	Err      *Error
}

// Item is what waits for an application. The set is closed.
//
//sumtype:decl
type Item interface{ item() }

// VerdictItem is a verdict of a streamed call.
type VerdictItem struct {
	Call    uint64
	Verdict NodeVerdict
}

// DoneItem ends a call, exactly once.
type DoneItem struct {
	Call   uint64
	Kind   Kind
	Answer *Answer
}

// RequestItem is a call to be served.
type RequestItem struct {
	ID        uint64
	Request   proto.Request
	Caller    proto.PeerInfo
	Remaining time.Duration
	OneWay    bool
}

// CancelItem says that nobody waits for a request's answer any more.
type CancelItem struct {
	ID  uint64
	Why string
}

// EventItem is a topic's message or a gap.
type EventItem struct {
	ID         uint64 // if it wants to be confirmed
	Topic      string
	Origin     peer.ID
	OriginName string
	Payload    Payload
	Meta       []proto.Tag
	Gap        uint64
	Why        string // of a gap
}

func (VerdictItem) item() {}
func (DoneItem) item()    {}
func (RequestItem) item() {}
func (CancelItem) item()  {}
func (EventItem) item()   {}

// Reply is an application's answer.
type Reply struct {
	Payload Payload // or the details of the error
	Failed  bool
	Code    string
	Message string
}
