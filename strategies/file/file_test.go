package file

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// render writes addresses down in each of the formats.
var render = map[string]func(addrs []string) string{
	"peers.json": func(addrs []string) string {
		return fmt.Sprintf("[{\"targets\": [%q],\n\t\"labels\": {\"zone\": \"a\"}}]\n", strings.Join(addrs, `", "`))
	},
	"peers.yaml": func(addrs []string) string {
		return "# ours\n- targets:\n  - " + strings.Join(addrs, "\n  - ") + "\n  labels: {zone: a}\n"
	},
	"peers": func(addrs []string) string { return "# ours\n\n" + strings.Join(addrs, " # one\r\n") },
}

func newFile(t *testing.T, path string) *File {
	cfg := Default()
	cfg.Path, cfg.Refresh = path, 100*time.Millisecond
	f, err := New(cfg, func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "known.example" {
			return []netip.Addr{netip.MustParseAddr("10.3.3.3")}, nil
		}
		return nil, errors.New("no such host")
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestContract(t *testing.T) {
	for name, text := range render {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
				path := filepath.Join(t.TempDir(), name)
				now := []string{}
				set := func(addrs ...string) {
					now = addrs
					write(t, path, strings.ReplaceAll(text(addrs), `\"`, `"`))
				}
				f := newFile(t, path)
				return discoverytest.Harness{
					Strategy: f, Refresh: f.Refresh, Set: set, BreakWays: 3,
					Break: func(way int) {
						switch way {
						case 0:
							if err := os.Remove(path); err != nil {
								t.Fatal(err)
							}
						case 1:
							write(t, path, "[{") // no address either
						case 2:
							write(t, path, strings.ReplaceAll(text([]string{"unknown.example:1"}), `\"`, `"`))
						}
					},
					Mend: func() { set(now...) },
				}
			})
		})
	}
}

func addrsOf(cands []discovery.Candidate) string {
	var all []string
	for _, c := range cands {
		all = append(all, c.Addrs...)
	}
	return strings.Join(all, " ")
}

func TestAConfigMapsSwapOfSymlinksIsSeen(t *testing.T) {
	dir := t.TempDir()
	volume := func(version, text string) { // as the kubelet does it
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "peers"), text)
		if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	volume("..v1", "10.0.0.1:7000")
	if err := os.Symlink(filepath.Join("..data", "peers"), filepath.Join(dir, "peers")); err != nil {
		t.Fatal(err)
	}
	f := newFile(t, filepath.Join(dir, "peers"))
	for i, want := range []string{"10.0.0.1:7000", "10.0.0.2:7000"} {
		if i == 1 {
			volume("..v2", want)
		}
		found, err := discovery.Look(t.Context(), f)
		if err != nil || addrsOf(found.Candidates) != want {
			t.Errorf("have %s (%v), want %s", addrsOf(found.Candidates), err, want)
		}
	}
}

func TestANameThatCannotBeResolvedMakesTheFileAPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers")
	write(t, path, "10.0.0.1:7000\nknown.example:7000\nunknown.example:7000\n")
	found, err := discovery.Look(t.Context(), newFile(t, path))
	if found.Kind != "partial" || addrsOf(found.Candidates) != "10.0.0.1:7000 10.3.3.3:7000" {
		t.Errorf("have %s %s, want partial with the two that are known", found.Kind, addrsOf(found.Candidates))
	}
	if err == nil || !strings.Contains(err.Error(), "unknown.example") {
		t.Errorf("got %v, want the name that failed", err)
	}
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"path: is empty":           func(c *Config) { c.Path = "" },
		`format: "toml" is none`:   func(c *Config) { c.Format = "toml" },
		"port: 0 is not within 1":  func(c *Config) { c.Port = 0 },
		"refresh: 0s is not withi": func(c *Config) { c.Refresh = 0 },
	} {
		cfg := Default()
		cfg.Path = "x"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
