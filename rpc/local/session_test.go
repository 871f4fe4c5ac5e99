package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"
	"github.com/starlingmesh/starling/rpc/rpctest"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

func TestABadFrameEndsItsOwnSessionOnly(t *testing.T) { // S1
	bothWays(t, badFrames)
}

func badFrames(t *testing.T, w *world) {
	t.Helper()
	good := w.dial("good")
	for name, f := range map[string]*starlingv1.ClientFrame{
		"nothing":          {},
		"second hello":     {Frame: &starlingv1.ClientFrame_Hello{Hello: &starlingv1.Hello{}}},
		"a call of naught": {Frame: &starlingv1.ClientFrame_Start{Start: &starlingv1.StartCall{Id: 1}}},
	} {
		bad := w.raw(&starlingv1.Hello{})
		bad.send(f)
		g := bad.next().GetGoodbye()
		if g.GetReason() != "BAD_FRAME" || g.GetMessage() == "" {
			t.Errorf("%s: goodbye %v", name, g)
		}
		if _, err := bad.stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := good.Multicall(t.Context(), "x", client.Text("")); err != nil {
		t.Error("another application was disturbed:", err)
	}
}

// garbage is a codec that sends its bytes as they are.
type garbage struct{}

func (garbage) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (garbage) Unmarshal([]byte, any) error   { return nil }
func (garbage) Name() string                  { return "proto" }

func TestGarbageEndsItsOwnSessionOnly(t *testing.T) { // S1
	w := newWorld(t)
	good := w.dial("good")
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		s, err := w.conn().NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
			starlingv1.RpcService_Session_FullMethodName, grpc.ForceCodec(garbage{}))
		if err != nil {
			t.Fatal(err)
		}
		msg := make([]byte, chance.IntN(200))
		for j := range msg {
			msg[j] = byte(chance.Uint32())
		}
		if i%3 == 0 { // a hello, and then junk inside a well-formed frame
			hello := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0x0a, 0x00})
			_ = s.SendMsg(hello)
			msg = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), msg)
		}
		_ = s.SendMsg(msg)
		_ = s.CloseSend()
		var sink any
		for err == nil {
			err = s.RecvMsg(&sink)
		}
		if status.Code(err) == codes.DeadlineExceeded {
			t.Fatalf("garbage %d left its session open", i)
		}
		cancel()
	}
	if _, err := good.Multicall(t.Context(), "x", client.Text("")); err != nil {
		t.Error("another application was disturbed:", err)
	}
}

func TestGarbageWithoutGRPCEndsItsOwnSessionOnly(t *testing.T) { // S1
	w := newWorld(t)
	good := w.dial("good")
	chance := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		c := w.ask(t.Context())
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if i%3 == 0 { // a hello, and then junk
			_ = c.Send(&starlingv1.SessionRequest{Frames: []*starlingv1.ClientFrame{{Frame: &starlingv1.ClientFrame_Hello{Hello: &starlingv1.Hello{}}}}})
		}
		msg := make([]byte, 4+chance.IntN(200))
		for j := range msg {
			msg[j] = byte(chance.Uint32())
		}
		if i%2 == 0 { // junk of the length that it says
			binary.BigEndian.PutUint32(msg, uint32(len(msg)-4))
		}
		_, _ = c.Write(msg)
		if u, ok := c.Conn.(*net.UnixConn); ok {
			_ = u.CloseWrite()
		}
		app := &directApp{Conn: c}
		var err error
		for err == nil {
			_, err = app.Recv()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("garbage %d left its session open", i)
		}
		if i%2 == 0 && i%3 > 0 && status.Code(err) != codes.InvalidArgument {
			t.Errorf("garbage %d: its goodbye is %v", i, err)
		}
	}
	if _, err := good.Multicall(t.Context(), "x", client.Text("")); err != nil {
		t.Error("another application was disturbed:", err)
	}
}

