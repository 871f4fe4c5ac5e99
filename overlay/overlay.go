package overlay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// Upper is the layer above.
type Upper interface {
	// Handle takes what the core tells the layer above, in order, on the overlay's
	// loop: it must not wait. It may call Submit. It gets Dispatch, CancelDispatch,
	// CallStarted, CallVerdict, CallDone, CallRefused, Published, Deliver, Gap,
	// MembersChanged (Roster is the new one by then), NeighborUp, NeighborDraining,
	// NeighborDown, ContactsWanted, Gone and Fatal.
	Handle(out proto.Output)
}

// machine is what the loop needs of the core.
type machine interface {
	Step(now time.Time, in proto.Input) []proto.Output
	Deadline() time.Time
	Roster() *proto.Roster
	Stats() core.Stats
}

// Overlay is this node's part of the overlay. All methods but Run may be
// called at any time, by anybody.
type Overlay struct {
	// set by New, never changed
	cfg       Config
	log       *slog.Logger
	keys      keys.Source
	me        *keys.Node
	self      proto.PeerInfo
	serverTLS *tls.Config
	clientTLS *tls.Config
	listener  *net.TCPListener
	inbox     *inbox
	dialling  chan struct{} // holds one for each dial that runs

	running   context.Context // of Run; read by goroutines that Run's loop starts
	accepting sync.WaitGroup  // of accept: the first to end
	wg        sync.WaitGroup  // of all other goroutines; waited for by Run

	littered   bool      // a peer made us hold what is of no use; owned by the loop
	gaveBackAt time.Time // owned by the loop
	started    atomic.Bool
	gone       chan struct{} // closed when the core said Gone, or Run ended
	goneOnce   sync.Once

	core    machine                 // owned by the loop
	upper   Upper                   // owned by the loop
	out     []byte                  // a frame being written; owned by the loop
	touched map[*link.Link]struct{} // to be flushed at the end of the turn; owned by the loop

	lastLink atomic.Uint64
	roster   atomic.Pointer[proto.Roster]
	inner    atomic.Pointer[core.Stats] // the core's, of at most a second ago
	tick     atomic.Int64               // when the loop last turned, Unix nanoseconds
	table    table
	gate     gate
	faults   faults
	meters
}

// New checks the configuration and opens the listener, so that Addr is known
// and nobody else can take it. Nothing runs until Run; without Run, Close.
func New(cfg Config, log *slog.Logger) (*Overlay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	me, err := keys.NewNode()
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	o := &Overlay{
		cfg: cfg, log: log, keys: cfg.Keys, me: me, inbox: newInbox(cfg.Limits.Inbox),
		dialling: make(chan struct{}, cfg.Limits.Dials), gone: make(chan struct{}), touched: map[*link.Link]struct{}{},
		table: table{max: cfg.Limits.Links, links: map[proto.LinkID]*link.Link{}},
		gate:  gate{max: cfg.Limits.Handshakes},
	}
	if cfg.Insecure {
		if o.keys, err = keys.Known(cfg.Cluster); err != nil {
			return nil, fmt.Errorf("overlay: %w", err)
		}
	}
	if err := o.checkOwnName(); err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	o.serverTLS, o.clientTLS = keys.TLS(o.keys, true), keys.TLS(o.keys, false)
	if err := o.listen(); err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	o.birth()
	return o, nil
}

// checkOwnName finds out now what every peer would refuse later.
func (o *Overlay) checkOwnName() error {
	own, err := o.keys.Own()
	if err != nil {
		return fmt.Errorf("our own certificate: %w", err)
	}
	if own.Leaf == nil {
		return errors.New("our own certificate: it has no parsed leaf")
	}
	if err := o.keys.CheckName(own.Leaf, o.cfg.Name); err != nil {
		return fmt.Errorf("our own certificate: %w", err)
	}
	return nil
}

func (o *Overlay) listen() error {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(context.Background(), "tcp", o.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for other nodes: %w", err)
	}
	tl, ok := l.(*net.TCPListener)
	if !ok {
		panic("overlay: a listener that is not TCP")
	}
	o.listener = tl
	addr, ok := tl.Addr().(*net.TCPAddr)
	if !ok {
		panic("overlay: an address that is not TCP")
	}
	addrs, err := o.cfg.advertised(addr)
	if err != nil {
		_ = tl.Close()
		return err
	}
	o.self = proto.PeerInfo{ID: o.me.ID, Name: o.cfg.Name, Addrs: addrs}
	return nil
}

// birth makes the core with this process's first entry.
func (o *Overlay) birth() {
	now := time.Now()
	birth := uint64(now.UnixMilli())
	o.core = core.New(o.cfg.Core, proto.Entry{
		ID: o.me.ID, Name: o.cfg.Name, Birth: birth, Incarnation: birth, Version: 1, Addrs: o.self.Addrs,
		Zone: o.cfg.Zone, Tags: o.cfg.Tags, VersionMin: wire.VersionMin, VersionMax: wire.VersionMax,
	}, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), now)
	o.self.Incarnation = birth
	o.publish()
}

// Addr is where we listen.
func (o *Overlay) Addr() net.Addr { return o.listener.Addr() }

// Self is how others know us.
func (o *Overlay) Self() proto.PeerInfo {
	if m := o.Roster().Get(o.me.ID); m != nil {
		return m.Entry.Info()
	}
	return o.self
}

// Roster is everybody we know now: never nil, immutable.
func (o *Overlay) Roster() *proto.Roster { return o.roster.Load() }

// Submit gives the core an input of the layer above: StartCall, CancelCall,
// LocalResult, Publish or UpdateSelf. It never waits; after Run has ended it
// does nothing.
func (o *Overlay) Submit(in proto.Input) {
	switch in.(type) {
	case proto.StartCall, proto.CancelCall, proto.LocalResult, proto.Publish, proto.UpdateSelf:
		o.inbox.post(in)
	default:
		panic(fmt.Sprintf("overlay: %T is not an input of the layer above", in))
	}
}

// Contacts tells what discovery vouches for now; it replaces what was told before.
func (o *Overlay) Contacts(contacts []proto.Contact) {
	o.inbox.post(proto.Contacts{Contacts: contacts})
}

// Leave says goodbye to the cluster and returns when the last word is out, or
// with an error when ctx ends first. Then end Run.
func (o *Overlay) Leave(ctx context.Context) error {
	o.inbox.post(proto.Leave{})
	select {
	case <-o.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave the cluster: %w", ctx.Err())
	}
}

// healthyFor is how long the loop may be busy with one batch before a watchdog
// should take it for stuck: it turns once a second by itself.
const healthyFor = 10 * time.Second

// Healthy is nil while the loop turns. It depends on nobody else.
func (o *Overlay) Healthy() error {
	last := o.tick.Load()
	if last == 0 {
		return errors.New("the overlay's loop has not started")
	}
	if ago := time.Since(time.Unix(0, last)); ago > healthyFor {
		return fmt.Errorf("the overlay's loop has not turned for %v", ago.Round(time.Millisecond))
	}
	return nil
}

// Close releases the listener of an Overlay that is never run.
func (o *Overlay) Close() error {
	if err := o.listener.Close(); err != nil {
		return fmt.Errorf("close the listener: %w", err)
	}
	return nil
}
