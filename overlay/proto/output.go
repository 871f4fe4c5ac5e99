package proto

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// Output is what a node now wants done, or tells. The set is closed.
//
//sumtype:decl
type Output interface{ output() }

// Out collects outputs in order. The machines append, the core hands on.
type Out struct{ List []Output }

// Add appends one output.
func (o *Out) Add(out Output) { o.List = append(o.List, out) }

// --- to the network ----------------------------------------------------------

// Send a message over a link. A Send to a link that is gone is dropped: its
// LinkDown is on the way.
type Send struct {
	Link LinkID
	Msg  Message
}

// SendTo sends to a node over whatever link there is, or over a pooled one
// dialled for it. Machines give it; the core turns it into Send and Dial, and
// tells the machine of Owner by its SendFailed when the node cannot be reached
// or the pooled link breaks.
type SendTo struct {
	Owner Owner
	Peer  PeerInfo
	Msg   Message
	Fresh bool // over a pooled link even if the peer is a neighbour: its link is doubted
}

// KeepOpen asks for open links to these nodes, pooled if they are no
// neighbours, because much is going to be sent to them. Best effort: the core
// dials those that are missing.
type KeepOpen struct{ Peers []PeerInfo }

// Owner names the machine that a directed message or a dial belongs to.
type Owner uint8

const (
	OwnerViews Owner = iota + 1
	OwnerDirectory
	OwnerWave
	OwnerHeal
)

func (o Owner) String() string {
	switch o {
	case OwnerViews:
		return "views"
	case OwnerDirectory:
		return "directory"
	case OwnerWave:
		return "wave"
	case OwnerHeal:
		return "heal"
	default:
		panic("proto: unknown owner")
	}
}

// DialTag makes the tag of a dial from its owner and the owner's own counter
// (below 2^56), so that the core can route the answer.
func DialTag(owner Owner, n uint64) uint64 { return uint64(owner)<<56 | n }

// DialOwner is the owner in a tag; 0 in the tag of an accepted link.
func DialOwner(tag uint64) Owner { return Owner(tag >> 56) }

// Dial opens a connection, trying the addresses in order, for at most Timeout.
// It is answered by exactly one LinkUp or DialFailed with its Tag.
type Dial struct {
	Tag     uint64 // made by DialTag, unique for the life of the process
	Owner   Owner
	Kind    LinkKind
	Addrs   []string
	Expect  peer.ID // who must answer; zero: anybody but ourselves
	Timeout time.Duration
}

// Hangup closes a link after all that was sent before it has been written (at
// most a second later), or at once. Its LinkDown follows.
type Hangup struct {
	Link  LinkID
	Why   string // for people and metrics
	Flush bool
}

// --- to the layer above ------------------------------------------------------

// Dispatch hands a call to the local applications. It is answered by exactly
// one LocalResult, in budget or not.
type Dispatch struct {
	ID      CallID
	From    PeerInfo // the caller
	Request Request
	Budget  time.Duration // what is left, at the time of the Step
}

// CancelDispatch: nobody waits for this one any more. A LocalResult is still owed.
type CancelDispatch struct {
	ID  CallID
	Why string
}

// CallStarted tells whom a call was sent to: the answer will have exactly one
// CallVerdict for each. Roster is the snapshot that "all" was taken from.
type CallStarted struct {
	Ref     uint64
	ID      CallID
	Roster  *Roster
	Targets []*Member
}

// CallVerdict is what became of one target.
type CallVerdict struct {
	Ref       uint64
	Node      peer.ID
	Verdict   Verdict
	Executed  Executed
	Stage     Stage
	Elapsed   time.Duration
	Attempts  int
	Reason    string // in words
	Witnesses []Testimony
	Result    Result // the payload, with Replied and AppError
	Extra     bool   // it answered and was not a target
}

// CallDone ends a call: every target has had its verdict.
type CallDone struct {
	Ref  uint64
	Late int // answers that came after their verdict
}

// CallRefused: the call could not start at all (a local bound).
type CallRefused struct {
	Ref uint64
	Why string
}

// Published answers Publish: accepted here, as this message; or refused.
type Published struct {
	Ref uint64
	ID  MsgID
	Err string // empty: accepted
}

// Deliver hands up an application's broadcast, once.
type Deliver struct {
	ID    MsgID
	Body  CastBody
	Hops  uint16
	Local bool // from this very node
}

// Gap says that Count messages of an origin before the next one are lost for good.
type Gap struct {
	Origin peer.ID
	Stream uint8
	Count  uint64
}

// ChangeKind says what happened to a member.
type ChangeKind uint8

const (
	ChangeUp ChangeKind = iota + 1
	ChangeUpdated
	ChangeSuspect
	ChangeUnsuspect
	ChangeDown
	ChangeLeft
)

func (k ChangeKind) String() string {
	return name(int(k), "up", "updated", "suspect", "unsuspect", "down", "left")
}

// MemberChange is one change of one member.
type MemberChange struct {
	Kind   ChangeKind
	Member *Member
}

// MembersChanged tells changes that belong together, as one batch.
type MembersChanged struct{ Changes []MemberChange }

// NeighborUp: the link's peer is in the active view now.
type NeighborUp struct {
	Link LinkID
	Peer PeerInfo
}

// NeighborDraining: the link stays for what is under way, nothing new goes over it.
type NeighborDraining struct {
	Link LinkID
	Peer peer.ID
}

// NeighborDown: the link's peer left the active view.
type NeighborDown struct {
	Link LinkID
	Peer peer.ID
	Why  string // evicted, failed, left …
	Down DownWhy
}

// ContactsWanted asks discovery to look again, at once: this node is alone or nearly so.
type ContactsWanted struct{ Why string }

// Gone answers Leave: the last word is out (or nobody is there to hear it).
type Gone struct{}

// Fatal: this process must end; Why says it in words (superseded, name in use).
type Fatal struct{ Why string }

// Ignored says what was received and not acted upon, and why. Why is a metric
// label: a constant, never built from what came over the wire.
type Ignored struct {
	Why  string
	Peer peer.ID
}

// --- between the machines: the core takes these, nobody else sees them --------

// PublishRecords hands records to the broadcast, on the directory's stream.
type PublishRecords struct{ Records []Record }

// LinkTiming is what a Pong told about a link.
type LinkTiming struct {
	Link   LinkID
	RTT    time.Duration
	Offset time.Duration // add to the peer's monotonic clock to get ours; ± RTT/2
}

// DeliverBody hands a broadcast to the core, which routes it by its body.
type DeliverBody struct {
	ID    MsgID
	Body  Body
	Hops  uint16
	Local bool
}

func (Send) output()             {}
func (SendTo) output()           {}
func (KeepOpen) output()         {}
func (Dial) output()             {}
func (Hangup) output()           {}
func (Dispatch) output()         {}
func (CancelDispatch) output()   {}
func (CallStarted) output()      {}
func (CallVerdict) output()      {}
func (CallDone) output()         {}
func (CallRefused) output()      {}
func (Published) output()        {}
func (Deliver) output()          {}
func (Gap) output()              {}
func (MembersChanged) output()   {}
func (NeighborUp) output()       {}
func (NeighborDraining) output() {}
func (NeighborDown) output()     {}
func (ContactsWanted) output()   {}
func (Gone) output()             {}
func (Fatal) output()            {}
func (Ignored) output()          {}
func (PublishRecords) output()   {}
func (LinkTiming) output()       {}
func (DeliverBody) output()      {}
