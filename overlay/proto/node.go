package proto

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// LinkID names one connection for the life of this process; it is never used
// again. News of an old link can therefore never touch a new one. Zero names
// no link.
type LinkID uint64

// LinkKind says what a connection was opened for. The dialling side tells it
// in its Hello.
type LinkKind uint8

const (
	// LinkOverlay carries the overlay: it may become a member of the active view.
	LinkOverlay LinkKind = iota + 1
	// LinkPool carries what goes to one node directly: asks, adopted echoes,
	// shuffle replies. It never enters a view and may be closed when idle.
	LinkPool
	// LinkProbe is opened to learn whether somebody lives, and closed again.
	LinkProbe
	// LinkLane is a second connection beside a link, for bulk. The runtime
	// opens it by itself; the core never sees one.
	LinkLane
)

func (k LinkKind) String() string {
	return name(int(k), "overlay", "pool", "probe", "lane")
}

// PeerInfo is how one node tells another about a third: who, and where to dial.
type PeerInfo struct {
	ID          peer.ID
	Name        string
	Addrs       []string // host:port, best first; at most MaxAddrs
	Incarnation uint64   // highest known to the teller; 0 if unknown
}

// Hello opens every connection, in both directions, inside TLS and before
// anything else. Key and Proof bind the node ID to this very connection: Proof
// signs the TLS exporter with Key, and the ID is the start of Key's hash.
type Hello struct {
	VersionMin, VersionMax uint16 // protocol versions spoken, both ends included
	Kind                   LinkKind
	Cluster                string // compared in full before any state is exchanged
	Self                   PeerInfo
	Lane                   LinkID // the sender's own number of this link; with LinkLane, the dialler's of the link that the lane is for
	Key                    []byte // Ed25519 public key, 32 bytes
	Proof                  []byte // Ed25519 signature, 64 bytes
}

// Tag is one key and its value. Lists of tags are sorted by key.
type Tag struct{ Key, Value string }

// Entry is what a node says of itself. Its owner alone writes it: the higher
// incarnation wins, then the higher version.
type Entry struct {
	ID          peer.ID
	Name        string
	Birth       uint64 // first incarnation of this process, fixed for its life; milliseconds of the wall clock, raised where needed
	Incarnation uint64 // counts up from Birth each time it comes back from being certified down
	Version     uint64 // counts up within one incarnation
	Addrs       []string
	Zone        string
	Tags        []Tag    // sorted by key
	Handlers    []string // methods that applications there serve, sorted
	Groups      []string // sorted
	Streams     uint16   // interest: bit i is set if stream i is wanted
	VersionMin  uint16   // protocol versions spoken
	VersionMax  uint16
	Left        bool // its last word: it has gone, for good
	Draining    bool // takes no new calls; about to leave
}

// Info is the entry as one node tells it to another.
func (e *Entry) Info() PeerInfo {
	return PeerInfo{ID: e.ID, Name: e.Name, Addrs: e.Addrs, Incarnation: e.Incarnation}
}

// Tag returns the value of a tag, and whether the entry has it.
func (e *Entry) Tag(key string) (string, bool) {
	for _, t := range e.Tags {
		if t.Key == key {
			return t.Value, true
		}
	}
	return "", false
}

// Equal tells whether two entries say the same in every field.
func (e *Entry) Equal(o *Entry) bool {
	return e == o || e.Incarnation == o.Incarnation && e.Version == o.Version && e.SaysAs(o)
}

// SaysAs is Equal but for incarnation and version, which count how often the
// owner spoke and not what it said.
func (e *Entry) SaysAs(o *Entry) bool {
	return e.ID == o.ID && e.Name == o.Name && e.Birth == o.Birth && slices.Equal(e.Addrs, o.Addrs) && e.Zone == o.Zone &&
		slices.Equal(e.Tags, o.Tags) && slices.Equal(e.Handlers, o.Handlers) && slices.Equal(e.Groups, o.Groups) &&
		e.Streams == o.Streams && e.VersionMin == o.VersionMin && e.VersionMax == o.VersionMax &&
		e.Left == o.Left && e.Draining == o.Draining
}

// Newer tells whether e replaces old: higher incarnation, then higher version.
func (e *Entry) Newer(old *Entry) bool {
	if e.Incarnation != old.Incarnation {
		return e.Incarnation > old.Incarnation
	}
	return e.Version > old.Version
}

// Opinion is one node's word on whether another lives: a register that its
// author alone writes, the higher Counter wins.
type Opinion struct {
	Accused              peer.ID
	Incarnation, Version uint64 // of the accused's entry that the author judged
	Author               peer.ID
	Counter              uint64
	Accuse               bool // false: deny, the author heard from it after the accusation
	HalfWeight           bool // the author's own health is poor
}

// Tombstone remembers a record that was purged, so that the dead do not rise.
type Tombstone struct {
	ID                 peer.ID
	Name               string
	Birth, Incarnation uint64
}

// Record is what the directory knows of one node, travelling as one: the
// owner's entry with its certificate, or a tombstone; and opinions about it.
type Record struct {
	Entry    *Entry // nil if only Tombstone or Opinions are carried
	Down     uint64 // certified down up to this incarnation; 0: not certified
	Opinions []Opinion
	Tomb     *Tombstone
}

// Status is derived from entry, certificate and opinions; nobody writes it
// into another's entry. Left outranks down, down suspect, suspect alive.
type Status uint8

const (
	StatusAlive Status = iota + 1
	StatusSuspect
	StatusDown
	StatusLeft
)

func (s Status) String() string { return name(int(s), "alive", "suspect", "down", "left") }

// Member is one node as this node sees it. Members are immutable: a change
// makes a new one.
type Member struct {
	Entry   *Entry
	Status  Status
	Since   time.Time // when this status began, in the observer's clock
	Down    uint64    // certified down up to this incarnation
	Why     string    // the evidence for suspect and down, for people
	Heard   time.Time // last first-hand sign of life; zero: second-hand only
	Accused []Opinion // standing opinions, for people
	// Superseded: a newer process bears its name, so that it is owed no verdict.
	Superseded bool
}

// Roster is everybody that a node knows at one moment, sorted by ID. It is
// immutable, so it may be handed to other goroutines.
type Roster struct {
	Self      peer.ID
	Revision  uint64 // counts up with each change, within this process
	Component peer.ID
	Members   []*Member // sorted by ID; self included
}

// Get returns the member with this ID, or nil.
func (r *Roster) Get(id peer.ID) *Member {
	i, ok := slices.BinarySearchFunc(r.Members, id, func(m *Member, id peer.ID) int { return m.Entry.ID.Compare(id) })
	if !ok {
		return nil
	}
	return r.Members[i]
}

// name is the String method of small enums that count from one.
func name(i int, names ...string) string {
	if i < 1 || i > len(names) {
		return "unknown"
	}
	return names[i-1]
}
