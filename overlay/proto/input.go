package proto

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// Input is what may happen to a node. The set is closed.
//
//sumtype:decl
type Input interface{ input() }

// LinkUp: a connection stands, both Hellos are checked.
type LinkUp struct {
	Link   LinkID
	Peer   PeerInfo
	Kind   LinkKind
	Dialed bool   // by us
	Tag    uint64 // of the Dial that asked for it; 0 if accepted
	Addr   string // what was dialled, or where it came from
	// At is when it came up, which may be well before the loop hears of it: what
	// follows over it may be as old. Zero: now.
	At time.Time
}

// DownWhy says how a link ended.
type DownWhy uint8

const (
	DownClosed  DownWhy = iota + 1 // the other side closed it in order
	DownReset                      // broken: reset, or any other error
	DownStalled                    // a write was blocked too long, or the queue was full
	DownHungUp                     // we closed it
	DownGarbage                    // the other side broke the protocol
)

func (w DownWhy) String() string {
	return name(int(w), "closed", "reset", "stalled", "hung_up", "garbage")
}

// LinkDown: a connection is gone. It comes exactly once for each LinkUp.
type LinkDown struct {
	Link LinkID
	Why  DownWhy
}

// DialWhy says why no connection came of a Dial.
type DialWhy uint8

const (
	DialRefused   DialWhy = iota + 1 // nobody listens there: hard evidence
	DialTimeout                      // nothing came back
	DialOtherNode                    // another node ID answered: hard evidence against the one expected
	DialTLS                          // the handshake failed: wrong key, wrong cluster, plaintext
	DialCluster                      // another cluster ID
	DialVersion                      // no common protocol version
	DialSelf                         // it was ourselves
	DialLocal                        // a bound of our own (descriptors, concurrency), or shutting down
	DialNoAddress                    // nothing to dial
	DialNetwork                      // unreachable network or host, and all else
)

func (w DialWhy) String() string {
	return name(int(w), "refused", "timeout", "other_node", "tls", "cluster", "version", "self", "local", "no_address", "network")
}

// DialFailed: what became of a Dial that did not end in LinkUp.
type DialFailed struct {
	Tag  uint64
	Why  DialWhy
	Addr string  // the last that was tried
	Peer peer.ID // who answered, with DialOtherNode
}

// Received: a message came over a link.
type Received struct {
	Link LinkID
	Msg  Message
	Size int // bytes of its frame
}

// Contacts: addresses that discovery vouches for now, in the order to try
// them. It replaces what was said before.
type Contacts struct{ Contacts []Contact }

// Contact is one candidate of discovery. Nobody knows yet who answers there.
type Contact struct {
	Addrs []string // host:port, best first
}

// Publish: an application's broadcast.
type Publish struct {
	Ref  uint64 // of the caller; comes back in Published
	Body CastBody
}

// StartCall: an application asks.
type StartCall struct {
	Ref        uint64 // chosen by the layer above, unique among its open calls
	Select     Selector
	Request    Request
	Budget     time.Duration // from now; at most MaxBudget
	MinReplies int           // enough when so many replied; 0: all
}

// CancelCall: the caller no longer wants it.
type CancelCall struct{ Ref uint64 }

// LocalResult: the layer above answers a Dispatch, exactly once.
type LocalResult struct {
	ID     CallID
	Result Result
}

// UpdateSelf changes what this node says of itself; it replaces all of it.
type UpdateSelf struct {
	Zone     string
	Tags     []Tag
	Handlers []string
	Groups   []string
	Streams  uint16
	Draining bool
}

// Leave: publish the last word, flush, and end. Gone is the answer.
type Leave struct{}

// Wake: the Deadline has come.
type Wake struct{}

func (LinkUp) input()      {}
func (LinkDown) input()    {}
func (DialFailed) input()  {}
func (Received) input()    {}
func (Contacts) input()    {}
func (Publish) input()     {}
func (StartCall) input()   {}
func (CancelCall) input()  {}
func (LocalResult) input() {}
func (UpdateSelf) input()  {}
func (Leave) input()       {}
func (Wake) input()        {}
