package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/keys"
)

const exampleFile = "../../../config.example.yaml"

var update = flag.Bool("update", false, "write config.example.yaml")

func TestTheExampleIsWrittenFromTheTypes(t *testing.T) {
	if *update {
		if err := os.WriteFile(exampleFile, []byte(Example()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := readFile(t, exampleFile); got != Example() {
		t.Error("config.example.yaml is not what the types say: run `make generate`")
	}
}

func TestTheExampleLoadsStrictlyAndEqualsTheDefaults(t *testing.T) {
	c, err := Parse("config.example.yaml", []byte(readFile(t, exampleFile)))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Tags, want.Discovery.Sources = map[string]string{}, []Source{}
	want.API.AllowedUIDs, want.API.AllowedGIDs = []int{}, []int{}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the example says\n%+v\nthe defaults are\n%+v", c, want)
	}
}

func TestTheExampleSourcesLoadStrictlyAndEqualTheDefaults(t *testing.T) {
	text := strings.Replace(readFile(t, exampleFile), "sources: []", "sources:", 1)
	text = regexp.MustCompile(`(?m)^  # (  (  [a-z]|- kind))`).ReplaceAllString(text, "  $1")
	c, err := Parse("config.example.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Discovery.Sources) != len(Kinds) {
		t.Fatalf("the example shows %d sources, there are %d kinds", len(c.Discovery.Sources), len(Kinds))
	}
	for i, k := range Kinds {
		got, want := c.Discovery.Sources[i], newSource(k)
		if strings.ReplaceAll(fmt.Sprintf("%+v", got.Options), "[]", "") != strings.ReplaceAll(fmt.Sprintf("%+v", want.Options), "[]", "") || got.Removal != want.Removal {
			t.Errorf("the example's %s is %+v, the default %+v", k.Name, got.Options, want.Options)
		}
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	for _, k := range Keys() {
		if len(k.Doc) < 10 {
			t.Errorf("%s has no comment worth the name", k.Path)
		}
		if strings.Contains(k.Path, "every") && k.Allowed() == "" {
			t.Errorf("%s has no bounds", k.Path)
		}
	}
}

func TestWhatIsWrittenIsWhatIsMeant(t *testing.T) {
	t.Setenv("STARLING_PORT", "7001")
	secret := t.TempDir() + "/key"
	if err := os.WriteFile(secret, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, `
cluster: ${UNSET_NAME:-shop}
security: {key: "file:`+secret+`"}
api: {message_max: 64KiB}
detection: {ping_every: 500ms}
tags: {role: cart}
discovery:
  sources:
    - kind: dns
      names: [a.example]
      port: ${STARLING_PORT}
      removal: never
`)
	dns := c.Discovery.Sources[0].Options.(*DNS)
	for what, ok := range map[string]bool{
		"variable's default": c.Cluster == "shop",
		"secret's file":      c.Security.Key.Reveal() == "sesame",
		"size":               c.API.MessageMax == 64<<10,
		"duration":           c.Detection.PingEvery == 500*time.Millisecond,
		"tag":                c.Tags["role"] == "cart",
		"number by variable": dns.Port == 7001,
		"default kept":       dns.Attempts == 2 && c.Overlay.Active == Default().Overlay.Active,
		"shared source key":  c.Discovery.Sources[0].Removal == "never",
	} {
		if !ok {
			t.Errorf("%s: %+v %+v", what, c, dns)
		}
	}
}

func TestEveryMistakeIsNamedWithItsLineAndWhatToDo(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"misspelt", "cluster: a\noverley:\n  active: 5\n", `f:2: overley: unknown key; did you mean "overlay"?`},
		{"nested", "overlay:\n  active: 5\n  passiv: 3\n", `f:3: overlay.passiv: unknown key; did you mean "passive"?`},
		{"in a source", "discovery:\n  sources:\n    - kind: dns\n      nmaes: [a]\n", `f:4: discovery.sources[0].nmaes: unknown key; did you mean "names"?`},
		{"key of another kind", "discovery:\n  sources:\n    - kind: static\n      path: /a\n", `f:4: discovery.sources[0].path: unknown key`},
		{"no kind", "discovery: {sources: [{names: [a]}]}", `discovery.sources[0]: a source needs its kind: static, dns, file`},
		{"unknown kind", "discovery: {sources: [{kind: statik}]}", `did you mean "static"?`},
		{"far off", "zebra: 1\n", "f:1: zebra: unknown key"},
		{"twice", "cluster: a\nzone: z\ncluster: b\n", "f:3: cluster: is given twice, first in line 1"},
		{"no duration", "detection: {ping_every: 5}", `detection.ping_every: wants a duration such as 500ms, 10s or 2m, not "5"`},
		{"no number", "overlay: {active: many}", `overlay.active: wants a whole number, not "many"`},
		{"out of range", "overlay: {active: 400}", "overlay.active: 400 is outside of 3 to 32"},
		{"no choice", "log: {level: inf}", `log.level: "inf" is none of debug, info, warn, error; did you mean "info"?`},
		{"no such variable", "zone: ${STARLING_NO_SUCH}", "the environment has no STARLING_NO_SUCH"},
		{"no such secret", "security: {key: 'file:/nonexistent/key'}", "read the secret: open /nonexistent/key"},
		{"list for a word", "zone: [a]", "zone: wants text"},
		{"word for a section", "overlay: 5", "overlay: wants keys, such as active"},
		{"no YAML", "a: b: c", "f: mapping values are not allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestWhatDoesNotFitTogetherIsRefused(t *testing.T) {
	secret := keys.New().Reveal()
	key := "security: {key: " + secret + "}\n"
	for _, c := range []struct{ name, text, want string }{
		{"no cluster", key, "cluster: is mandatory"},
		{"no key", "cluster: a\n", "security: needs a key"},
		{"short key", "cluster: a\nsecurity: {key: AAAA}\n", "does not begin with starling1-"},
		{"two ways", "cluster: a\nlisten: 127.0.0.1:1\nsecurity: {key: " + secret + ", insecure: true}\n", "choose one"},
		{"half a certificate", "cluster: a\nsecurity: {key_file: k}\n", "belong together"},
		{"insecure for all to see", "cluster: a\nsecurity: {insecure: true}\n", "loopback addresses only"},
		{"long socket", "cluster: a\n" + key + "api: {socket: /" + strings.Repeat("x", 120) + "}\n", "121 bytes, and a unix socket's path at most 107"},
		{"no port", "cluster: a\n" + key + "listen: localhost\n", `listen: "localhost" is no host:port`},
		{"two of a kind", "cluster: a\n" + key + "discovery: {sources: [{kind: static, contacts: ['a:1']}, {kind: static, contacts: ['b:1']}]}\n", "give each its own"},
		{"no names", "cluster: a\n" + key + "discovery: {sources: [{kind: dns}]}\n", "names: 0 entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := mustParse(t, c.text)
			if err := cfg.Validate("f"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	good := mustParse(t, "cluster: a\n"+key)
	if err := good.Validate("f"); err != nil {
		t.Errorf("a good configuration is refused: %v", err)
	}
}

func TestASecretIsNeverSeen(t *testing.T) {
	c := mustParse(t, "cluster: a\nsecurity: {key: sesame}\n")
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v", c, c), writeYAML(c.Security.Key), string(asJSON)} {
		if strings.Contains(shown, "sesame") {
			t.Errorf("the secret is seen in %s", shown)
		}
	}
}

func TestTheMinimalConfigurationLoads(t *testing.T) {
	c := mustParse(t, Minimal("shop", keys.New().Reveal()))
	if err := c.Validate("f"); err != nil {
		t.Error(err)
	}
}

func TestTheSchemaNamesEveryKey(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys() {
		if !strings.Contains(string(Schema()), `"`+k.Name+`"`) {
			t.Errorf("the schema does not know %s", k.Path)
		}
	}
}

func FuzzParseNeverPanics(f *testing.F) {
	f.Add(Example())
	f.Add("discovery: {sources: [{kind: dns, names: [a]}]}")
	f.Add("a: &a [*a]")
	f.Fuzz(func(_ *testing.T, text string) {
		c, err := Parse("f", []byte(text))
		if err == nil {
			_ = c.Validate("f")
		}
	})
}

func mustParse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
