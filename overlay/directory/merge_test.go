package directory

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// gossip is a few directories that learn of the same nodes by bits, and from each other all that one of them knows.
type gossip struct {
	rt    *rapid.T
	lives []life
	dirs  []*Directory
	heard *Directory                 // all the news, in the order in which anybody heard it
	was   []map[peer.ID]proto.Member // what each knew after the step before
}

// TestDirectoriesThatTellEachOtherAllBecomeOne: merging is commutative, associative and idempotent, through any others and in
// any parts, and nothing that a directory knows ever falls (D1, D7, D9).
func TestDirectoriesThatTellEachOtherAllBecomeOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := &gossip{rt: rt, heard: lone(idOf(0), nil)}
		for i := range 4 {
			g.lives = append(g.lives, lifeOf(idOf(i+1), fmt.Sprintf("name%d", i/2)).Draw(rt, "life"))
		}
		for range 3 { // of one node, so that digests compare
			g.dirs = append(g.dirs, lone(idOf(0), nil))
			g.was = append(g.was, map[peer.ID]proto.Member{})
		}
		rt.Repeat(map[string]func(*rapid.T){"learn": g.learn, "learn more": g.learn, "tell all": g.tellAll, "": func(*rapid.T) { g.holds() }})
		for range len(g.dirs) { // round the ring, until each has heard of all
			for i := range g.dirs {
				g.exchange(i, (i+1)%len(g.dirs))
			}
		}
		for i, d := range g.dirs {
			if d.Digest() != g.heard.Digest() {
				rt.Fatalf("directory %d knows %v, who heard all at first hand %v", i, d.Roster().Members, g.heard.Roster().Members)
			}
			if g.exchange(i, (i+1)%len(g.dirs)) {
				rt.Fatal("D9: what is known already was news")
			}
		}
	})
}

func (g *gossip) draw(n int) int { return rapid.IntRange(0, n-1).Draw(g.rt, "n") }

func (g *gossip) learn(*rapid.T) {
	rec := g.lives[g.draw(len(g.lives))].glimpse(g.rt)
	g.dirs[g.draw(len(g.dirs))].apply(noon, &rec, idOf(9), &proto.Out{})
	g.heard.apply(noon, &rec, idOf(9), &proto.Out{})
}

func (g *gossip) tellAll(*rapid.T) { g.exchange(g.draw(len(g.dirs)), g.draw(len(g.dirs))) }

// exchange merges all that one knows into another, as an exchange of snapshots does.
func (g *gossip) exchange(from, to int) (news bool) {
	for r := range g.dirs[from].records.All() {
		if r != g.dirs[from].self {
			rec := r.export()
			changed, _ := g.dirs[to].apply(noon, &rec, idOf(9), &proto.Out{})
			news = news || changed
		}
	}
	return news
}

// holds: nothing has fallen in any directory.
func (g *gossip) holds() {
	for i, d := range g.dirs {
		for _, m := range d.Roster().Members {
			was, known := g.was[i][m.Entry.ID]
			switch {
			case !known:
			case was.Entry.Newer(m.Entry) && !m.Entry.Left, was.Entry.Left && !m.Entry.Left, m.Down < was.Down, was.Superseded && !m.Superseded:
				g.rt.Fatalf("D1: %+v became %+v", was, *m)
			}
			g.was[i][m.Entry.ID] = *m
		}
	}
}
