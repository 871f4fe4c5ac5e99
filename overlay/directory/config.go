package directory

import (
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Config holds the directory's parameters. Start from Default.
type Config struct {
	// PerNode says that certificates name each node, so that nobody can take a
	// name that is not its own: the newer process supersedes the older at once.
	// False (shared certificates): a living holder keeps its name.
	PerNode bool

	// PingEvery is the time between pings on a link. Shorter finds failures
	// sooner and costs a ping, a pong and a wake-up each on every link.
	PingEvery time.Duration
	// MissedMax is how many pings in a row may go unanswered, times our own
	// health + 1, before the link is called silent. Fewer: false alarms.
	MissedMax int
	// ProbeTimeout is the time a probe has for dial, handshake and ping, times
	// our own health + 1. Shorter: loaded nodes look dead; longer: every detection waits for it.
	ProbeTimeout time.Duration
	// ProbeTries is how many probes must fail in a row before they accuse a
	// member that we hold no link to.
	ProbeTries int
	// ProbeEvery is the time (± 20 %) between probes of a random member that we
	// hold no link to: it finds those whose watchers died with them.
	ProbeEvery time.Duration
	// ProbesMax is how many probes may run at once. Each costs a descriptor.
	ProbesMax int
	// SweepEvery is the least time between probes while sweeping, after one failed
	// or SweepShare percent of the members were certified within SweepWindow.
	SweepEvery  time.Duration
	SweepShare  int // percent
	SweepWindow time.Duration
	// SweepRow is how many probes in a row must succeed to end a sweep.
	SweepRow int

	// ConfirmAfter is how long after a reset a refused redial accuses. Shorter:
	// a process that restarts its listener is accused; longer: crashes are
	// known later by as much.
	ConfirmAfter time.Duration
	// Committee is how many members are asked first to probe a suspect, and how
	// many accusers make a certificate. More: slower and dearer; fewer: two bad
	// links down somebody.
	Committee int
	// RankEvery is the time after which the next Committee members are asked.
	RankEvery time.Duration
	// SuspectMax is the time after which a lone accuser certifies; it shrinks to
	// SuspectMin as others confirm (Lifeguard, section IV-B).
	SuspectMax, SuspectMin time.Duration
	// DenyFor is how long a deny outweighs all accusers. Shorter: the accused's
	// own answer comes too late; longer: a death just after one is found later.
	DenyFor time.Duration
	// GapMax is the pause of our own loop beyond which we trust no clock of
	// ours: for as long again we neither accuse nor certify.
	GapMax time.Duration
	// AloneFor is how long a node without any link certifies nobody on soft
	// evidence: it is more likely cut off itself.
	AloneFor time.Duration
	// RecentFor is how long a certified member still counts as living where
	// the number of accusers is compared with the number of members.
	RecentFor time.Duration
	// HealthMax bounds our own health, 0 being well (Lifeguard, section IV-A).
	HealthMax int

	// BatchMin and BatchMax bound how long our changes are gathered before they
	// are published. Longer: fewer broadcasts, later news.
	BatchMin, BatchMax time.Duration
	// NotifyAfter is how long changes are gathered for applications, so that
	// the members behind one cut are told as one.
	NotifyAfter time.Duration
	// SyncEvery is the least time between two exchanges on one link.
	SyncEvery time.Duration
	// ChunkBytes is the size (estimated) after which records are split over
	// several messages; one record alone may be larger.
	ChunkBytes int

	// PurgeAfter is how long down and left records are kept, TombFor how long
	// the tombstones that they leave. A node cut off for longer than both could
	// bring back the dead.
	PurgeAfter, TombFor time.Duration
	// StoppedMax is how long a process may have been stopped and still trust
	// its directory. Must stay below PurgeAfter.
	StoppedMax time.Duration
	// EntriesMax and TombsMax bound memory: about 500 bytes an entry and 250 a
	// tombstone. At the bound newcomers are not taken in, and the oldest
	// tombstones go.
	EntriesMax, TombsMax int
}

// Default is what the figures in the documentation were measured with.
func Default() Config {
	return Config{
		PingEvery: time.Second, MissedMax: 3,
		ProbeTimeout: time.Second, ProbeTries: 3, ProbeEvery: 10 * time.Second, ProbesMax: 64,
		SweepEvery: 50 * time.Millisecond, SweepShare: 5, SweepWindow: 10 * time.Second, SweepRow: 10,
		ConfirmAfter: time.Second, Committee: 3, RankEvery: time.Second,
		SuspectMax: 10 * time.Second, SuspectMin: 3 * time.Second, DenyFor: 5 * time.Second,
		GapMax: time.Second, AloneFor: time.Minute, RecentFor: time.Minute, HealthMax: 8,
		BatchMin: 50 * time.Millisecond, BatchMax: 100 * time.Millisecond, NotifyAfter: 100 * time.Millisecond,
		SyncEvery: 500 * time.Millisecond, ChunkBytes: 256 << 10,
		PurgeAfter: 24 * time.Hour, TombFor: 7 * 24 * time.Hour, StoppedMax: 12 * time.Hour,
		EntriesMax: 65_536, TombsMax: 65_536,
	}
}

// Validate says in words what is wrong, or nil.
func (c *Config) Validate() error {
	for _, d := range []struct {
		name     string
		is       time.Duration
		min, max time.Duration
	}{
		{"ping_every", c.PingEvery, 10 * time.Millisecond, time.Minute},
		{"probe_timeout", c.ProbeTimeout, 10 * time.Millisecond, time.Minute},
		{"probe_every", c.ProbeEvery, c.ProbeTimeout, time.Hour},
		{"sweep_every", c.SweepEvery, time.Millisecond, c.ProbeEvery},
		{"sweep_window", c.SweepWindow, time.Second, time.Hour},
		{"confirm_after", c.ConfirmAfter, 0, time.Minute},
		{"rank_every", c.RankEvery, 10 * time.Millisecond, time.Minute},
		{"suspect_min", c.SuspectMin, c.ProbeTimeout, c.SuspectMax},
		{"suspect_max", c.SuspectMax, c.SuspectMin, time.Hour},
		{"deny_for", c.DenyFor, c.PingEvery, time.Hour},
		{"gap_max", c.GapMax, 10 * time.Millisecond, c.StoppedMax},
		{"alone_for", c.AloneFor, 0, time.Hour},
		{"recent_for", c.RecentFor, 0, time.Hour},
		{"batch_min", c.BatchMin, 0, c.BatchMax},
		{"batch_max", c.BatchMax, c.BatchMin, 10 * time.Second},
		{"notify_after", c.NotifyAfter, 0, 10 * time.Second},
		{"sync_every", c.SyncEvery, time.Millisecond, time.Minute},
		{"purge_after", c.PurgeAfter, time.Minute, 365 * 24 * time.Hour},
		{"tomb_for", c.TombFor, c.PurgeAfter, 365 * 24 * time.Hour},
		{"stopped_max", c.StoppedMax, c.GapMax, c.PurgeAfter},
	} {
		if d.is < d.min || d.is > d.max {
			return fmt.Errorf("directory: %s is %v, want %v to %v", d.name, d.is, d.min, d.max)
		}
	}
	for _, n := range []struct {
		name         string
		is, min, max int
	}{
		{"missed_max", c.MissedMax, 1, 100},
		{"probe_tries", c.ProbeTries, 1, 100},
		{"probes_max", c.ProbesMax, 4, 10_000},
		{"sweep_share", c.SweepShare, 1, 100},
		{"sweep_row", c.SweepRow, 1, 1000},
		{"committee", c.Committee, 1, proto.MaxOpinions / 2},
		{"health_max", c.HealthMax, 0, 100},
		{"chunk_bytes", c.ChunkBytes, 1 << 10, proto.MaxFrame / 2},
		{"entries_max", c.EntriesMax, 16, 1 << 20},
		{"tombs_max", c.TombsMax, 16, 1 << 20},
	} {
		if n.is < n.min || n.is > n.max {
			return fmt.Errorf("directory: %s is %d, want %d to %d", n.name, n.is, n.min, n.max)
		}
	}
	return nil
}
