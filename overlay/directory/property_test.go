package directory

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

var noon = time.UnixMilli(1_700_000_000_000)

// lone is a directory without neighbours, born.
func lone(id peer.ID, change func(*Config)) *Directory {
	cfg := Default()
	cfg.PerNode = true
	if change != nil {
		change(&cfg)
	}
	d := New(cfg, proto.Entry{ID: id, Name: "self", Addrs: []string{"self:1"}}, rand.New(rand.NewPCG(1, 2)), noon)
	d.met(noon, &proto.Out{})
	return d
}

// wait lets a directory's time pass, waking it when it wants.
func wait(d *Directory, from time.Time, by time.Duration) (time.Time, *proto.Out) {
	var out proto.Out
	end := from.Add(by)
	for at := d.Deadline(); !at.IsZero() && !at.After(end); at = d.Deadline() {
		if at.Before(from) {
			at = from
		}
		d.Wake(at, &out)
	}
	d.Wake(end, &out)
	return end, &out
}

// life is all that one owner and its judges ever wrote: single-writer registers.
type life struct {
	entries  []*proto.Entry
	opinions []proto.Opinion
}

const births = 1000

func lifeOf(id peer.ID, name string) *rapid.Generator[life] {
	return rapid.Custom(func(t *rapid.T) life {
		var l life
		e := proto.Entry{ID: id, Name: name, Birth: births + rapid.Uint64Range(0, 3).Draw(t, "birth"), Version: 1}
		e.Incarnation = e.Birth
		for range rapid.IntRange(1, 6).Draw(t, "entries") {
			now := e
			now.Zone = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "zone")
			l.entries = append(l.entries, &now)
			for range rapid.IntRange(0, 3).Draw(t, "opinions") {
				counter := uint64(len(l.opinions) + 1)
				l.opinions = append(l.opinions, proto.Opinion{
					Accused: id, Incarnation: e.Incarnation, Version: e.Version, Counter: counter,
					Author: idOf(100 + rapid.IntRange(0, 3).Draw(t, "author")), Accuse: rapid.Bool().Draw(t, "accuse"),
				})
			}
			if rapid.Bool().Draw(t, "again") {
				e.Incarnation, e.Version = e.Incarnation+1, 1
			} else {
				e.Version++
			}
		}
		if rapid.IntRange(0, 3).Draw(t, "left") == 0 {
			last := *l.entries[len(l.entries)-1]
			last.Left = true
			last.Version++
			l.entries = append(l.entries, &last)
		}
		return l
	})
}

// glimpse is what some honest node may send of it at some time.
func (l life) glimpse(t *rapid.T) proto.Record {
	e := l.entries[rapid.IntRange(0, len(l.entries)-1).Draw(t, "entry")]
	rec := proto.Record{Entry: e}
	if rapid.Bool().Draw(t, "certified") {
		rec.Down = e.Birth + rapid.Uint64Range(0, e.Incarnation-e.Birth).Draw(t, "down")
	}
	for _, o := range l.opinions {
		if o.Incarnation == e.Incarnation && o.Version <= e.Version && rapid.Bool().Draw(t, "with") {
			rec.Opinions = append(rec.Opinions, o)
		}
	}
	return rec
}

func joined(records ...proto.Record) *record {
	r := &record{}
	for i := range records {
		r.join(noon, &records[i])
	}
	return r
}

func TestJoiningRecordsIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := lifeOf(idOf(1), "n").Draw(t, "life")
		a, b, c := l.glimpse(t), l.glimpse(t), l.glimpse(t)
		same := func(what string, x, y *record) {
			if !reflect.DeepEqual(x.export(), y.export()) || x.hash() != y.hash() {
				t.Fatalf("%s: %+v and %+v", what, x.export(), y.export())
			}
		}
		same("commutative", joined(a, b), joined(b, a))
		same("idempotent", joined(a, a), joined(a))
		same("associative", joined(joined(a, b).export(), c), joined(a, joined(b, c).export()))
		ab, exported := joined(a, b), joined(a, b).export()
		if got := hashRecord(&exported); got != ab.hash() {
			t.Fatalf("a record hashes to %x here and to %x there", ab.hash(), got)
		}
		if ab.join(noon, &exported) {
			t.Fatal("what is known already was news (D9)")
		}
	})
}

// D1, and finality.
func TestNothingThatIsKnownEverFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := lifeOf(idOf(1), "n").Draw(t, "life")
		first := l.glimpse(t)
		r := joined(first)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			was, down := *r.entry, r.more().down
			rec := l.glimpse(t)
			r.join(noon, &rec)
			if was.Newer(r.entry) || r.more().down < down || (was.Left && !r.entry.Left) {
				t.Fatalf("%+v (down %d) became %+v (down %d)", was, down, *r.entry, r.more().down)
			}
			if r.more().down >= r.entry.Incarnation && len(r.more().opinions) > 0 {
				t.Fatal("opinions on a certified incarnation")
			}
		}
	})
}

