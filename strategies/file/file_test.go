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

func TestErrorsSayFileAndLine(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want string }{
		"json syntax":     {"p.json", "[\n {\"targets\": [\n  oops]}]", "p.json:3: invalid character 'o'"},
		"json cut":        {"p.json", "[\n {\"targets\": [\n", "p.json:3: the file ends too early"},
		"json empty":      {"p.json", "", "p.json:1: the file ends too early"},
		"json key":        {"p.json", "[\n {\"target\": []}]", `p.json:2: json: unknown field "target"`},
		"json type":       {"p.json", "[\n {\"targets\": 7}]", "p.json:2: json: cannot unmarshal number"},
		"json more":       {"p.json", "[]\n[]", "p.json:2: there is more after the list"},
		"json target":     {"p.json", "[\n{\"targets\": [\"10.0.0.1:7000\",\n\"nope\"]}]", `p.json:3: address "nope": want host:port`},
		"yaml syntax":     {"p.yaml", "- targets:\n  - a:1\n - b:2\n", "p.yaml:2: did not find expected '-' indicator"},
		"yaml key":        {"p.yml", "- target: [a:1]\n", "p.yml:1: field target not found"},
		"yaml target":     {"p.yml", "- targets:\n  - 10.0.0.1:7000\n  - 10.0.0.1:0\n", `p.yml:3: address "10.0.0.1:0"`},
		"list target":     {"p", "10.0.0.1:7000\n\n# all is well\n10.0.0.2\n", `p:4: address "10.0.0.2": want host:port`},
		"not on a remark": {"p", "# 10.0.0.2 was here\n10.0.0.2\n", `p:2: address`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.file, Auto, []byte(tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestGoodFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text string
		want       int
	}{
		"empty list":      {"p", "", 0},
		"byte order mark": {"p", "\ufeff10.0.0.1:7000", 1},
		"empty yaml":      {"p.yaml", "# nobody\n", 0},
		"empty json":      {"p.json", "[]", 0},
		"several groups":  {"p.json", `[{"targets":["a:1","b:1"]},{"targets":["c:1"],"labels":{"zone":"z"}}]`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			entries, err := parse(tt.file, Auto, []byte(tt.text))
			if err != nil || len(entries) != tt.want {
				t.Errorf("got %v, %v; want %d entries", entries, err, tt.want)
			}
		})
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

func FuzzParse(f *testing.F) {
	for name, text := range render {
		f.Add(name, []byte(text([]string{"10.0.0.1:7000"})))
	}
	f.Fuzz(func(_ *testing.T, name string, data []byte) {
		_, _ = parse(name, Auto, data)
	})
}
