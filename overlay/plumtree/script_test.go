package plumtree

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// TestScripts plays the stories in testdata/scripts to one Tree, that of node a, and
// compares what it does. Each "story" is a Tree of its own; "then" goes on
// with it. A broadcast is written origin:number, a range origin:from-to@round.
// Rewrite the expectations with -rewrite, and read the difference.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var s *script
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			if td.Cmd == "story" {
				s = &script{t: t, now: birth, tree: New(named1("a"), Default())}
			}
			for line := range strings.Lines(td.Input) {
				s.do(strings.Fields(line))
			}
			told := s.told.String()
			s.told.Reset()
			return told
		})
	})
}

type script struct {
	t    *testing.T
	now  time.Time
	tree *Tree
	told strings.Builder
}

func named1(letter string) peer.ID { return peer.ID{letter[0]} }

func (s *script) do(words []string) {
	s.t.Helper()
	var out proto.Out
	switch words[0] {
	case "up": // up LINK PEER
		s.tree.NeighborUp(s.now, s.link(words[1]), named1(words[2]), &out)
	case "down": // down LINK
		s.tree.NeighborDown(s.now, s.link(words[1]), &out)
	case "rtt": // rtt LINK TIME
		s.tree.Timing(s.link(words[1]), s.time(words[2]))
	case "members": // members N
		s.tree.SetSize(int(s.number(words[1])))
	case "say": // say STREAM
		if _, refused := s.tree.Publish(s.now, s.stream(words[1]), proto.CastBody{Topic: "t"}, &out); refused != "" {
			fmt.Fprintf(&s.told, "refused: %s\n", refused)
		}
	case "recv": // recv LINK KIND STREAM …
		s.tree.Receive(s.now, s.link(words[1]), peer.ID{}, s.message(words[2], s.stream(words[3]), words[4:]), &out)
	case "wait": // wait TIME
		s.wait(s.time(words[1]))
	default:
		s.t.Fatalf("a script says %q", words)
	}
	s.tell(out.List)
}

func (s *script) wait(d time.Duration) {
	end := s.now.Add(d)
	for {
		at := s.tree.Deadline()
		if at.IsZero() || at.After(end) {
			s.now = end
			return
		}
		s.now = later(s.now, at)
		var out proto.Out
		s.tree.Wake(s.now, &out)
		s.tell(out.List)
	}
}

func (s *script) message(kind string, stream uint8, words []string) proto.Message {
	s.t.Helper()
	var list []proto.Range
	for _, word := range words {
		list = append(list, s.ranged(word))
	}
	switch kind {
	case "gossip":
		r := list[0]
		return proto.Gossip{ID: proto.MsgID{Origin: r.Origin, Stream: stream, Seq: r.From}, Round: r.Round, Body: proto.CastBody{Topic: "t"}}
	case "ihave":
		return proto.IHave{Stream: stream, Ranges: list}
	case "graft":
		return proto.Graft{Stream: stream, Ranges: list}
	case "miss":
		return proto.GraftMiss{Stream: stream, Ranges: list}
	case "prune":
		return proto.Prune{Stream: stream}
	case "last": // the round is the repetition
		r := list[0]
		return proto.Last{ID: proto.MsgID{Origin: r.Origin, Stream: stream, Seq: r.From}, Repeat: uint8(r.Round)}
	default:
		s.t.Fatalf("a script receives %q", kind)
		return nil
	}
}

// ranged reads origin:from[-to][@round]; the round "old" is that of history.
func (s *script) ranged(word string) proto.Range {
	s.t.Helper()
	word, round, _ := strings.Cut(word, "@")
	origin, numbers, _ := strings.Cut(word, ":")
	from, to, wide := strings.Cut(numbers, "-")
	if !wide {
		to = from
	}
	r := proto.Range{Origin: named1(origin), From: s.number(from), To: s.number(to)}
	switch round {
	case "":
	case "old":
		r.Round = proto.RoundHistory
	default:
		r.Round = uint16(s.number(round))
	}
	return r
}

func (s *script) number(word string) uint64 {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) link(word string) proto.LinkID { return proto.LinkID(s.number(word)) }
func (s *script) stream(word string) uint8      { return uint8(s.number(word)) }

func (s *script) time(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// tell writes outputs down, each with its time.
func (s *script) tell(list []proto.Output) {
	s.tree.Check()
	s.tree.checkAll()
	for _, o := range list {
		fmt.Fprintf(&s.told, "%8v  ", s.now.Sub(birth))
		switch o := o.(type) {
		case proto.Send:
			fmt.Fprintf(&s.told, "link %d: %s\n", o.Link, inWords(o.Msg))
		case proto.DeliverBody:
			fmt.Fprintf(&s.told, "deliver %s, hops %d\n", idInWords(o.ID), o.Hops)
		case proto.Gap:
			fmt.Fprintf(&s.told, "gap of %d, %c stream %d\n", o.Count, o.Origin[0], o.Stream)
		case proto.Ignored:
			fmt.Fprintf(&s.told, "ignored: %s\n", o.Why)
		default:
			s.t.Fatalf("an output %T", o)
		}
	}
}

func idInWords(id proto.MsgID) string {
	return fmt.Sprintf("%c:%d stream %d", id.Origin[0], id.Seq, id.Stream)
}

func inWords(m proto.Message) string {
	switch m := m.(type) {
	case proto.Gossip:
		return fmt.Sprintf("gossip %s, round %d", idInWords(m.ID), m.Round)
	case proto.IHave:
		return fmt.Sprintf("ihave stream %d%s", m.Stream, rangesInWords(m.Ranges, true))
	case proto.Graft:
		return fmt.Sprintf("graft stream %d%s", m.Stream, rangesInWords(m.Ranges, false))
	case proto.GraftMiss:
		return fmt.Sprintf("miss stream %d%s", m.Stream, rangesInWords(m.Ranges, false))
	case proto.Prune:
		return fmt.Sprintf("prune stream %d", m.Stream)
	case proto.Last:
		return fmt.Sprintf("last %s, repeat %d", idInWords(m.ID), m.Repeat)
	default:
		return fmt.Sprintf("%T", m)
	}
}

func rangesInWords(list []proto.Range, round bool) string {
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, " %c:%d-%d", r.Origin[0], r.From, r.To)
		if round && r.Round == proto.RoundHistory {
			b.WriteString("@old")
		} else if round {
			fmt.Fprintf(&b, "@%d", r.Round)
		}
	}
	return b.String()
}
