package link

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func ping(n int) proto.Message { return proto.Ping{Seq: uint64(n)} }

func body(n, size int) proto.Message {
	return proto.CallBody{ID: proto.CallID{Caller: peer.ID{1}, Seq: uint64(n)}, Payload: make([]byte, size)}
}

// order writes what came in short: p1 for a ping, b2 for a body.
func order(msgs []proto.Message) string {
	var s []string
	for _, m := range msgs {
		switch m := m.(type) {
		case proto.Ping:
			s = append(s, "p"+string(rune('0'+m.Seq)))
		case proto.CallBody:
			s = append(s, "b"+string(rune('0'+m.ID.Seq)))
		default:
			s = append(s, "?")
		}
	}
	return strings.Join(s, " ")
}

func TestFramesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(100)
		for i := range 9 {
			a.send(ping(i))
		}
		synctest.Wait()
		if got := order(b.received()); got != "p0 p1 p2 p3 p4 p5 p6 p7 p8" {
			t.Errorf("received %s", got)
		}
		a.Hangup(false)
		<-a.over
		<-b.over
	})
}

func TestAHangupWritesWhatWasSentBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(100)
		start := time.Now()
		a.send(ping(1), body(2, 5000), ping(3))
		a.Hangup(true)
		a.send(ping(4)) // after the hangup: not sent
		<-a.over
		<-b.over
		if got := order(b.received()); strings.ReplaceAll(got, " b2", "") != "p1 p3" || !strings.Contains(got, "b2") {
			t.Errorf("received %s", got)
		}
		a.wantDown(t, proto.DownHungUp)
		b.wantDown(t, proto.DownClosed)
		if took := time.Since(start); took != 0 {
			t.Errorf("closing took %v", took)
		}
	})
}

func TestAHangupEndsEvenIfThePeerReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := pair(4)
		a := newSide(2, x, slog.New(slog.DiscardHandler))
		synctest.Wait()
		start := time.Now()
		a.send(ping(1))
		a.Hangup(true)
		<-a.over
		a.wantDown(t, proto.DownHungUp)
		if took := time.Since(start); took != limits.Flush {
			t.Errorf("it took %v, want %v", took, limits.Flush)
		}
	})
}

func TestABlockedWriteFailsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		x, _ := pair(4)
		a := newSide(2, x, slog.New(slog.NewTextHandler(&said, nil)))
		synctest.Wait()
		start := time.Now()
		a.send(ping(1))
		<-a.over
		a.wantDown(t, proto.DownStalled)
		if took := time.Since(start); took != limits.WriteStall {
			t.Errorf("it took %v, want %v", took, limits.WriteStall)
		}
		if n := strings.Count(said.String(), "link failed"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
	})
}

func TestAFullQueueFailsTheLinkAndIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		x, _ := pair(4)
		a := newSide(2, x, slog.New(slog.NewTextHandler(&said, nil)))
		synctest.Wait()
		start := time.Now()
		for range 20_000 {
			a.send(ping(1))
		}
		<-a.over
		a.wantDown(t, proto.DownStalled)
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		if n := strings.Count(said.String(), "queue is full"); n != 1 {
			t.Errorf("it was said %d times: %s", n, said.String())
		}
	})
}

func TestALinkThatBreaksIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := pair(100)
		a := newSide(2, x, slog.New(slog.DiscardHandler))
		synctest.Wait()
		y.Close(true)
		<-a.over
		a.wantDown(t, proto.DownReset)
	})
}

func TestGarbageEndsTheLink(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"truncated":    {0, 0, 5, 24},               // a chunk that ends early, then goodbye: no frame
		"bad_chunk":    {9, 0, 1, 0},                // no such slot
		"unknown_type": {0, 0, 1, 7},                // no such message
		"bad_field":    {0, 0, 3, 24, 0xff, 0x0},    // no such field
		"missing":      append([]byte{0, 0, 1}, 33), // a receipt of nothing
	} {
		synctest.Test(t, func(t *testing.T) {
			x, y := pair(100)
			a := newSide(2, x, slog.New(slog.DiscardHandler))
			_, _ = y.Write(bytes)
			if name == "truncated" {
				y.Close(false)
				<-a.over
				a.wantDown(t, proto.DownReset)
				return
			}
			<-a.over
			a.wantDown(t, proto.DownGarbage)
			if len(a.unread) != 1 {
				t.Errorf("%s: counted as %v", name, a.unread)
			}
		})
	}
}

