package rpc

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
)

// queue is how many bytes may wait for one application of a crowd: a few calls.
const queue = 1 << 10

// crowd is a service with applications that come, serve, dawdle and go, and what must be so of them.
type crowd struct {
	*script
	rt    *rapid.T
	apps  []*App
	owed  map[proto.CallID]time.Time // calls without an answer, and when their time is over
	open  map[*App][]uint64          // requests that each was handed and has not answered
	last  map[*App]uint64            // number of the last cast it was handed
	casts uint64
	moved uint64 // casts up to this one may have come from an application that went
}

// TestApplicationsGetEachRequestOnceInOrderAndLeaveNothing: whatever applications and callers do, M6, M9, M10, S2, S3
// and S4 hold. A loop that had to wait for an application (S3) would be a deadlock in the bubble, and fail.
func TestApplicationsGetEachRequestOnceInOrderAndLeaveNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { rapid.SyncTest(rt, func(rt *rapid.T) { live(t, rt) }) })
}

// live is one life of a crowd, to its end.
func live(t *testing.T, rt *rapid.T) {
	t.Helper()
	c := &crowd{
		script: bareScript(t, func(cfg *Config) { cfg.MessageMax, cfg.QueueBytes = 1<<10, queue }), rt: rt,
		owed: map[proto.CallID]time.Time{}, open: map[*App][]uint64{}, last: map[*App]uint64{},
	}
	defer c.Close()
	rt.Repeat(map[string]func(*rapid.T){
		"attach": c.attach, "call": c.call, "cast": c.cast, "take": c.takeSome, "reply": c.reply, "steal": c.steal,
		"cancel": c.cancel, "wait": c.wait, "detach": c.detachOne, "": c.holds,
	})
	for _, a := range c.apps {
		a.Detach(Errorf(ShuttingDown, "over"))
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	c.settleAnswers()
	if len(c.owed) > 0 {
		rt.Fatalf("M9: %d calls never got a word", len(c.owed))
	}
	if g := c.Gauges(); g != (Gauges{}) {
		rt.Fatalf("M9: all have gone, and left are %+v", g)
	}
}

func (c *crowd) attach(*rapid.T) {
	if len(c.apps) < 4 {
		a := c.app("app", "m")
		a.credit = 1 + c.draw(3)
		c.apps = append(c.apps, a)
	}
}

func (c *crowd) draw(n int) int { return rapid.IntRange(0, n-1).Draw(c.rt, "n") }

func (c *crowd) any() *App {
	if len(c.apps) == 0 {
		c.rt.Skip("no application")
	}
	return c.apps[c.draw(len(c.apps))]
}

func (c *crowd) call(*rapid.T) {
	budget := time.Duration(1+c.draw(2000)) * time.Millisecond
	id := proto.CallID{Caller: nodeID(2), Seq: c.seq + 1}
	c.owed[id] = time.Now().Add(budget)
	c.arrives(proto.ModeCall, "m", budget)
}

// cast sends numbered casts: one origin's must be handed out in their order, to each application (M10).
func (c *crowd) cast(*rapid.T) {
	c.casts++
	c.Handle(proto.Deliver{
		ID:   proto.MsgID{Origin: nodeID(2), Stream: 1, Seq: c.casts},
		Body: proto.CastBody{Topic: methodTopic("m"), Payload: []byte{byte(c.casts >> 16), byte(c.casts >> 8), byte(c.casts)}},
	})
}

func (c *crowd) takeSome(*rapid.T) {
	a := c.any()
	items, _ := a.Take(nil, 1+c.draw(5))
	for _, it := range items {
		r, ok := it.(RequestItem)
		if !ok {
			continue
		}
		if r.Remaining <= 0 {
			c.rt.Fatalf("M6: a request was handed out %v after its time", -r.Remaining)
		}
		if p := r.Request.Payload; r.OneWay {
			n := uint64(p[0])<<16 | uint64(p[1])<<8 | uint64(p[2])
			if n > c.moved && n <= c.last[a] {
				c.rt.Fatalf("M10: cast %d was handed out after %d", n, c.last[a])
			}
			c.last[a] = max(n, c.last[a])
		}
		c.open[a] = append(c.open[a], r.ID)
	}
	if a.open > a.credit {
		c.rt.Fatalf("%d requests are open, credit %d", a.open, a.credit)
	}
}

func (c *crowd) reply(*rapid.T) {
	a := c.any()
	if ids := c.open[a]; len(ids) > 0 {
		i := c.draw(len(ids))
		a.Reply(ids[i], Reply{Payload: Payload{Data: []byte("own")}})
		c.open[a] = slices.Delete(ids, i, i+1)
	}
}

// steal: an answer to a request that this application was not handed is nobody's (S4).
func (c *crowd) steal(*rapid.T) {
	a := c.any()
	id := uint64(c.draw(50))
	if !slices.Contains(c.open[a], id) && !a.Reply(id, Reply{Payload: Payload{Data: []byte("stolen")}}) {
		c.rt.Fatalf("S4: a reply to request %d was taken, which it was never handed", id)
	}
}

func (c *crowd) cancel(*rapid.T) {
	ids := slices.SortedFunc(maps.Keys(c.owed), func(a, b proto.CallID) int { return int(a.Seq) - int(b.Seq) })
	if len(ids) > 0 {
		c.Handle(proto.CancelDispatch{ID: ids[c.draw(len(ids))], Why: "as drawn"})
	}
}

func (c *crowd) wait(*rapid.T) {
	time.Sleep(time.Duration(c.draw(1000)) * time.Millisecond)
	synctest.Wait()
}

func (c *crowd) detachOne(*rapid.T) {
	if c.draw(4) > 0 {
		return
	}
	a := c.any()
	a.Detach(Errorf(ShuttingDown, "as drawn"))
	c.apps = slices.DeleteFunc(c.apps, func(b *App) bool { return b == a })
	delete(c.open, a)
	c.moved = c.casts // what waited for it comes to others now, behind what they have
}

// settleAnswers takes the answers that the overlay was given: one for each call, and true.
func (c *crowd) settleAnswers() {
	c.mu.Lock() // which the service's own timers take before they answer
	defer c.mu.Unlock()
	for _, in := range c.inputs {
		r, ok := in.(proto.LocalResult)
		if !ok {
			continue
		}
		if _, ok := c.owed[r.ID]; !ok {
			c.rt.Fatalf("M1: call %v was answered twice, or never came", r.ID)
		}
		delete(c.owed, r.ID)
		if string(r.Result.Payload) == "stolen" {
			c.rt.Fatalf("S4: call %v has an answer of another application", r.ID)
		}
	}
	c.inputs = nil
}

// holds is what is so at every moment.
func (c *crowd) holds(*rapid.T) {
	c.settleAnswers()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.apps {
		if a.held > queue+itemBytes {
			c.rt.Fatalf("S2: %d bytes wait for one application", a.held)
		}
	}
}
