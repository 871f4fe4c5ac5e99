package sim

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this one world, and tell its story")
	nodesFlag = flag.Int("nodes", 0, "with so many nodes; 0: as the seed draws")
)

// swarmSize is how many worlds are played; SEEDS in the environment replaces it.
func swarmSize(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("SEEDS"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatalf("SEEDS: %v", err)
		}
		return n
	}
	return 200
}

func TestSwarm(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine a world: the race detector would see nothing, ten times slower")
	}
	if *seedFlag != 0 {
		w := Draw(*seedFlag, *nodesFlag).Play(func(line string) { t.Log(line) })
		t.Logf("%d steps\n%s", w.steps, w.Report.String())
		if w.Failed() != "" {
			t.Fatal(w.Failed())
		}
		return
	}
	n := swarmSize(t)
	total := newReport()
	rich, steps := 0, 0
	var short []uint64
	for seed := uint64(1); seed <= n; seed++ {
		y := Draw(seed, *nodesFlag)
		if len(y.Kinds) >= 5 {
			rich++
		}
		w := y.Play(nil)
		if w.Failed() != "" {
			t.Errorf("go test ./overlay/sim -run TestSwarm -seed %d -nodes %d -v\n%.1500s", seed, y.Nodes, w.Failed())
			continue
		}
		again := Draw(seed, *nodesFlag).Play(nil)
		if again.Hash() != w.Hash() {
			t.Errorf("go test ./overlay/sim -run TestSwarm -seed %d -nodes %d -v\nplayed twice it told two stories: %x and %x", seed, y.Nodes, w.Hash(), again.Hash())
		}
		if w.Now() < 120*time.Second {
			short = append(short, seed)
		}
		steps += w.steps
		total.Add(&w.Report)
	}
	fmt.Printf("%d worlds, %d of them with five kinds of faults or more, %d steps\n%s", n, rich, steps, total.String())
	if len(short) > 0 {
		t.Errorf("worlds shorter than 120 s: %v", short)
	}
	if rich < int(n/2) {
		t.Errorf("only %d of %d worlds have five kinds of faults", rich, n)
	}
}