func TestWhoSaysNoHelloDoesNotHoldUpTheEnd(t *testing.T) {
	w := newWorld(t)
	c := w.ask(t.Context())
	w.stop()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the sidecar has ended and the session has not")
	}
}

func TestAnApplicationThatDiesMidCallIsHandlerGone(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world) {
		caller := w.dial("caller")
		dying := w.raw(&starlingv1.Hello{Application: "dying"})
		dying.serve("m")
		answer := make(chan *client.NodeVerdict, 1)
		go func() {
			v, err := caller.Call(t.Context(), "a", "m", client.Text("x"), client.Timeout(10*time.Second))
			if err != nil {
				t.Error(err)
			}
			answer <- v
		}()
		id := dying.next().GetRequest().GetId()
		_ = dying.stream.CloseSend()
		if v := <-answer; v.Verdict != client.HandlerGone || v.Executed != client.Maybe || !strings.Contains(v.Reason, "dying") {
			t.Errorf("got %+v", v)
		}
		// S4: its successor's answer under the same number reaches nobody.
		next := w.raw(&starlingv1.Hello{})
		next.send(replyFrame(id, "stolen"))
		next.serve("m") // its acknowledgement says that the reply has been taken, too
		go func() {
			v, err := caller.Call(t.Context(), "a", "m", client.Text("x"))
			if err != nil {
				t.Error(err)
			}
			answer <- v
		}()
		got := next.next().GetRequest()
		next.send(replyFrame(got.GetId(), "own"))
		if v := <-answer; v.Payload.String() != "own" {
			t.Errorf("got %+v", v)
		}
	})
}

func TestNoApplicationAnswersAnothersCalls(t *testing.T) { // S4
	bothWays(t, func(t *testing.T, w *world) {
		caller := w.dial("caller")
		victim, thief := w.raw(&starlingv1.Hello{}), w.raw(&starlingv1.Hello{})
		victim.serve("m")
		thief.serve("other")
		answer := make(chan *client.NodeVerdict, 1)
		go func() {
			v, err := caller.Call(t.Context(), "a", "m", client.Text("x"))
			if err != nil {
				t.Error(err)
			}
			answer <- v
		}()
		id := victim.next().GetRequest().GetId()
		thief.send(replyFrame(id, "stolen"), &starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Cancel{Cancel: &starlingv1.Cancel{Id: 1}}},
			&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Register{Register: &starlingv1.Register{Id: 9}}})
		if thief.next().GetRegistered().GetId() != 9 { // all before it has been taken
			t.Fatal("no acknowledgement")
		}
		victim.send(replyFrame(id, "own"))
		if v := <-answer; v.Payload.String() != "own" {
			t.Errorf("got %+v", v)
		}
	})
}

func TestCreditBoundsOpenRequests(t *testing.T) {
	bothWays(t, func(t *testing.T, w *world) {
		caller := w.dial("caller")
		slow := w.raw(&starlingv1.Hello{Requests: 2})
		slow.serve("m")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if v, err := caller.Call(t.Context(), "a", "m", client.Text("x")); err != nil || !v.OK() {
					t.Errorf("%+v, %v", v, err)
				}
			})
		}
		first, second := slow.next().GetRequest(), slow.next().GetRequest()
		slow.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Register{Register: &starlingv1.Register{Id: 2, Methods: []string{"m"}}}})
		if f := slow.next(); f.GetRegistered() == nil {
			t.Fatalf("a third request came beyond the credit: %v", f)
		}
		slow.send(replyFrame(first.GetId(), ""))
		third := slow.next().GetRequest()
		slow.send(replyFrame(second.GetId(), ""), replyFrame(third.GetId(), ""))
		wg.Wait()
	})
}

