package figures

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/sim"
)

// stalls: Lifeguard's experiment. Some nodes stop for a while and run as long, again and again.
func stalls(t *testing.T, n int) []row {
	var rows []row
	for _, share := range []int{1, 4, 16, 32} {
		l, _ := join(t, n, nil)
		l.Run(10 * time.Second)
		victims := l.some(share)
		ill := map[*sim.Node]bool{}
		for _, v := range victims {
			ill[v] = true
			block := 16 * time.Millisecond << l.rng.IntN(12) // to 32.8 s
			for at := time.Duration(0); at < 90*time.Second; at += 2 * block {
				l.After(at, func() { l.Pause(v) })
				l.After(at+block, func() { l.Resume(v) })
			}
		}
		wrong := 0
		for range 450 {
			l.Run(200 * time.Millisecond)
			up := l.Up()
			for _, o := range up {
				for _, about := range up {
					if !ill[o] && !ill[about] && !l.Tells(o, about) {
						wrong++
					}
				}
			}
		}
		l.fine()
		rows = append(rows, row{what: fmt.Sprintf("Lifeguard: %d %% stall for 16 ms to 32 s: healthy ones called down", share), paper: "SWIM: many",
			goal: atMost(0), got: float64(wrong), why: "healthy nodes are taken for down while stalled ones accuse"})
	}
	return rows
}

// flipFlop: Rapid's experiment. 1 % of all nodes hear nobody for 20 s, then do, and so on.
func flipFlop(t *testing.T, n int) []row {
	l, _ := join(t, n, nil)
	l.Run(10 * time.Second)
	v := l.watch(l.some(1))
	for range 3 {
		var mend []func()
		for _, n := range v.ill {
			mend = append(mend, l.OneWay(n, true))
		}
		v.pass(20 * time.Second)
		for _, f := range mend {
			f()
		}
		v.pass(20 * time.Second)
	}
	return v.rows("Rapid's flip-flop, 3 rounds")
}

// loss: Rapid's other experiment. 1 % of all nodes lose four fifths of what they send. A link is a TCP connection, which makes
// of that long silences and, now and then, its end: nothing of theirs arrives four fifths of the time.
func loss(t *testing.T, n int) []row {
	l, _ := join(t, n, nil)
	l.Run(10 * time.Second)
	v := l.watch(l.some(1))
	for range 20 {
		slice := 200*time.Millisecond + time.Duration(l.rng.Int64N(int64(1800*time.Millisecond)))
		var mend []func()
		for _, n := range v.ill {
			mend = append(mend, l.OneWay(n, false))
		}
		v.pass(4 * slice)
		for _, f := range mend {
			f()
		}
		v.pass(slice)
	}
	return v.rows("Rapid's 80 % loss, about 100 s")
}

// verdicts are what the healthy tell of each other, and of those that are ill.
type verdicts struct {
	l       *lab
	ill     []*sim.Node
	healthy []*sim.Node
	up      [][]bool // by who tells, about whom of the ill
	changes [][]int
	wrong   int // looks at which a healthy one was not up to another
}

func (l *lab) watch(ill []*sim.Node) *verdicts {
	v := &verdicts{l: l, ill: ill}
	for _, n := range l.Up() {
		if !slices.Contains(ill, n) {
			v.healthy = append(v.healthy, n)
			v.up, v.changes = append(v.up, make([]bool, len(ill))), append(v.changes, make([]int, len(ill)))
		}
	}
	v.look()
	for i := range v.changes {
		clear(v.changes[i])
	}
	return v
}

// pass lets so much time go by, and looks five times a second.
func (v *verdicts) pass(d time.Duration) {
	for until := v.l.Now() + d; v.l.Now() < until; {
		v.l.Run(min(200*time.Millisecond, until-v.l.Now()))
		v.look()
	}
	v.l.fine()
}

func (v *verdicts) look() {
	for i, o := range v.healthy {
		for j, about := range v.ill {
			if up := v.l.Tells(o, about); up != v.up[i][j] {
				v.up[i][j] = up
				v.changes[i][j]++
			}
		}
	}
	if v.l.Now()/time.Second%5 == 0 { // each looks at all others
		for _, o := range v.healthy {
			for _, about := range v.healthy {
				if !v.l.Tells(o, about) {
					v.wrong++
				}
			}
		}
	}
}

func (v *verdicts) rows(what string) []row {
	agree, most := 0, 0
	for j := range v.ill {
		up := 0
		for i := range v.healthy {
			if v.up[i][j] {
				up++
			}
			most = max(most, v.changes[i][j])
		}
		agree += max(up, len(v.healthy)-up)
	}
	return []row{
		{what: what + ": healthy ones called down", paper: "0", goal: atMost(0), got: float64(v.wrong), why: "the ill accuse, and are believed"},
		{what: what + ": verdicts about the ill that agree at the end, %", paper: "100", goal: atLeast(100), got: 100 * float64(agree) / float64(len(v.ill)*len(v.healthy)), why: "it changes while one looks"},
		{what: what + ": changes of a verdict about one, at most", paper: "1", goal: atMost(1), got: float64(most), why: "who answers again is a member again, at once; Rapid keeps it out"},
	}
}
