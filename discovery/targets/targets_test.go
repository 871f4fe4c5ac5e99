package targets

import (
	"strings"
	"testing"
)

func TestErrorsSayFileAndLine(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want string }{
		"json syntax":     {"p.json", "[\n {\"targets\": [\n  oops]}]", "p.json:3: invalid character 'o'"},
		"json cut":        {"p.json", "[\n {\"targets\": [\n", "p.json:3: the list ends too early"},
		"json empty":      {"p.json", "", "p.json:1: the list ends too early"},
		"json null":       {"p.json", "null", "p.json:1: null is no list"},
		"json key":        {"p.json", "[\n {\"target\": []}]", `p.json:2: json: unknown field "target"`},
		"json type":       {"p.json", "[\n {\"targets\": 7}]", "p.json:2: json: cannot unmarshal number"},
		"json more":       {"p.json", "[]\n[]", "p.json:2: there is more after the list"},
		"json target":     {"p.json", "[\n{\"targets\": [\"10.0.0.1:7000\",\n\"no:pe\"]}]", `p.json:3: address "no:pe": port`},
		"yaml syntax":     {"p.yaml", "- targets:\n  - a:1\n - b:2\n", "p.yaml:2: did not find expected '-' indicator"},
		"yaml key":        {"p.yml", "- target: [a:1]\n", "p.yml:1: field target not found"},
		"yaml target":     {"p.yml", "- targets:\n  - 10.0.0.1:7000\n  - 10.0.0.1:0\n", `p.yml:3: address "10.0.0.1:0"`},
		"list target":     {"p", "10.0.0.1:7000\n\n# all is well\n10.0.0.2:\n", `p:4: address "10.0.0.2:"`},
		"not on a remark": {"p", "# n!pe was here\nn!pe\n", `p:2: address`},
		"a page":          {"p", "<html>Sign in", `p:1: address "<html>Sign:7827"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tt.file, OfName(tt.file), 7827, []byte(tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestGoodLists(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want string }{
		"empty list":      {"p", "", ""},
		"byte order mark": {"p", "\ufeff10.0.0.1:7000", "10.0.0.1:7000"},
		"empty yaml":      {"p.yaml", "# nobody\n", ""},
		"empty json":      {"p.json", "[]", ""},
		"several groups":  {"p.json", `[{"targets":["a:1","b:1"]},{"targets":["c:1"],"labels":{"zone":"z"}}]`, "a:1 b:1 c:1"},
		"between blanks":  {"p", "10.0.0.1:1 10.0.0.2:1\t10.0.0.3:1\r\n10.0.0.4:1 # one", "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1 10.0.0.4:1"},
		"without a port":  {"p", "10.0.0.1 fd00::1 [fd00::2] fe80::1%3 Db-0.example.", "10.0.0.1:7827 [fd00::1]:7827 [fd00::2]:7827 [fe80::1%3]:7827 db-0.example:7827"},
		"one with a port": {"p.json", `[{"targets":["10.0.0.1","[fd00::1]:9"]}]`, "10.0.0.1:7827 [fd00::1]:9"},
	} {
		t.Run(name, func(t *testing.T) {
			entries, err := Parse(tt.file, OfName(tt.file), 7827, []byte(tt.text))
			var got []string
			for _, e := range entries {
				got = append(got, e.Addr)
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestLabelsAreEachEntrysOwn(t *testing.T) {
	entries, err := Parse("p.json", JSON, 1, []byte(`[{"targets":["a:1","b:1"],"labels":{"zone":"z"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	entries[0].Labels["zone"] = "other"
	if entries[1].Labels["zone"] != "z" {
		t.Error("two entries share their labels")
	}
}

func TestAListIsBounded(t *testing.T) {
	text := strings.Repeat("10.0.0.1\n", Max)
	if _, err := Parse("p", List, 1, []byte(text)); err != nil {
		t.Error(err)
	}
	if _, err := Parse("p", List, 1, []byte(text+"10.0.0.2\n")); err == nil || !strings.Contains(err.Error(), "p:16385: more than 16384 targets") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("p.json", []byte(`[{"targets": ["10.0.0.1:7000"], "labels": {"zone": "a"}}]`))
	f.Add("p.yaml", []byte("- targets:\n  - 10.0.0.1:7000\n  labels: {zone: a}\n"))
	f.Add("p", []byte("10.0.0.1:7000 # one\r\n[fd00::1]"))
	f.Fuzz(func(_ *testing.T, name string, data []byte) {
		_, _ = Parse(name, OfName(name), 7827, data)
	})
}
