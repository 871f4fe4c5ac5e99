package link

import (
	"testing"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

func newQueue() *queue { return &queue{max: [classes]int{1 << 20, 1 << 20, 16 << 20}} }

func (q *queue) put(t *testing.T, msg proto.Message) {
	t.Helper()
	frame := wire.Append(nil, msg)
	c, call := classOf(msg, len(frame))
	if !q.push(c, call, frame) {
		t.Fatalf("no room for %T", msg)
	}
}

// reading takes frames out of what a queue gives, write by write.
type reading struct{ asm wire.Assembler }

func (r *reading) frames(t *testing.T, p []byte) (msgs []proto.Message) {
	t.Helper()
	for len(p) > 0 {
		frame, rest, err := r.asm.Next(p)
		if err != nil {
			t.Fatal(err)
		}
		if frame != nil {
			msg, err := wire.Parse(frame)
			if err != nil {
				t.Fatal(err)
			}
			msgs = append(msgs, msg)
		}
		p = rest
	}
	return msgs
}

// However long the frame that is being written, control waits for one chunk.
func TestControlWaitsForOneChunkAtMost(t *testing.T) {
	q, r := newQueue(), reading{}
	r.asm.Open()
	q.put(t, body(1, 4<<20))
	begun := q.take(nil)
	if len(begun) != maxWrite || len(r.frames(t, begun)) != 0 {
		t.Fatalf("the first write has %d bytes", len(begun))
	}
	q.put(t, ping(2))
	waited := len(begun)
	for {
		p := q.take(nil)
		if len(p) == 0 {
			t.Fatal("the ping never came")
		}
		if got := order(r.frames(t, p)); got == "p2" {
			break
		} else if got != "" {
			t.Fatalf("%s came before the ping", got)
		}
		waited += len(p)
	}
	if waited > wire.ChunkMax {
		t.Errorf("the ping waited for %d bytes, at most %d", waited, wire.ChunkMax)
	}
	var rest []proto.Message
	for p := q.take(nil); len(p) > 0; p = q.take(nil) {
		rest = append(rest, r.frames(t, p)...)
	}
	if order(rest) != "b1" || q.size() != 0 {
		t.Errorf("then came %q, %d bytes left", order(rest), q.size())
	}
}

func TestWhatIsSentTogetherIsWrittenTogether(t *testing.T) {
	q, r := newQueue(), reading{}
	r.asm.Open()
	for i := range 9 {
		q.put(t, ping(i))
	}
	if got := order(r.frames(t, q.take(nil))); got != "p0 p1 p2 p3 p4 p5 p6 p7 p8" {
		t.Errorf("the first write carries %q", got)
	}
}

// A call with many results must not keep another's few waiting.
func TestCallsTakeTurns(t *testing.T) {
	q, r := newQueue(), reading{}
	r.asm.Open()
	part := func(seq uint64, n int) proto.Message {
		return proto.Echo{ID: proto.CallID{Caller: peer.ID{1}, Seq: seq}, Round: uint8(n), Receipts: []proto.Receipt{{Node: peer.ID{9}, Parent: peer.ID{8}}}}
	}
	for n := range 5 {
		q.put(t, part(1, n))
	}
	q.put(t, part(2, 0))
	q.put(t, part(2, 1))
	q.put(t, ping(0))
	var got []uint64
	for _, m := range r.frames(t, q.take(nil)) {
		if e, ok := m.(proto.Echo); ok {
			got = append(got, e.ID.Seq*10+uint64(e.Round))
		} else if len(got) > 0 {
			t.Error("control came after an echo")
		}
	}
	want := []uint64{10, 20, 11, 21, 12, 13, 14}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("order %v, want %v", got, want)
		}
	}
}

func TestAQueueIsBoundedInBytesAndTakesOneFrameAlways(t *testing.T) {
	q := &queue{max: [classes]int{100, 100, 100}}
	if !q.push(bulk, proto.CallID{}, make([]byte, 5000)) {
		t.Error("an empty queue refused a frame")
	}
	if q.push(bulk, proto.CallID{}, make([]byte, 10)) {
		t.Error("a full queue took a frame")
	}
	if !q.push(control, proto.CallID{}, make([]byte, 60)) || q.push(control, proto.CallID{}, make([]byte, 60)) {
		t.Error("control is not bounded by itself")
	}
}

func TestOneTopicGoesOneWay(t *testing.T) {
	topic := proto.Gossip{ID: proto.MsgID{Origin: peer.ID{1}, Stream: 3, Seq: 1}, Body: proto.CastBody{Topic: "t"}}
	small, _ := classOf(topic, 50)
	large, _ := classOf(topic, 5<<20)
	if small != bulk || large != bulk {
		t.Errorf("a small one is %v, a large one %v: one could overtake the other", small, large)
	}
	if c, _ := classOf(proto.Gossip{Body: proto.DirectoryBody{}}, 500); c != control {
		t.Errorf("the directory's news are %v", c)
	}
}