// D7 at its root, D2 and D9: the order of news does not matter, nor does
// hearing it again; nobody comes alive or is heard of by hearsay.
func TestTheOrderOfNewsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var news []proto.Record
		for i := range 4 {
			l := lifeOf(idOf(i+1), fmt.Sprintf("name%d", i/2)).Draw(t, "life")
			for range rapid.IntRange(1, 4).Draw(t, "glimpses") {
				news = append(news, l.glimpse(t))
			}
		}
		a, b := lone(idOf(0), nil), lone(idOf(0), nil)
		for i := range news {
			a.apply(noon, &news[i], idOf(9), &proto.Out{})
		}
		for _, i := range rapid.Permutation(indices(len(news))).Draw(t, "order") {
			known, _ := b.records.Get(news[i].Entry.ID)
			var was proto.Status
			var incarnation uint64
			if known != nil {
				was, incarnation = known.status, known.entry.Incarnation
			}
			b.apply(noon, &news[i], idOf(9), &proto.Out{})
			if again, _ := b.apply(noon, &news[i], idOf(9), &proto.Out{}); again {
				t.Fatal("heard again, it was news")
			}
			if known != nil && known.isLiving() && (was == proto.StatusDown || was == proto.StatusLeft) && known.entry.Incarnation <= incarnation {
				t.Fatalf("%v came alive by hearsay", known.entry)
			}
		}
		if a.Digest() != b.Digest() {
			t.Fatal("digests differ")
		}
		for r := range a.records.All() {
			other, _ := b.records.Get(r.ID())
			if !reflect.DeepEqual(r.export(), other.export()) || r.status != other.status || r.superseded != other.superseded {
				t.Fatalf("%+v %v and %+v %v", r.export(), r.status, other.export(), other.status)
			}
			if !r.more().heard.IsZero() {
				t.Fatal("hearsay counted as a sign of life")
			}
		}
	})
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// D11 and M11: whatever happens between two batches.
func TestApplicationsSeeEachIncarnationUpOnceAndEndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := lone(idOf(0), nil)
		now := noon
		up := map[peer.ID]uint64{}
		ended := map[peer.ID]uint64{}
		names := map[string]int{}
		lives := []life{lifeOf(idOf(1), "x").Draw(t, "life"), lifeOf(idOf(2), "x").Draw(t, "life"), lifeOf(idOf(3), "y").Draw(t, "life")}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			rec := lives[rapid.IntRange(0, 2).Draw(t, "who")].glimpse(t)
			d.Delivered(now, idOf(9), proto.DirectoryBody{Records: []proto.Record{rec}}, &proto.Out{})
			var out *proto.Out
			now, out = wait(d, now, time.Duration(rapid.IntRange(0, 200).Draw(t, "ms"))*time.Millisecond)
			for _, o := range out.List {
				batch, ok := o.(proto.MembersChanged)
				if !ok {
					continue
				}
				for _, c := range batch.Changes {
					id, inc, name := c.Member.Entry.ID, c.Member.Entry.Incarnation, c.Member.Entry.Name
					_, isUp := up[id]
					if c.Kind != proto.ChangeUp && !isUp {
						t.Fatalf("%v of %v, which is not up", c.Kind, id.Short())
					}
					switch c.Kind {
					case proto.ChangeUp:
						if isUp || inc <= ended[id] {
							t.Fatalf("up(%d) of %v, up %v, ended %d", inc, id.Short(), isUp, ended[id])
						}
						if names[name]++; names[name] > 1 {
							t.Fatalf("name %s is up twice", name)
						}
						up[id] = inc
					case proto.ChangeDown, proto.ChangeLeft:
						if up[id] != inc {
							t.Fatalf("%v(%d), but %d is up", c.Kind, inc, up[id])
						}
						ended[id] = inc
						delete(up, id)
						names[name]--
					}
				}
			}
		}
	})
}

// D4 and D6.
func TestWeAnswerWhatIsSaidOfUs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := lone(idOf(0), nil)
		now := noon
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			was := *d.Self()
			said := was
			rec := proto.Record{Entry: &said}
			certified := rapid.Bool().Draw(t, "certified")
			if certified {
				rec.Down = said.Incarnation
			} else {
				rec.Opinions = []proto.Opinion{{
					Accused: said.ID, Incarnation: said.Incarnation, Version: said.Version, Author: idOf(3), Counter: 1, Accuse: true,
				}}
			}
			d.Delivered(now, idOf(3), proto.DirectoryBody{Records: []proto.Record{rec}}, &proto.Out{})
			is := d.Self()
			if certified && is.Incarnation != was.Incarnation+1 {
				t.Fatalf("certified, it went from incarnation %d to %d", was.Incarnation, is.Incarnation)
			}
			if !certified && (is.Incarnation != was.Incarnation || is.Version != was.Version+1) {
				t.Fatalf("accused, it went from %d.%d to %d.%d", was.Incarnation, was.Version, is.Incarnation, is.Version)
			}
			if d.Member(idOf(0)).Status != proto.StatusAlive {
				t.Fatal("not alive in its own view")
			}
			var out *proto.Out
			now, out = wait(d, now, 100*time.Millisecond)
			if !slices.ContainsFunc(out.List, func(o proto.Output) bool {
				p, ok := o.(proto.PublishRecords)
				return ok && p.Records[0].Entry == is
			}) {
				t.Fatal("it did not publish its answer within 100 ms")
			}
		}
	})
}

