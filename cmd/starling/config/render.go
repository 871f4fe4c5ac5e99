package config

import (
	"fmt"
	"strings"
)

// pageWidth is where comments in rendered files break.
const pageWidth = 100

// Example is the text of config.example.yaml: every key, what it is for, its default.
func Example() string {
	var b strings.Builder
	b.WriteString("# Every key of Starling's configuration with its default. Written by `make generate` from the types in\n" +
		"# cmd/starling/config; `starling config explain KEY` prints the same. What has no default must be given:\n" +
		"# cluster, and security.key or certificates. Anything you leave out keeps its default.\n#\n")
	comment(&b, 0, docs()["Config"][len("Config is one sidecar's configuration. "):])
	for _, k := range Keys() {
		if k.Source != "" {
			writeSourceKey(&b, k)
			continue
		}
		if k.Depth == 0 {
			b.WriteString("\n")
		}
		comment(&b, k.Depth, explanation(k))
		if k.Section {
			fmt.Fprintf(&b, "%s%s:\n", indent(k.Depth), k.Name)
			continue
		}
		fmt.Fprintf(&b, "%s%s: %s\n", indent(k.Depth), k.Name, k.Default)
	}
	return b.String()
}

// writeSourceKey writes a kind of source as a comment to be uncommented: "# " away from YAML.
func writeSourceKey(b *strings.Builder, k Key) {
	const margin = "  # "
	if k.Name == k.Source { // its heading
		fmt.Fprintf(b, "%s\n", strings.TrimRight(margin, " "))
		for _, line := range wrap(k.Doc, pageWidth-8) {
			fmt.Fprintf(b, "%s  # %s\n", margin, line)
		}
		return
	}
	lead := indent(k.Depth - 1)
	if k.Name == "kind" {
		fmt.Fprintf(b, "%s  - kind: %s\n", margin, k.Default)
		return
	}
	for _, line := range wrap(explanation(k), pageWidth-10) {
		fmt.Fprintf(b, "%s%s# %s\n", margin, lead, line)
	}
	fmt.Fprintln(b, strings.TrimRight(margin+lead+k.Name+": "+k.Default, " "))
}

// explanation is the doc with what is accepted and an example.
func explanation(k Key) string {
	text := k.Doc
	if allowed := k.Allowed(); allowed != "" {
		text += " (" + allowed + ")"
	}
	if eg := k.Example(); eg != "" {
		text += " E.g. " + eg
	}
	return text
}

// Minimal is a configuration to start from: what must be decided, and nothing else.
func Minimal(cluster, key string) string {
	if cluster != "" {
		cluster = writeYAML(cluster) // quoted if YAML would take it for something else
	} else {
		cluster = `"" # mandatory: a name that no other cluster of yours has`
	}
	return fmt.Sprintf(`# A Starling configuration: what must be decided. `+"`starling config init --full`"+` prints every key there is.

# The same for all members, and for no other cluster.
cluster: %s

security:
  # A fresh key; give the same to every member. Whoever has it is a member, so keep it out of version control:
  # key: ${STARLING_KEY} or key: file:/run/secrets/starling
  key: %s

discovery:
  # Where some of the others are. Without a source this node waits to be found.
  sources: []
  # - kind: static
  #   contacts: [cart-0.example:7827, cart-1.example:7827]
  # - kind: dns
  #   names: [cart.shop.svc.cluster.local]
`, cluster, key)
}

func comment(b *strings.Builder, depth int, text string) {
	for _, line := range wrap(text, pageWidth-2*depth) {
		fmt.Fprintf(b, "%s# %s\n", indent(depth), line)
	}
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// wrap breaks text between words.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line == "" {
		return lines
	}
	return append(lines, line)
}
