package charttest

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/starlingmesh/starling/cmd/starling/inject"
)

const podFile = "../../cmd/starling/inject/pod.yaml"

// TestThePodThatInjectKnowsIsCurrent: the chart's template, rendered for a release whose name is filled in later. The checksum of
// the configuration is left out: that is known to the release alone.
func TestThePodThatInjectKnowsIsCurrent(t *testing.T) {
	w := newWorld(t, "{fullnameOverride: __NAME__}").withKey("__NAME__-key", map[string]string{"key": aKey})
	w.chart.Templates = append(w.chart.Templates, &chart.File{Name: "templates/pod.yaml", Data: []byte(`{{ include "starling.pod" . }}`)})
	files, err := w.render()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Code generated from charts/starling by charts/test; DO NOT EDIT.\n")
	skip := ""
	for line := range strings.Lines(files["starling/templates/pod.yaml"] + "\n") {
		depth := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if skip != "" && len(depth) > len(skip) {
			continue
		}
		if skip = ""; strings.TrimSpace(line) == "annotations:" {
			skip = depth
			continue
		}
		b.WriteString(line)
	}
	current(t, podFile, b.String())
}

const plainDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: cart
spec:
  replicas: 3
  selector:
    matchLabels: {app: cart}
  template:
    metadata:
      labels: {app: cart}
    spec:
      containers:
        - name: cart
          image: cart:dev
`

// TestInjectDoesWhatTheIncludesDo: the same Deployment, once by the templates in a chart and once by starling inject.
func TestInjectDoesWhatTheIncludesDo(t *testing.T) {
	files, _ := newExample(t, "{}").mustRender(t)
	list := objects(t, files)
	want := one[*appsv1.Deployment](t, list)
	byName, err := inject.Of(release)
	if err != nil {
		t.Fatal(err)
	}
	wantInjected(t, byName, want)

	byConfigMap, err := inject.Parse([]byte(one[*corev1.ConfigMap](t, list).Data["pod.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	want.Spec.Template.Annotations = annotationsOf(t, list)
	wantInjected(t, byConfigMap, want)
}

// TestInjectTakesTheValuesOfTheRelease from its ConfigMap, whatever they are.
func TestInjectTakesTheValuesOfTheRelease(t *testing.T) {
	for _, values := range []string{
		"{discovery: {strategy: dns}, security: {certificates: {existingSecret: given}}}",
		"{ports: {starling: 1, http: 2}, sidecar: {settleSeconds: 0}, image: {tag: next}, security: {existingSecret: given}}",
	} {
		files, _ := newExample(t, "starling: "+values).mustRender(t)
		list := objects(t, files)
		p, err := inject.Parse([]byte(one[*corev1.ConfigMap](t, list).Data["pod.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		want := one[*appsv1.Deployment](t, list)
		want.Spec.Template.Annotations = annotationsOf(t, list)
		wantInjected(t, p, want)
	}
}

// annotationsOf are those of the ConfigMap's pod.
func annotationsOf(t *testing.T, list []runtime.Object) map[string]string {
	t.Helper()
	var p corev1.Pod
	if err := yaml.Unmarshal([]byte(one[*corev1.ConfigMap](t, list).Data["pod.yaml"]), &p); err != nil {
		t.Fatal(err)
	}
	return p.Annotations
}

func wantInjected(t *testing.T, p inject.Pod, want *appsv1.Deployment) {
	t.Helper()
	var out bytes.Buffer
	if _, err := p.Inject(strings.NewReader(plainDeployment), &out, nil); err != nil {
		t.Fatal(err)
	}
	got := one[*appsv1.Deployment](t, objects(t, map[string]string{"injected": out.String()}))
	if !reflect.DeepEqual(got, want) {
		a, _ := yaml.Marshal(got)
		b, _ := yaml.Marshal(want)
		t.Errorf("- injected, + by the templates: %s", difference(string(a), string(b)))
	}
	once := out.String()
	out.Reset()
	if _, err := p.Inject(strings.NewReader(once), &out, nil); err != nil || out.String() != once {
		t.Errorf("injected twice: %v, %s", err, difference(once, out.String()))
	}
}