// D4, second half, and hostile peers: nothing beyond a bound is taken, whatever
// is known already, and nothing panics.
func TestJumpsAboveABoundAreRefused(t *testing.T) {
	fine := proto.Entry{ID: idOf(1), Name: "n", Birth: births, Incarnation: births, Version: 1}
	with := func(change func(*proto.Entry)) *proto.Entry {
		e := fine
		change(&e)
		return &e
	}
	opinion := func(o proto.Opinion) proto.Record { return proto.Record{Entry: &fine, Opinions: []proto.Opinion{o}} }
	for why, rec := range map[string]proto.Record{
		"entry_without_id":  {Entry: with(func(e *proto.Entry) { e.ID = peer.ID{} })},
		"incarnation_jump":  {Entry: with(func(e *proto.Entry) { e.Incarnation += jumpMax + 1 })},
		"incarnation_jump ": {Entry: with(func(e *proto.Entry) { e.Birth, e.Incarnation = 1<<63, 1<<63 })},
		"incarnation_jump2": {Entry: with(func(e *proto.Entry) { e.Birth = 0 })},
		"incarnation_jump3": {Tomb: &proto.Tombstone{ID: idOf(1), Birth: births, Incarnation: 1 << 62}},
		"version_jump":      {Entry: with(func(e *proto.Entry) { e.Version = versionMax + 1 })},
		"certificate_ahead": {Entry: &fine, Down: births + 1},
		"opinion_misplaced": opinion(proto.Opinion{Accused: idOf(2), Incarnation: births, Version: 1, Author: idOf(3)}),
		"opinion_ahead":     opinion(proto.Opinion{Accused: idOf(1), Incarnation: births, Version: 2, Author: idOf(3)}),
		"counter_jump":      opinion(proto.Opinion{Accused: idOf(1), Incarnation: births, Version: 1, Author: idOf(3), Counter: 1 << 63}),
		"too_many_opinions": {Entry: &fine, Opinions: make([]proto.Opinion, proto.MaxOpinions+1)},
	} {
		d := lone(idOf(0), nil)
		var out proto.Out
		d.Delivered(noon, idOf(9), proto.DirectoryBody{Records: []proto.Record{rec}}, &out)
		if len(out.List) != 1 || d.records.Len() != 1 || d.tombs.Len() != 0 {
			t.Fatalf("%s: got %v, knows %d", why, out.List, d.records.Len())
		}
		if got, ok := out.List[0].(proto.Ignored); !ok || got.Peer != idOf(9) || got.Why != why[:len(got.Why)] {
			t.Errorf("%s: got %v", why, out.List[0])
		}
	}
}

// D8.
func TestTheDirectoryIsBounded(t *testing.T) {
	d := lone(idOf(0), func(c *Config) { c.EntriesMax, c.TombsMax = 16, 16 })
	for i := range 200 {
		rec := proto.Record{Entry: &proto.Entry{ID: idOf(i + 1), Name: fmt.Sprint(i), Birth: 1, Incarnation: 1, Version: 1}}
		if i%3 == 0 {
			rec.Down = 1
		}
		tomb := proto.Record{Tomb: &proto.Tombstone{ID: idOf(1000 + i), Name: fmt.Sprint(i), Birth: 1, Incarnation: 1}}
		d.Delivered(noon, idOf(9), proto.DirectoryBody{Records: []proto.Record{rec, tomb}}, &proto.Out{})
	}
	if d.records.Len() != 16 || d.tombs.Len() != 16 {
		t.Fatalf("%d entries, %d tombstones", d.records.Len(), d.tombs.Len())
	}
	if len(d.names) > 16+16 {
		t.Fatalf("%d claims on names", len(d.names))
	}
}

func TestDefaultIsValidAndNonsenseIsNot(t *testing.T) {
	cfg := Default()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.PingEvery = 0 }, func(c *Config) { c.SuspectMin = c.SuspectMax + 1 }, func(c *Config) { c.Committee = 0 },
		func(c *Config) { c.StoppedMax = c.PurgeAfter + 1 }, func(c *Config) { c.ChunkBytes = proto.MaxFrame },
	} {
		cfg := Default()
		spoil(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("valid: %+v", cfg)
		}
	}
}
