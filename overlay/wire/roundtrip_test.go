package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func TestEverySampleComesBackAsItWent(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range samples() {
		seen[s.name] = true
		if got := Type(s.msg); got != s.name {
			t.Errorf("%T is called %q, want %q", s.msg, got, s.name)
		}
		got, err := Parse(Append(nil, s.msg))
		if err != nil || !reflect.DeepEqual(got, s.msg) {
			t.Errorf("%s: %+v, %v; sent %+v", s.name, got, err, s.msg)
		}
	}
	for _, name := range Types() {
		if !seen[name] {
			t.Errorf("no sample of %s", name)
		}
	}
	if len(Types()) != len(seen) {
		t.Errorf("%d types, %d in the samples", len(Types()), len(seen))
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	before := []byte("before")
	got := Append(bytes.Clone(before), proto.Prune{Stream: 2})
	if !bytes.HasPrefix(got, before) {
		t.Fatalf("%q", got)
	}
	if m, err := Parse(got[len(before):]); err != nil || m != (proto.Prune{Stream: 2}) {
		t.Fatal(m, err)
	}
}

// The generator follows the Go types by reflection: a field that is added to the
// vocabulary and forgotten here comes back as zero, and the test says so.
func TestEveryMessageComesBackAsItWent(t *testing.T) {
	all := generators()
	if len(all) != len(Types()) {
		t.Fatalf("%d generators, %d types", len(all), len(Types()))
	}
	for _, gen := range all {
		rapid.Check(t, func(t *rapid.T) {
			sent := gen.Draw(t, "message")
			frame := Append(nil, sent)
			got, err := Parse(frame)
			if err != nil {
				t.Fatalf("%v\n%+v\n%x", err, sent, frame)
			}
			if !reflect.DeepEqual(got, sent) {
				t.Fatalf("sent %+v\n got %+v", sent, got)
			}
			if again := Append(nil, got); !bytes.Equal(again, frame) {
				t.Fatalf("the same message has two frames:\n%x\n%x", frame, again)
			}
		})
	}
}

func TestEveryHelloComesBackAsItWent(t *testing.T) {
	hellos := rapid.MakeCustom[proto.Hello](shapes())
	refusals := rapid.Custom(func(t *rapid.T) Refusal {
		return Refusal{
			Why:        RefusedWhy(rapid.IntRange(1, int(RefusedOther)).Draw(t, "why")),
			VersionMin: rapid.Uint16().Draw(t, "min"), VersionMax: rapid.Uint16().Draw(t, "max"),
			Text: rapid.StringN(-1, -1, proto.MaxValue).Draw(t, "text"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		sent := hellos.Draw(t, "hello")
		if got, err := ParseHello(AppendHello(nil, sent)); err != nil || !reflect.DeepEqual(got, sent) {
			t.Fatalf("%v\nsent %+v\n got %+v", err, sent, got)
		}
		no := refusals.Draw(t, "refusal")
		var got *Refusal
		if _, err := ParseHello(AppendRefusal(nil, no)); !errors.As(err, &got) || *got != no {
			t.Fatalf("%v, want %+v", err, no)
		}
	})
}

// A parsed message must not change when the buffer it was read from is filled again.
func TestParsedMessagesOwnTheirBytes(t *testing.T) {
	for _, s := range samples() {
		frame := Append(nil, s.msg)
		got, err := Parse(frame)
		if err != nil {
			t.Fatal(err)
		}
		for i := range frame {
			frame[i] = 0xff
		}
		if !reflect.DeepEqual(got, s.msg) {
			t.Errorf("%s changed with its buffer: %+v", s.name, got)
		}
	}
}

func TestTheHighestCommonVersionIsSpoken(t *testing.T) {
	for _, c := range []struct {
		aMin, aMax, bMin, bMax, want uint16
		ok                           bool
	}{{1, 1, 1, 1, 1, true}, {1, 3, 2, 5, 3, true}, {2, 5, 1, 3, 3, true}, {1, 2, 3, 4, 0, false}, {3, 4, 1, 2, 0, false}} {
		got, ok := Version(proto.Hello{VersionMin: c.aMin, VersionMax: c.aMax}, proto.Hello{VersionMin: c.bMin, VersionMax: c.bMax})
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%+v: %d, %v", c, got, ok)
		}
	}
}

// Every list of values ends where the vocabulary's ends: who adds one must say here since which version it travels.
func TestListsOfValuesEndTogether(t *testing.T) {
	for name, beyond := range map[string]string{
		"RefuseWhy": (proto.RefuseSuperseded + 1).String(), "ByeWhy": (proto.ByeTrimmed + 1).String(),
		"LinkKind": (proto.LinkLane + 1).String(), "Mode": (proto.ModeDeliverHandler + 1).String(),
		"Executed": (proto.ExecutedMaybe + 1).String(), "Stage": (proto.StageFinished + 1).String(),
		"TestimonyKind": (proto.TestifyPending + 1).String(), "DialWhy": (proto.DialNetwork + 1).String(),
		"RefusedWhy": (RefusedOther + 1).String(), "Reason": (Missing + 1).String(),
	} {
		if beyond != "unknown" {
			t.Errorf("%s goes on with %s", name, beyond)
		}
	}
	if got := strings.Join(Reasons(), " "); len(Reasons()) != int(Missing) || strings.Contains(got, "unknown ") {
		t.Errorf("reasons: %s", got)
	}
}

// generators makes one generator for each message of the vocabulary.
func generators() []*rapid.Generator[proto.Message] {
	return []*rapid.Generator[proto.Message]{
		of[proto.Join](), of[proto.ForwardJoin](), of[proto.Neighbor](), of[proto.Accept](), of[proto.Refuse](), of[proto.Bye](),
		of[proto.Shuffle](), of[proto.ShuffleReply](), of[proto.Gossip](), of[proto.IHave](), of[proto.Graft](),
		of[proto.GraftMiss](), of[proto.Prune](), of[proto.Last](), of[proto.Ping](), of[proto.Pong](), of[proto.SyncHashes](),
		of[proto.SyncRecords](), of[proto.Call](), of[proto.Took](), of[proto.Seen](), of[proto.Echo](), of[proto.Adopt](),
		of[proto.Cancel](), of[proto.Pull](), of[proto.CallBody](), of[proto.Ask](), of[proto.Answer](), of[proto.StatusAsk](),
		of[proto.StatusAnswer](), of[proto.Help](), of[proto.Helpless](),
	}
}

func of[T proto.Message]() *rapid.Generator[proto.Message] {
	return rapid.Map(rapid.MakeCustom[T](shapes()), func(m T) proto.Message { return m })
}

// shapes says what a value of each type may be: whatever may travel, up to its bounds.
func shapes() rapid.MakeConfig {
	var (
		somebody = rapid.Custom(func(t *rapid.T) peer.ID {
			return peer.ID(append([]byte{rapid.Byte().Draw(t, "id") | 1}, rapid.SliceOfN(rapid.Byte(), 15, 15).Draw(t, "rest")...))
		})
		anybody = rapid.OneOf(rapid.Just(peer.ID{}), somebody)
		name    = rapid.OneOf(rapid.StringN(-1, 8, -1), rapid.StringN(-1, -1, proto.MaxName))
		value   = rapid.OneOf(rapid.StringN(-1, 8, -1), rapid.StringN(-1, -1, proto.MaxValue))
		payload = rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), orNil)
		stream  = rapid.Uint8Max(proto.Streams - 1)
	)
	config := rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[peer.ID]():             somebody.AsAny(),
			reflect.TypeFor[string]():              name.AsAny(),
			reflect.TypeFor[[]byte]():              payload.AsAny(),
			reflect.TypeFor[[]uint64]():            rapid.SliceOfN(rapid.Uint64(), proto.Buckets, proto.Buckets).AsAny(),
			reflect.TypeFor[proto.RefuseWhy]():     upTo(proto.RefuseSuperseded),
			reflect.TypeFor[proto.ByeWhy]():        upTo(proto.ByeTrimmed),
			reflect.TypeFor[proto.LinkKind]():      upTo(proto.LinkLane),
			reflect.TypeFor[proto.Mode]():          upTo(proto.ModeDeliverHandler),
			reflect.TypeFor[proto.Verdict]():       upTo(proto.TimedOut),
			reflect.TypeFor[proto.Executed]():      upTo(proto.ExecutedMaybe),
			reflect.TypeFor[proto.TestimonyKind](): upTo(proto.TestifyPending),
			reflect.TypeFor[proto.DialWhy]():       upTo(proto.DialNetwork),
			reflect.TypeFor[proto.Stage]():         rapid.Map(rapid.Uint8Max(uint8(proto.StageFinished)), func(v uint8) proto.Stage { return proto.Stage(v) }).AsAny(),
		},
		Fields: map[reflect.Type]map[string]*rapid.Generator[any]{
			reflect.TypeFor[proto.Tag]():       {"Value": value.AsAny()},
			reflect.TypeFor[proto.Result]():    {"Reason": value.AsAny()},
			reflect.TypeFor[proto.CallID]():    {"Target": anybody.AsAny()},
			reflect.TypeFor[proto.Receipt]():   {"Parent": anybody.AsAny()},
			reflect.TypeFor[proto.Ask]():       {"Via": anybody.AsAny()},
			reflect.TypeFor[proto.Ping]():      {"Component": anybody.AsAny()},
			reflect.TypeFor[proto.Pong]():      {"Component": anybody.AsAny()},
			reflect.TypeFor[proto.MsgID]():     {"Stream": stream.AsAny()},
			reflect.TypeFor[proto.IHave]():     {"Stream": stream.AsAny()},
			reflect.TypeFor[proto.Graft]():     {"Stream": stream.AsAny()},
			reflect.TypeFor[proto.GraftMiss](): {"Stream": stream.AsAny()},
			reflect.TypeFor[proto.Prune]():     {"Stream": stream.AsAny()},
			reflect.TypeFor[proto.Hello](): {
				"Key":   rapid.Map(rapid.SampledFrom([]int{0, keyLen}), func(n int) []byte { return orNil(make([]byte, n)) }).AsAny(),
				"Proof": rapid.Map(rapid.SampledFrom([]int{0, proofLen}), func(n int) []byte { return orNil(make([]byte, n)) }).AsAny(),
			},
			reflect.TypeFor[proto.SyncRecords](): {"Buckets": rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, proto.Buckets), orNil).AsAny()},
			reflect.TypeFor[proto.Selector]():    {"IDs": rapid.OneOf(rapid.Just[[]peer.ID](nil), rapid.SliceOfN(somebody, 0, 5)).AsAny()},
			reflect.TypeFor[proto.Asked]():       {"Excluded": listOf(somebody, proto.MaxExcluded)},
		},
	}
	// The lists, innermost first: their generators need what is above them.
	lists := func(t reflect.Type, gen *rapid.Generator[any]) { config.Types[t] = gen }
	lists(reflect.TypeFor[[]string](), listOf(name, proto.MaxAddrs))
	lists(reflect.TypeFor[[]proto.Tag](), listOf(rapid.MakeCustom[proto.Tag](config), proto.MaxMeta))
	lists(reflect.TypeFor[[]proto.PeerInfo](), listOf(rapid.MakeCustom[proto.PeerInfo](config), 4))
	lists(reflect.TypeFor[[]proto.Range](), listOf(rapid.MakeCustom[proto.Range](config), 10))
	lists(reflect.TypeFor[[]proto.Opinion](), listOf(rapid.MakeCustom[proto.Opinion](config), 3))
	lists(reflect.TypeFor[[]proto.Record](), listOf(rapid.MakeCustom[proto.Record](config), 4))
	lists(reflect.TypeFor[[]proto.NodeResult](), listOf(rapid.MakeCustom[proto.NodeResult](config), 4))
	lists(reflect.TypeFor[[]proto.Receipt](), listOf(rapid.MakeCustom[proto.Receipt](config), 10))
	lists(reflect.TypeFor[[]proto.Testimony](), listOf(rapid.MakeCustom[proto.Testimony](config), 10))
	lists(reflect.TypeFor[*proto.Asked](), rapid.Map(rapid.MakeCustom[proto.Asked](config), func(a proto.Asked) *proto.Asked {
		a.Request.Payload = nil // the call's
		return &a
	}).AsAny())
	lists(reflect.TypeFor[proto.Body](), rapid.OneOf(
		rapid.Map(rapid.MakeCustom[proto.DirectoryBody](config), func(b proto.DirectoryBody) proto.Body { return b }),
		rapid.Just[proto.Body](proto.BeaconBody{}),
		rapid.Map(rapid.MakeCustom[proto.CastBody](config), func(b proto.CastBody) proto.Body { return b }),
	).AsAny())
	return config
}

func listOf[T any](each *rapid.Generator[T], limit int) *rapid.Generator[any] {
	return rapid.Map(rapid.SliceOfN(each, 0, limit), orNil).AsAny()
}

// orNil makes the empty list nil: on the wire they are the same.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func upTo[T ~uint8](last T) *rapid.Generator[any] {
	return rapid.Map(rapid.Uint8Range(1, uint8(last)), func(v uint8) T { return T(v) }).AsAny()
}
