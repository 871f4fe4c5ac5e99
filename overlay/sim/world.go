package sim

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/sim/agenda"
	"github.com/starlingmesh/starling/overlay/wire"
)

// epoch is what the clock of a host without skew shows when a world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Config says what a world is made of. Start from Calm.
type Config struct {
	Seed uint64
	Core core.Config
	// Latency and Jitter of a frame's way, drawn evenly from [Latency, Latency+Jitter).
	Latency, Jitter time.Duration
	// Skew is how far hosts' clocks may be off, to both sides; if they are, they drift, too.
	Skew time.Duration
	// Directory makes a node's knowledge of all others; nil: package directory's. With another, what a node knows is not
	// checked (D1 to D9).
	Directory func(self proto.Entry, now time.Time) core.Directory
	// Log takes one line for each thing worth telling; nil: nobody listens.
	Log func(line string)
}

// Calm is a world without faults: a LAN.
func Calm(seed uint64) Config {
	return Config{Seed: seed, Core: core.Default(), Latency: 200 * time.Microsecond, Jitter: 600 * time.Microsecond}
}

// World is all there is: hosts, processes, connections, and time. Its verbs
// are for one goroutine.
type World struct {
	cfg    Config
	rng    *rand.Rand
	now    time.Duration // since the beginning
	events agenda.Agenda[event]
	seq    uint64 // of waits for acknowledgements
	hash   uint64
	frame  []byte // scratch
	parser wire.Parser

	renamed  int  // hosts, so far
	happened int  // events
	lags     bool // some host did, ever
	stirred  int  // how often a view, or whether a process runs, has changed

	hosts  []*Host          // by index
	hostOf map[string]*Host // by address
	Nodes  []*Node          // every process that ever was, in the order of their starts
	conns  []*conn          // open ones; swept

	net  faultyNet
	feed func(*Node) // discovery looks again for a node; nil: it does not

	apps   apps
	checks checks
	Report Report
	failed string

	scratch  core.Scratch // of all cores: one steps at a time
	current  *Node        // whose step it was last
	input    proto.Input  // and on what
	stepping bool         // it is not over
	steps    int
	batch    time.Duration // next look at everything
}

// New makes an empty world.
func New(cfg Config) *World {
	w := &World{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), Report: NewReport(), hostOf: map[string]*Host{}}
	w.apps.world = w
	w.checks.init(w)
	return w
}

// Now is the time since the world began.
func (w *World) Now() time.Duration { return w.now }

// Hash is the trace so far, inputs and outputs of all nodes, as one number.
func (w *World) Hash() uint64 { return w.hash }

// Failed is the first thing that must not be and was, with what led to it; or empty.
func (w *World) Failed() string { return w.failed }

// fail stops the world.
func (w *World) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf("at %v: ", w.now) + fmt.Sprintf(format, args...)
		if w.current != nil {
			w.failed += fmt.Sprintf("; the last step was %v's, on %s", w.current, w.current.describe(w.input))
		}
		w.say("FAILED %s", w.failed)
	}
}

// say tells one line of the story.
func (w *World) say(format string, args ...any) {
	if w.cfg.Log != nil {
		w.cfg.Log(fmt.Sprintf("%9.3fs  ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}

// at schedules do.
func (w *World) at(t time.Duration, do func()) { w.schedule(event{at: t, do: do}) }

// after schedules do so much later.
func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

func (w *World) schedule(e event) {
	if e.at < w.now {
		panic("sim: scheduled into the past")
	}
	w.events.Push(e.at, e)
}

// lookEvery is the time between two looks at everything.
const lookEvery = 500 * time.Millisecond

// Run lets so much time pass, or less if something fails.
func (w *World) Run(d time.Duration) {
	end := w.now + d
	for w.failed == "" {
		next := end
		if at, ok := w.events.Next(); ok && at <= end {
			next = at
		}
		for w.batch < next && w.failed == "" {
			w.now = w.batch
			w.checks.look()
			w.batch += lookEvery
		}
		if next < w.now {
			panic("sim: time goes back")
		}
		w.now = next
		if at, ok := w.events.Next(); !ok || at > end || w.failed != "" {
			return
		}
		e := w.events.Pop()
		w.happened++
		switch e.kind {
		case eventDo:
			e.do()
		case eventFrame:
			w.arrive(&e)
		case eventWake:
			e.node.wake(e.n)
		default:
			panic("sim: unknown event")
		}
	}
}

// Until runs until done, looking after each event's millisecond, for at most
// so long, and tells how long it took and whether it is done.
func (w *World) Until(limit time.Duration, done func() bool) (time.Duration, bool) {
	began := w.now
	for {
		if done() {
			return w.now - began, true
		}
		if w.failed != "" || w.now-began >= limit {
			return w.now - began, false
		}
		w.Run(min(5*time.Millisecond, limit-(w.now-began)))
	}
}

// mix folds a number into the trace (the finalizer of splitmix64).
func (w *World) mix(v uint64) {
	x := w.hash ^ v
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	w.hash = x ^ x>>31
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode puts a message through wire and back, as a network would.
func (w *World) encode(m proto.Message) (proto.Message, int) {
	w.frame = wire.Append(w.frame[:0], m)
	w.mix(uint64(crc32.Checksum(w.frame, castagnoli)))
	w.Report.Messages[wire.Type(m)]++
	got, err := w.parser.Parse(w.frame)
	if err != nil {
		w.fail("our own frame does not parse: %v: %+v", err, m)
		return m, len(w.frame)
	}
	return w.checks.directory.share(got), len(w.frame)
}

// between draws evenly from [lo, hi).
func (w *World) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// chance is true p times of one.
func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

// event is something that will happen. Frames are by far the most, so they are
// fields and not closures.
type event struct {
	at   time.Duration
	kind eventKind
	side uint8  // of conn: who it happens to
	n    uint64 // size of a frame, number of a wake-up
	conn *conn
	node *Node // who is to wake, or at that end: it is found without a look at conn
	msg  proto.Message
	do   func()
}

type eventKind uint8

const (
	eventDo    eventKind = iota // call do
	eventFrame                  // msg arrives at an end of conn
	eventWake                   // node's deadline
)