func TestASlowApplicationIsBoundedAndOthersAreNot(t *testing.T) { // S2, S3
	bothWays(t, func(t *testing.T, w *world) {
		slow := w.raw(&starlingv1.Hello{Application: "slow", Requests: 1})
		slow.serve("slow")
		caller := w.dial("caller")
		big := client.Bytes(make([]byte, 60<<10))
		verdicts := make(chan client.Verdict, 8)
		for range 8 {
			go func() {
				v, err := caller.Call(t.Context(), "a", "slow", big, client.Timeout(time.Second))
				if err != nil {
					t.Error(err)
					v = &client.NodeVerdict{}
				}
				verdicts <- v.Verdict
			}()
		}
		got := map[client.Verdict]int{}
		for range 8 {
			got[<-verdicts]++
		}
		if got[client.Overloaded] != 6 || got[client.TimedOut] != 2 {
			t.Errorf("verdicts %v: want 6 overloaded, 2 timed out", got)
		}
		if g := w.svc.Gauges(); g.QueuedBytes > 192<<10 {
			t.Errorf("%d bytes are held for it", g.QueuedBytes)
		}
	}, func(c *rpc.Config, _ *Socket) {
		c.MessageMax, c.QueueBytes, c.EventBytes, c.AnswerBytes = 64<<10, 128<<10, 128<<10, 256<<10
	})
}

func TestAnApplicationThatNeverReadsIsClosedWithAReason(t *testing.T) { // S2
	bothWays(t, func(t *testing.T, w *world) {
		deaf := w.raw(&starlingv1.Hello{Application: "deaf"})
		var err error
		for id := uint64(1); err == nil; id++ { // it asks, and never looks
			err = deaf.stream.Send(&starlingv1.SessionRequest{Frames: []*starlingv1.ClientFrame{{Frame: &starlingv1.ClientFrame_Start{Start: &starlingv1.StartCall{
				Id: id, What: &starlingv1.StartCall_Multicall{Multicall: &starlingv1.MulticallRequest{
					Method: "x", Payload: &starlingv1.Payload{Body: &starlingv1.Payload_Data{Data: make([]byte, 60<<10)}},
					Targets: &starlingv1.Selector{ExcludeSelf: true},
				}},
			}}}}})
			if g := w.svc.Gauges(); g.QueuedBytes > 1<<20 {
				t.Fatalf("%d bytes are held for it", g.QueuedBytes)
			}
		}
		counted := false
		for _, c := range w.svc.Counters() {
			counted = counted || c.Counter == rpc.Counter{Name: "refused", Label: "TOO_SLOW"}
		}
		if !counted {
			t.Errorf("it was not refused as too slow: %v", w.svc.Counters())
		}
		if _, err := w.dial("other").Multicall(t.Context(), "x", client.Text("")); err != nil {
			t.Error("another application was disturbed:", err)
		}
	}, func(c *rpc.Config, _ *Socket) {
		c.MessageMax, c.QueueBytes, c.AnswerBytes = 64<<10, 128<<10, 512<<10
	})
}

func TestASlowSubscriberGetsAGapNotSilence(t *testing.T) { // S2, 27
	bothWays(t, func(t *testing.T, w *world) {
		slow := w.raw(&starlingv1.Hello{EventBytes: 1024})
		slow.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Register{Register: &starlingv1.Register{Id: 1, Topics: []string{"t"}}}})
		slow.next()
		pub := w.dial("pub")
		const sent = 20
		for i := range sent {
			if _, err := pub.Publish(t.Context(), "t", client.Bytes(append(make([]byte, 512), byte(i)))); err != nil {
				t.Fatal(err)
			}
		}
		// The multicall to self is behind the broadcasts on the loop: all have been queued or dropped.
		if _, err := pub.Call(t.Context(), "a", rpc.PingMethod, client.Text("")); err != nil {
			t.Fatal(err)
		}
		got, missed := 0, uint64(0)
		for got+int(missed) < sent {
			e := slow.next().GetEvent()
			if e.GetGap() > 0 {
				missed += e.GetGap()
				if !strings.Contains(e.GetReason(), "too slow") {
					t.Errorf("gap without reason: %v", e)
				}
				continue
			}
			if missed > 0 {
				t.Error("a message came after the gap of later ones")
			}
			got++
			slow.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Credit{Credit: &starlingv1.Credit{EventBytes: uint32(len(e.GetPayload().GetData()))}}})
		}
		if missed == 0 || got == 0 {
			t.Errorf("%d messages and %d missed", got, missed)
		}
	}, func(c *rpc.Config, _ *Socket) { c.EventBytes = 4096 })
}

