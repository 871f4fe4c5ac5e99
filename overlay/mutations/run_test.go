package mutations

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	all  = flag.Bool("all", false, "build every mutant and demand that it is caught")
	only = flag.String("only", "", "with -all: only this invariant's")
	find = flag.Uint64("find", swarmSeeds, "with -all: the last seed to look at for a mutant that its own does not catch")
)

// root is where the module is.
const root = "../.."

// mutantMost is how long one mutant may run: one that hangs is caught by that.
const mutantMost = 10 * time.Second

// TestEveryMutationApplies: its text occurs once, or it would break something else, or nothing.
func TestEveryMutationApplies(t *testing.T) {
	for _, m := range table {
		if _, err := m.patched(); err != nil {
			t.Error(err)
		}
		if m.by.seed > swarmSeeds {
			t.Errorf("%s: seed %d is not in the ordinary swarm", m.invariant, m.by.seed)
		}
	}
}

// TestEveryInvariantHasItsMutationOrIsListedAsOpen: none is passed over.
func TestEveryInvariantHasItsMutationOrIsListedAsOpen(t *testing.T) {
	for name, what := range invariants {
		has := slices.ContainsFunc(table, func(m mutation) bool { return m.invariant == name })
		if _, isOpen := open[name]; has == isOpen {
			t.Errorf("%s (%s): a mutation: %v; listed as open: %v", name, what, has, isOpen)
		}
	}
	for _, m := range table {
		if invariants[m.invariant] == "" {
			t.Errorf("%s is no invariant", m.invariant)
		}
	}
}

// TestEveryMutationIsCaught builds and runs the mutants, and prints what caught each.
func TestEveryMutationIsCaught(t *testing.T) {
	if !*all {
		t.Skip("make mutations builds them all")
	}
	bin := t.TempDir()
	lines := make([]string, len(table))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for i, m := range slices.Backward(table) { // one near the end hangs until its time is over: it begins early
		if *only != "" && m.invariant != *only {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			start := time.Now()
			how, err := m.test(filepath.Join(bin, fmt.Sprint(i)))
			if err != nil {
				t.Error(err)
				how = "NOT CAUGHT"
			}
			lines[i] = fmt.Sprintf("%-4s %-74s %4.1f s  %s", m.invariant, m.says, time.Since(start).Seconds(), how)
		})
	}
	wg.Wait()
	fmt.Printf("%-4s %-74s %6s  %s\n", "", "mutation", "took", "caught by")
	for _, line := range lines {
		if line != "" {
			fmt.Println(line)
		}
	}
	for name, why := range open {
		fmt.Printf("%-4s OPEN: %s: %s\n", name, invariants[name], why)
	}
}

// patched is the file with the mutation in it.
func (m *mutation) patched() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s: in %s this occurs %d times, want once: %s", m.invariant, m.file, n, m.old)
	}
	return bytes.Replace(text, []byte(m.old), []byte(m.new), 1), nil
}

// test builds the mutant, runs what should catch it, and tells what did.
func (m *mutation) test(bin string) (how string, err error) {
	if err := m.build(bin); err != nil {
		return "", err
	}
	seeds := []uint64{m.by.seed}
	for s := uint64(1); m.by.seed > 0 && s <= *find; s++ {
		seeds = append(seeds, s)
	}
	var out string
	for _, seed := range seeds {
		if out, err = m.run(bin, seed); err != nil {
			return "", err
		}
		if strings.Contains(out, m.sign()) {
			switch how = m.by.String(); {
			case seed != m.by.seed: // the weather has changed
				how = fmt.Sprintf("%s, seed %d (the table says %d)", how, seed, m.by.seed)
			case seed > 0:
				how = fmt.Sprintf("%s, seed %d", how, seed)
			}
			return how, nil
		}
	}
	if len(out) > 1500 {
		out = out[:1500] + "…"
	}
	return "", fmt.Errorf("%s: %s: %s did not say %q: %s", m.invariant, m.says, m.by, m.sign(), out)
}

// build makes the test binary of the mutant.
func (m *mutation) build(bin string) error {
	text, err := m.patched()
	if err != nil {
		return err
	}
	if err := os.WriteFile(bin+".go", text, 0o600); err != nil {
		return err
	}
	original, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: bin + ".go"}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(bin+".json", overlay, 0o600); err != nil {
		return err
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay="+bin+".json", "-o="+bin, "./"+m.by.pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: the mutant of %s does not build: %w\n%s", m.invariant, m.file, err, out)
	}
	return nil
}

// run is what the ordinary run would say of the mutant; an error only if it could not run.
func (m *mutation) run(bin string, seed uint64) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*mutantMost)
	defer cancel()
	args := []string{"-test.run=^" + m.by.test + "$", "-test.timeout=" + mutantMost.String()}
	switch {
	case seed > 0:
		args = append(args, fmt.Sprintf("-seed=%d", seed))
	case m.by.rapid:
		args = append(args, "-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=0s")
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = filepath.Join(root, m.by.pkg)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w", m.invariant, err)
	}
	if err == nil {
		return "it passed", nil
	}
	return string(out), nil
}
