package charttest

import (
	"path/filepath"
	"strings"
	"testing"
)

func values(t *testing.T) []Value {
	t.Helper()
	list, err := Values(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTheSchemaIsCurrent(t *testing.T) {
	text, err := Schema(values(t))
	if err != nil {
		t.Fatal(err)
	}
	current(t, filepath.Join(chartDir, "values.schema.json"), text)
}

func TestTheReadmeIsCurrent(t *testing.T) {
	text, err := Readme(values(t), "..")
	if err != nil {
		t.Fatal(err)
	}
	current(t, filepath.Join(chartDir, "README.md"), text)
}

func TestEveryValueIsDocumented(t *testing.T) {
	var look func(list []Value)
	look = func(list []Value) {
		for _, v := range list {
			if look(v.Children); v.Children == nil && !strings.HasSuffix(v.Doc, ".") {
				t.Errorf("%s: its comment is no sentence: %q", v.Path, v.Doc)
			}
		}
	}
	look(values(t))
}

func TestASlipInTheValuesIsRefusedByName(t *testing.T) {
	for _, slip := range []string{
		"replicas: 3", "demo: {replica: 3}", `demo: {replicas: "3"}`, "discovery: {strategy: kube}", "image: {pullPolicy: Newer}",
		"config: {overlay: {actve: 7}}", "config: {overlay: {active: 99}}", "config: {listen: ':1'}", "config: {api: {socket: /tmp/s}}",
		"config: {security: {insecure: true}}", "config: {discovery: {sources: [{kind: static, contcats: []}]}}",
		"security: {certificates: {certManager: {issuer: {knd: Issuer}}}}", "ports: {http: 99999}",
	} {
		t.Run(slip, func(t *testing.T) {
			newWorld(t, slip).refused(t, "values don't meet the specifications")
		})
	}
}