func TestHealthAndReflectionAreServed(t *testing.T) {
	w := newWorld(t)
	r, err := healthv1.NewHealthClient(w.conn()).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", r, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(w.conn()).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil || !strings.Contains(fmt.Sprint(m), "starling.v1.RpcService") {
		t.Errorf("%v, %v", m, err)
	}
}

func TestEnumsOfBothSidesCountAlike(t *testing.T) {
	for n, name := range starlingv1.Verdict_name {
		want := strings.ToLower(strings.TrimPrefix(name, "VERDICT_"))
		got := proto.Verdict(n).String()
		if n == int32(rpc.Delivered) {
			got = "delivered"
		}
		if n > 0 && got != want {
			t.Errorf("verdict %d: %s here, %s there", n, got, want)
		}
	}
	for n, name := range starlingv1.Executed_name {
		if want := strings.ToLower(strings.TrimPrefix(name, "EXECUTED_")); n > 0 && proto.Executed(n).String() != want {
			t.Errorf("executed %d is not %s", n, want)
		}
	}
	for n, name := range starlingv1.Stage_name {
		if want := strings.ToLower(strings.TrimPrefix(name, "STAGE_")); n > 0 && proto.Stage(n).String() != want {
			t.Errorf("stage %d is not %s", n, want)
		}
	}
	for n, name := range starlingv1.MemberStatus_name {
		if want := strings.ToLower(strings.TrimPrefix(name, "MEMBER_STATUS_")); n > 0 && proto.Status(n).String() != want {
			t.Errorf("status %d is not %s", n, want)
		}
	}
	for k, name := range map[FaultKind]string{Cut: "CUT", Delay: "DELAY", Stall: "STALL"} {
		if starlingv1.FaultKind(k).String() != "FAULT_KIND_"+name {
			t.Errorf("fault %d is not %s", k, name)
		}
	}
}

func TestErrorsOverGRPCCarryTheirReason(t *testing.T) {
	w := newWorldWith(t, rpctest.Echo, func(c *rpc.Config, _ *Socket) { c.MessageMax = 2048 })
	_, err := w.dial("x").Multicall(t.Context(), "x", client.Bytes(make([]byte, 3000)))
	var e *client.Error
	if !errors.As(err, &e) || e.Reason != "PAYLOAD_TOO_LARGE" || e.Code != codes.InvalidArgument {
		t.Errorf("over the session: %v", err)
	}
	// As the sidecar says it, to an SDK that does not look itself.
	bare := w.raw(&starlingv1.Hello{})
	bare.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Start{Start: &starlingv1.StartCall{Id: 3, What: &starlingv1.StartCall_Multicall{
		Multicall: &starlingv1.MulticallRequest{Method: "x", Payload: &starlingv1.Payload{Body: &starlingv1.Payload_Data{Data: make([]byte, 3000)}}},
	}}}})
	if d := bare.next().GetDone(); d.GetId() != 3 || d.GetFailure().GetReason() != "PAYLOAD_TOO_LARGE" {
		t.Errorf("in the session: %v", d)
	}
	_, err = starlingv1.NewRpcServiceClient(w.conn()).Multicall(t.Context(), &starlingv1.MulticallRequest{Method: "x",
		Payload: &starlingv1.Payload{Body: &starlingv1.Payload_Data{Data: make([]byte, 3000)}}})
	if s := fmt.Sprint(status.Convert(err).Details()); !strings.Contains(s, "PAYLOAD_TOO_LARGE") || !strings.Contains(s, "starling") {
		t.Errorf("unary: %v with %s", err, s)
	}
}