// The lane is a connection of its own: it may be full, and control still passes.
func TestBulkOnItsLaneHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(1000)
		laneA, laneB := pair(10)
		a.lane = func() (Conn, *Frames, error) { return laneA, opened(laneA), nil }
		a.send(body(1, 50_000), ping(2), body(3, 10))
		synctest.Wait() // the lane is full, and nobody reads it yet
		if got := order(b.received()); got != "p2" {
			t.Errorf("before the lane is read came %q", got)
		}
		if lanes, queued := a.Measure(); lanes != 1 || queued < 30_000 {
			t.Errorf("%d lanes, %d bytes queued", lanes, queued)
		}
		if !b.AddLane(laneB, opened(laneB)) {
			t.Error("the lane was refused")
		}
		synctest.Wait()
		if got := order(b.received()); got != "p2 b1 b3" {
			t.Errorf("received %q", got)
		}
		a.Hangup(true)
		<-a.over
		<-b.over
		b.wantDown(t, proto.DownClosed)
	})
}

func TestAHangupFlushesLanesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(1000)
		laneA, laneB := pair(100)
		a.lane = func() (Conn, *Frames, error) { return laneA, opened(laneA), nil }
		a.send(body(1, 10))
		synctest.Wait()
		b.AddLane(laneB, opened(laneB))
		a.send(body(2, 50_000))
		a.Hangup(true)
		<-a.over
		<-b.over
		if got := order(b.received()); got != "b1 b2" {
			t.Errorf("received %q", got)
		}
		b.wantDown(t, proto.DownClosed)
	})
}

func TestWithoutALaneBulkSharesTheLinkInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(1000)
		opening := make(chan struct{})
		a.lane = func() (Conn, *Frames, error) { <-opening; return nil, nil, errors.New("refused") }
		a.send(body(1, 50_000), body(2, 10))
		synctest.Wait()
		if got := order(b.received()); got != "" {
			t.Errorf("received %q while the lane was opening", got)
		}
		close(opening)
		a.send(body(3, 10))
		synctest.Wait()
		if got := order(b.received()); got != "b1 b2 b3" {
			t.Errorf("received %q", got)
		}
		a.Hangup(false)
		<-a.over
		<-b.over
	})
}

func TestALaneThatBreaksBreaksTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(1000)
		laneA, laneB := pair(100)
		a.AddLane(laneA, opened(laneA))
		synctest.Wait()
		laneB.Close(true)
		<-a.over
		<-b.over
		a.wantDown(t, proto.DownReset)
	})
}

func TestADelayHoldsEachFrameForThatLong(t *testing.T) {
	for _, way := range []string{"in", "out"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newLink(1000)
			fault := Fault{Delay: 300 * time.Millisecond}
			if way == "in" {
				b.Suffer(fault, Fault{})
			} else {
				a.Suffer(Fault{}, fault)
			}
			start := time.Now()
			a.send(ping(1))
			time.Sleep(100 * time.Millisecond)
			a.send(ping(2))
			synctest.Wait()
			a.Suffer(Fault{}, Fault{})
			b.Suffer(Fault{}, Fault{})
			a.send(ping(3)) // must not overtake
			time.Sleep(time.Second)
			if got := order(b.received()); got != "p1 p2 p3" {
				t.Errorf("%s: received %q", way, got)
			}
			for i, want := range []time.Duration{300, 400, 400} {
				if got := b.at[i+1].Sub(start); got != want*time.Millisecond {
					t.Errorf("%s: frame %d after %v, want %d ms", way, i+1, got, want)
				}
			}
			a.Hangup(false)
			<-a.over
			<-b.over
		})
	}
}

func TestAStallHoldsUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(1000)
		b.Suffer(Fault{Stall: true}, Fault{})
		a.send(ping(1))
		time.Sleep(time.Minute)
		if got := order(b.received()); got != "" {
			t.Errorf("received %q during the stall", got)
		}
		b.Suffer(Fault{}, Fault{})
		synctest.Wait()
		if got := order(b.received()); got != "p1" {
			t.Errorf("received %q after the stall", got)
		}
		a.Suffer(Fault{}, Fault{Stall: true})
		a.send(ping(2))
		<-a.over
		a.wantDown(t, proto.DownStalled)
		<-b.over
	})
}

func TestACutBreaksTheLinkAndHalfACutDropsFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newLink(1000)
		a.Suffer(Fault{}, Fault{Drop: true})
		a.send(ping(1))
		synctest.Wait()
		if got := order(b.received()); got != "" || len(a.downs()) != 0 {
			t.Errorf("received %q", got)
		}
		a.Suffer(Fault{Drop: true}, Fault{Drop: true})
		<-a.over
		<-b.over
		a.wantDown(t, proto.DownReset)
		b.wantDown(t, proto.DownReset)
	})
}
