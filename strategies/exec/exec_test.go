package exec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
)

func newExec(t *testing.T, edit func(*Config), command ...string) *Exec {
	t.Helper()
	cfg := Default()
	cfg.Command, cfg.Refresh = command, time.Second
	if edit != nil {
		edit(&cfg)
	}
	e, err := New(cfg, func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sh is a script in place of a program.
func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestContract(t *testing.T) {
	json := func(addrs []string) string { return `[{"targets": ["` + strings.Join(addrs, `", "`) + "\"]}]\n" }
	list := func(addrs []string) string { return strings.Join(addrs, "\n") + "\n" }
	for name, text := range map[string]func([]string) string{"JSON": json, "List": list} {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
				dir := t.TempDir()
				script := filepath.Join(dir, "peers")
				put := func(text string) { // the script is replaced whole, or it could be read half
					if err := os.WriteFile(script+".new", []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					if err := os.Rename(script+".new", script); err != nil {
						t.Fatal(err)
					}
				}
				var now string
				set := func(addrs ...string) { now = "cat <<'END'\n" + text(addrs) + "END\n"; put(now) }
				broken := []string{
					now + "echo no rights >&2; exit 3", // whatever it printed before
					"echo '<html>'", "echo '[{'", "kill -9 $$", "exec sleep 60", "echo unknown.example:1", "cat /dev/zero",
				}
				e := newExec(t, func(c *Config) { c.Timeout = 500 * time.Millisecond }, "/bin/sh", script)
				return discoverytest.Harness{
					Strategy: e, Refresh: e.Refresh, Set: set, BreakWays: len(broken),
					Break: func(way int) { put(broken[way]) },
					Mend:  func() { put(now) },
				}
			})
		})
	}
}

func look(t *testing.T, e *Exec) (string, error) {
	t.Helper()
	r := e.look(t.Context())
	if r.Seen == nil {
		return "", r.Err
	}
	var addrs []string
	for _, c := range r.Seen.(discovery.Complete).Candidates {
		addrs = append(addrs, c.Addrs...)
	}
	return strings.Join(addrs, " "), r.Err
}

func TestTheContractOfNetaddrs(t *testing.T) {
	const want = "172.25.16.77:7827 172.25.42.80:7827 [fe80::1ff:fe23:4567:890a%3]:7827"
	e := newExec(t, nil, "printf", "172.25.16.77 172.25.42.80\nfe80::1ff:fe23:4567:890a%%3")
	if got, err := look(t, e); got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	_, err := look(t, newExec(t, nil, sh("echo 10.0.0.1; echo 'no\nrights' >&2; exit 3")...))
	if err == nil || err.Error() != "/bin/sh: exit status 3: no rights" {
		t.Errorf("got %v, want the exit code and what was said", err)
	}
	_, err = look(t, newExec(t, nil, sh("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1")...))
	if err == nil || len(err.Error()) > 2*complaint {
		t.Errorf("a complaint of 100,000 bytes became %d", len(err.Error()))
	}
}

func TestJSONIsToldFromAList(t *testing.T) {
	for out, want := range map[string]string{
		"[]": "json", " [\n]": "json", "[ {\"targets\":[]}]": "json", "[": "json",
		"": "list", "10.0.0.1": "list", "[fd00::1]:7000": "list", "[::1]": "list",
	} {
		if got := sniff([]byte(out)); got != want {
			t.Errorf("%q is %s, want %s", out, got, want)
		}
	}
}

