package wave

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds and paces calls. The zero value is not valid; start from Default.
type Config struct {
	// Flush is how long news may wait for more of it before it goes up to the
	// parent as PART. Longer: fewer frames, slower streams.
	Flush time.Duration
	// FlushBytes and FlushResults send a PART at once. Bytes of payload; count.
	FlushBytes   int
	FlushResults int
	// AliveMin and AliveMax pace the empty PART that says "still here": the
	// first after AliveMin, doubling to AliveMax.
	AliveMin, AliveMax time.Duration
	// StarReceipt is when a node that was asked in a star and has no answer yet
	// sends its receipt. Earlier: one more frame for slower handlers.
	StarReceipt time.Duration
	// StarSilence turns a star into a full wave when a neighbour gave no sign.
	StarSilence time.Duration
	// StarMax: up to so many members, a caller that asks everybody again and again
	// gets pooled links to those that are no neighbours, and asks in a star. Each
	// link costs both sides about 60 KB. 0: stars over neighbours only, which is
	// then a star only if they are all.
	StarMax int
	// OrphanWait is how long a caller that knows of a broken link waits for
	// orphans before it asks directly.
	OrphanWait time.Duration
	// AskPatience is how long a direct ask may stay without a receipt before
	// another way is tried.
	AskPatience time.Duration
	// AskRetry is the pause before the ways to a target are tried once more, and
	// how long calls share the knowledge that it could not be dialled.
	AskRetry time.Duration
	// Helpers is how many neighbours are asked to reach a target, one by one.
	Helpers int
	// AsksMax bounds direct asks without a receipt, per node. More wait.
	AsksMax int
	// PullsMax bounds large replies being fetched at once, per call.
	PullsMax int
	// InlineRequest is the largest payload (bytes) that a full wave carries in
	// CALL itself; a larger one is pulled from the parent.
	InlineRequest int
	// InlineReply is the largest reply (bytes) that goes up with the echo; a
	// larger one is fetched by the caller directly.
	InlineReply int
	// RelayBytes bounds the replies one relay carries for one call; beyond it
	// only sizes go up and the caller fetches.
	RelayBytes int
	// KeptBytes bounds the replies kept for callers that may ask again. An
	// evicted one becomes result_lost.
	KeptBytes int
	// OpenMax bounds the open calls of one caller, here and as a receiver.
	OpenMax int
	// OpenBytes bounds the requests that open calls hold here; beyond it a node
	// refuses.
	OpenBytes int
	// CallsMax bounds the calls in this node's table, of all callers.
	CallsMax int
	// WindowsMax bounds the callers whose sequences are remembered, two for
	// each caller. Too few: calls of callers long unheard are answered "closed".
	WindowsMax int
	// DirectMax: so many targets or fewer are asked directly, without a wave.
	DirectMax int
	// DownFor is how long a member that is down still counts as asked.
	DownFor time.Duration
	// Keep is how long a finished call is kept after its budget.
	Keep time.Duration
	// Linger is how long a wave may go on when its call is settled. Then it is
	// called off: an open wave holds back its caller's sequence.
	Linger time.Duration
}

// Default is the configuration of overlay.md's figures.
func Default() Config {
	return Config{
		Flush: 2 * time.Millisecond, FlushBytes: 16 << 10, FlushResults: 64,
		AliveMin: 25 * time.Millisecond, AliveMax: 250 * time.Millisecond,
		StarReceipt: 10 * time.Millisecond, StarSilence: 50 * time.Millisecond,
		StarMax: 128, OrphanWait: 300 * time.Millisecond,
		AskPatience: 500 * time.Millisecond, AskRetry: time.Second,
		Helpers: 3, AsksMax: 256, PullsMax: 32,
		InlineRequest: 4 << 10, InlineReply: 8 << 10, RelayBytes: 64 << 10,
		KeptBytes: 64 << 20, OpenMax: 1024, OpenBytes: 256 << 20, CallsMax: 65536, WindowsMax: 65536, DirectMax: 8,
		DownFor: 60 * time.Second, Keep: 5 * time.Second, Linger: time.Second,
	}
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	for _, f := range []struct {
		name string
		ok   bool
	}{
		{"flush", c.Flush > 0},
		{"flush_bytes", c.FlushBytes > 0},
		{"flush_results", c.FlushResults > 0},
		{"alive_min", c.AliveMin > 0},
		{"star_receipt", c.StarReceipt > 0},
		{"star_silence", c.StarSilence > 0},
		{"orphan_wait", c.OrphanWait > 0},
		{"ask_patience", c.AskPatience > 0},
		{"ask_retry", c.AskRetry > 0},
		{"asks_max", c.AsksMax > 0},
		{"pulls_max", c.PullsMax > 0},
		{"inline_request", c.InlineRequest > 0},
		{"inline_reply", c.InlineReply > 0},
		{"relay_bytes", c.RelayBytes > 0},
		{"kept_bytes", c.KeptBytes > 0},
		{"open_max", c.OpenMax > 0},
		{"open_bytes", c.OpenBytes > 0},
		{"calls_max", c.CallsMax > 0},
		{"windows_max", c.WindowsMax > 0},
		{"down_for", c.DownFor > 0},
		{"keep", c.Keep > 0},
		{"linger", c.Linger > 0},
	} {
		if !f.ok {
			return fmt.Errorf("wave: %s must be positive", f.name)
		}
	}
	if c.AliveMax < c.AliveMin {
		return errors.New("wave: alive_max is below alive_min")
	}
	if c.StarSilence <= c.StarReceipt {
		return errors.New("wave: star_silence must be above star_receipt, or every slow handler costs a full wave")
	}
	return nil
}
