package proto

import (
	"math"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// Message is what one sidecar says to another, one frame each. The set is
// closed: overlay/wire knows how each is written, PROTOCOL.md says it in words.
//
//sumtype:decl
type Message interface{ message() }

// --- Views (HyParView, DSN 2007) -------------------------------------------

// Join asks the node at the other end of a fresh link to take the sender into
// its active view and to walk it through the overlay. Answered by Accept or Refuse.
type Join struct{ Self PeerInfo }

// ForwardJoin is the walk of a joiner: whoever takes it dials the joiner.
type ForwardJoin struct {
	Joiner PeerInfo
	TTL    uint8
}

// Neighbor asks, on a fresh link, for a place in the active view.
type Neighbor struct {
	Self   PeerInfo
	High   bool // the sender has no other member (or one): must not be refused without a stated reason
	Bridge bool // joins two components: held above the maximum, not evictable for a while
}

// Accept answers Join and Neighbor: both sides now hold an active link.
type Accept struct{ Self PeerInfo }

// RefuseWhy is why a request for a place was refused.
type RefuseWhy uint8

const (
	RefuseFull RefuseWhy = iota + 1
	RefuseAlready
	RefuseCoolDown
	RefuseLeaving
	RefuseNameInUse
	RefuseSuperseded
)

func (w RefuseWhy) String() string {
	return name(int(w), "full", "already_linked", "cool_down", "leaving", "name_in_use", "superseded")
}

// Refuse answers Join and Neighbor; Peers are others to try.
type Refuse struct {
	Why   RefuseWhy
	Peers []PeerInfo
}

// ByeWhy is why a link is about to be closed by its sender.
type ByeWhy uint8

const (
	ByeEvicted ByeWhy = iota + 1
	ByeLeaving
	ByeDuplicate
	ByeTrimmed
)

func (w ByeWhy) String() string { return name(int(w), "evicted", "leaving", "duplicate", "trimmed") }

// Bye says that the sender will close this link after it has drained (at most
// a second); Peers are others to try. Closing is what ends the link, not this.
type Bye struct {
	Why   ByeWhy
	Peers []PeerInfo
}

// Shuffle walks through the overlay; where it ends, views are exchanged.
type Shuffle struct {
	Origin PeerInfo
	TTL    uint8
	Peers  []PeerInfo
}

// ShuffleReply goes straight to the shuffle's origin.
type ShuffleReply struct{ Peers []PeerInfo }

// --- Broadcast (Plumtree, SRDS 2007, corrected) ------------------------------

// MsgID names one broadcast: the sequence counts per origin and stream from 1.
type MsgID struct {
	Origin peer.ID
	Stream uint8
	Seq    uint64
}

// Gossip is one broadcast, pushed eagerly or on a graft.
type Gossip struct {
	ID    MsgID
	Round uint16 // hops travelled
	Body  Body
}

// Range names one origin's sequence numbers From to To, both included: in IHave
// the sender has them, in Graft it wants them, in GraftMiss it has them no more.
// Round counts in IHave only: the hops at which the sender got the last, or
// RoundHistory.
type Range struct {
	Origin   peer.ID
	From, To uint64
	Round    uint16
}

// RoundHistory as a Range's Round says that the range is what the sender's cache
// held when the link came up: it makes no claim about hops, and whoever has just
// come takes it as said before its time. Hops of longer ways stop one below it.
const RoundHistory = math.MaxUint16

// IHave announces broadcasts of one stream without their bodies.
type IHave struct {
	Stream uint8
	Ranges []Range
}

// Graft asks for broadcasts and makes the link eager in that stream.
type Graft struct {
	Stream uint8
	Ranges []Range
}

// GraftMiss answers a Graft for what the cache no longer holds: ask another.
type GraftMiss struct {
	Stream uint8
	Ranges []Range
}

// Prune makes the link lazy in that stream.
type Prune struct{ Stream uint8 }

// Last repeats an origin's highest sequence number after it fell silent, so
// that a lost last message shows. It is flooded, each (ID, Repeat) once.
type Last struct {
	ID     MsgID
	Repeat uint8
}

// Body is what a broadcast carries. The set is closed.
//
//sumtype:decl
type Body interface{ body() }

// DirectoryBody carries records of the directory, on stream 0.
type DirectoryBody struct{ Records []Record }

// BeaconBody says that its origin is the lowest it knows in its component.
type BeaconBody struct{}

// CastBody is an application's broadcast to a topic.
type CastBody struct {
	Topic       string
	ContentType string
	Payload     []byte
	Meta        []Tag
}

func (DirectoryBody) body() {}
func (BeaconBody) body()    {}
func (CastBody) body()      {}

// --- Directory (SWIM, Lifeguard, anti-entropy) -------------------------------

// Ping asks for a Pong and carries what two neighbours must agree on.
type Ping struct {
	Seq       uint64
	Sent      time.Duration // the sender's monotonic clock when written
	Digest    uint64        // of the sender's whole directory
	Component peer.ID       // lowest origin of a beacon heard lately
	Size      uint32        // living members the sender knows
	Load      uint8         // the sender's own health: 0 well, higher is worse
}

// Pong answers a Ping on the same link.
type Pong struct {
	Seq       uint64
	Echo      time.Duration // Ping.Sent
	Received  time.Duration // the answerer's monotonic clock when the Ping came
	Sent      time.Duration // and when the Pong was written
	Digest    uint64
	Component peer.ID
	Size      uint32
	Load      uint8
}

// SyncHashes is the sender's directory as 256 hashes, by the first byte of the
// ID's hash; the answer is SyncRecords of the buckets that differ.
type SyncHashes struct{ Buckets []uint64 }

// SyncRecords carries whole buckets; with Reply set the receiver answers with
// its own records of the same buckets where they still differ.
type SyncRecords struct {
	Buckets []uint8
	Records []Record
	Reply   bool
	More    bool // further chunks of this exchange follow
}

// --- Calls (echo wave: Segall's PIF, Chang's echo algorithm) -----------------

// Call carries a wave over a link, and it is the first thing of a call on it.
// The star is round 0, the full wave round 1.
type Call struct {
	ID        CallID
	Round     uint8
	Size      uint32 // of the payload; if larger than len(Payload), pull it from the sender
	Oldest    uint64 // oldest open sequence of this caller: below it nothing runs
	*Asked           // never nil in a message
	Payload   []byte // of the request; without it if Size says more than was sent
	Elapsed   time.Duration
	Remaining time.Duration // at Stamp
	Stamp     time.Duration // the sender's monotonic clock when written
}

// Asked is what all copies of a call have in common. They share it: it is never
// changed once it is made.
type Asked struct {
	From     PeerInfo
	Select   Selector
	Excluded []peer.ID // down in the caller's snapshot: relay and refute, never run; at most MaxExcluded
	Request  Request   // without its Payload, which is the call's
}

// Whole is the request with what is here of its payload.
func (c *Call) Whole() Request {
	r := c.Request
	r.Payload = c.Payload
	return r
}

// Took is the receipt: the sender has taken the call from this link.
type Took struct {
	ID    CallID
	Round uint8
}

// Seen answers a Call that came too late or from outside the frozen set of links.
type Seen struct {
	ID    CallID
	Round uint8
}

// Echo carries what is known below a node to its parent. Final is ECHO: all of
// it; else PART: some, more follows.
type Echo struct {
	ID        CallID
	Round     uint8
	Final     bool
	Spread    bool // every other link of the sender is resolved or is a child's that has sent Spread
	Results   []NodeResult
	Receipts  []Receipt
	Testimony []Testimony
}

// Adopt is what an orphan sends straight to the caller: its Echo, over a pooled link.
type Adopt struct{ Echo Echo }

// Cancel ends a call: nothing of it starts any more, what runs is told.
type Cancel struct{ ID CallID }

// Pull asks the sender of a Call for its body.
type Pull struct{ ID CallID }

// CallBody answers Pull. Gone: the body is no longer there.
type CallBody struct {
	ID      CallID
	Payload []byte
	Gone    bool
}

// Ask is CALL-OR-RESULT: run if never seen, wait if running, else return the
// kept result. Every asker is answered by Answer messages on the same link.
type Ask struct {
	Call Call
	Via  peer.ID // who asks on the caller's behalf (Help); zero: the caller itself
}

// Answer is the target's word to an asker: first a receipt, later its result.
type Answer struct {
	ID     CallID
	Node   peer.ID
	Result *NodeResult // nil: a receipt only
}

// StatusAsk asks what became of a call, without running anything.
type StatusAsk struct{ ID CallID }

// StatusAnswer is the target's word on it.
type StatusAnswer struct {
	ID     CallID
	Node   peer.ID
	Stage  Stage       // zero: never seen
	Result *NodeResult // if finished
}

// Help asks a neighbour to Ask the target on the sender's behalf, as SWIM's
// indirect ping. Answers come back as Answer on the same link, a failure as Helpless.
type Help struct {
	Target PeerInfo
	Ask    Ask
}

// Helpless says that the helper could not reach the target either.
type Helpless struct {
	ID     CallID
	Target peer.ID
	Why    DialWhy
}

func (Join) message()         {}
func (ForwardJoin) message()  {}
func (Neighbor) message()     {}
func (Accept) message()       {}
func (Refuse) message()       {}
func (Bye) message()          {}
func (Shuffle) message()      {}
func (ShuffleReply) message() {}
func (Gossip) message()       {}
func (IHave) message()        {}
func (Graft) message()        {}
func (GraftMiss) message()    {}
func (Prune) message()        {}
func (Last) message()         {}
func (Ping) message()         {}
func (Pong) message()         {}
func (SyncHashes) message()   {}
func (SyncRecords) message()  {}
func (Call) message()         {}
func (Took) message()         {}
func (Seen) message()         {}
func (Echo) message()         {}
func (Adopt) message()        {}
func (Cancel) message()       {}
func (Pull) message()         {}
func (CallBody) message()     {}
func (Ask) message()          {}
func (Answer) message()       {}
func (StatusAsk) message()    {}
func (StatusAnswer) message() {}
func (Help) message()         {}
func (Helpless) message()     {}