func TestErrorsHaveTheirClass(t *testing.T) {
	for _, tt := range []struct {
		command []string
		want    discovery.Class
		say     string
	}{
		{[]string{"no-such-program-here"}, discovery.NotFound, "no-such-program-here"},
		{[]string{"/no/such/program"}, discovery.NotFound, "/no/such/program"},
		{[]string{"/etc/passwd"}, discovery.Auth, "permission denied"},
		{sh("exec sleep 60"), discovery.Timeout, "longer than 300ms and was killed"},
		{sh("cat /dev/zero"), discovery.Misconfigured, "more than 4194304 bytes"},
		{sh("echo '<html>'"), discovery.Misconfigured, "output of /bin/sh:1: address"},
		{sh("exit 1"), discovery.Unavailable, "exit status 1"},
	} {
		_, err := look(t, newExec(t, func(c *Config) { c.Timeout = 300 * time.Millisecond }, tt.command...))
		if discovery.ClassOf(err) != tt.want || !strings.Contains(fmt.Sprint(err), tt.say) {
			t.Errorf("%v: %v (%v), want %v and %q", tt.command, err, discovery.ClassOf(err), tt.want, tt.say)
		}
	}
}

// alive tells whether the process whose ID is in a file runs; a zombie does not.
func alive(t *testing.T, pidFile string) bool {
	t.Helper()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return syscall.Kill(pid, 0) == nil // where there is no /proc
	}
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestNothingOfTheProgramOutlivesItsLook(t *testing.T) {
	for name, script := range map[string]string{
		"a child of one that is too slow": "sleep 60 & echo $! > PID; wait",
		"one left in the background":      "sleep 60 & echo $! > PID; echo 10.0.0.1",
		"one that holds no pipe":          "sleep 60 >/dev/null 2>&1 & echo $! > PID; echo 10.0.0.1",
		"one that ignores the end":        "trap '' TERM HUP; sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & echo $! > PID; wait",
	} {
		t.Run(name, func(t *testing.T) {
			pid := filepath.Join(t.TempDir(), "pid")
			began := time.Now()
			_, _ = look(t, newExec(t, func(c *Config) { c.Timeout = 500 * time.Millisecond }, sh(strings.ReplaceAll(script, "PID", pid))...))
			t.Logf("the look took %v", time.Since(began))
			waitFor(t, func() bool { return !alive(t, pid) })
		})
	}
}

// waitFor waits until so, which the kernel owes us soon.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	end := time.After(10 * time.Second)
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for !so() {
		select {
		case <-ticks.C:
		case <-end:
			t.Fatal("the process lives")
		}
	}
}

func TestTheProgramFindsLittleOfOurEnvironment(t *testing.T) {
	t.Setenv("STARLING_KEY", "sesame")
	t.Setenv("TZ", "UTC")
	t.Setenv("LANG", "C")
	out, err := newExec(t, func(c *Config) { c.Environment = map[string]string{"REGION": "eu-1", "LANG": "fr"} }, "env").run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	have := "\n" + string(out)
	for _, want := range []string{"\nREGION=eu-1\n", "\nLANG=fr\n", "\nTZ=UTC\n", "\nPATH="} {
		if !strings.Contains(have, want) {
			t.Errorf("there is no %q in %q", want, have)
		}
	}
	if strings.Contains(have, "sesame") {
		t.Errorf("the key was handed on: %q", have)
	}
}

func TestTheProgramHasNoInput(t *testing.T) {
	if got, err := look(t, newExec(t, nil, sh("cat; echo 10.0.0.1")...)); got != "10.0.0.1:7827" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"command: 0 words":          func(c *Config) { c.Command = nil },
		"command: the program's":    func(c *Config) { c.Command = []string{""} },
		"command: a list is wanted": func(c *Config) { c.Command = []string{"aws ec2"} },
		`format: "xml" is none`:     func(c *Config) { c.Format = "xml" },
		"port: 0 is not":            func(c *Config) { c.Port = 0 },
		"refresh: 10ms is not":      func(c *Config) { c.Refresh = 10 * time.Millisecond },
		"timeout: 1h0m0s is not":    func(c *Config) { c.Timeout = time.Hour },
		`environment: "A=B" cannot`: func(c *Config) { c.Environment = map[string]string{"A=B": ""} },
	} {
		cfg := Default()
		cfg.Command = []string{"peers"}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
