package charttest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what is generated, and the golden files, in place of comparing")

const (
	chartDir  = "../starling"
	release   = "cart"
	namespace = "shop"
	kube      = "v1.35.4"
)

// A world is what a rendering may see: a chart, values, a Kubernetes version and, unless objects is nil, a cluster.
type world struct {
	chart   *chart.Chart
	values  map[string]any
	kube    string
	objects []runtime.Object
}

// newWorld is the chart in a cluster in which nothing of it exists yet.
func newWorld(t *testing.T, values string) world {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	w := world{chart: c, kube: kube, objects: []runtime.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}},
	}}
	if err := yaml.Unmarshal([]byte(values), &w.values); err != nil {
		t.Fatal(err)
	}
	return w
}

// withKey is a cluster that the release's key is in already.
func (w world) withKey(name string, data map[string]string) world {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	w.objects = append(slices.Clone(w.objects), s)
	return w
}

// GetClientFor lets lookup see the objects.
func (w world) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	resource := gv.WithResource(strings.ToLower(kind) + "s")
	return fake.NewSimpleDynamicClient(scheme.Scheme, w.objects...).Resource(resource), kind != "Namespace", nil
}

// render is what Helm makes of it: file to text.
func (w world) render() (map[string]string, error) {
	if w.objects == nil {
		return w.renderWith(nil)
	}
	return w.renderWith(w)
}

// renderWith is render with another cluster; nil is none.
func (w world) renderWith(cluster engine.ClientProvider) (map[string]string, error) {
	c := *w.chart
	values, err := chartutil.CoalesceValues(&c, w.values)
	if err != nil {
		return nil, err
	}
	if err := chartutil.ProcessDependencies(&c, values); err != nil {
		return nil, err
	}
	version, err := chartutil.ParseKubeVersion(w.kube)
	if err != nil {
		return nil, err
	}
	caps := *chartutil.DefaultCapabilities
	caps.KubeVersion = *version
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValues(&c, w.values, options, &caps)
	if err != nil {
		return nil, err
	}
	if cluster == nil {
		return engine.Render(&c, top)
	}
	return engine.RenderWithClientProvider(&c, top, cluster)
}

// mustRender is render without the empty files, in Kubernetes' view; notes apart.
func (w world) mustRender(t *testing.T) (files map[string]string, notes string) {
	t.Helper()
	all, err := w.render()
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for name, text := range all {
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			if !strings.Contains(name, "/charts/") {
				notes = text
			}
		case strings.TrimSpace(text) != "":
			files[name] = text
		}
	}
	return files, notes
}

// refused wants rendering to fail, and the reason to have all of the words.
func (w world) refused(t *testing.T, words ...string) {
	t.Helper()
	_, err := w.render()
	if err == nil {
		t.Fatal("it rendered")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// strict reads manifests as an API server does that was told --validate=strict: unknown and repeated fields are errors.
var strict = func() runtime.Decoder {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoring.AddToScheme, certmanager.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
}()

// objects decodes every document of the files.
func objects(t *testing.T, files map[string]string) []runtime.Object {
	t.Helper()
	var list []runtime.Object
	for _, name := range sorted(files) {
		for doc := range strings.SplitSeq("\n"+files[name], "\n---") {
			if blank(doc) {
				continue
			}
			o, _, err := strict.Decode([]byte(doc), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			list = append(list, o)
		}
	}
	return list
}

// blank tells whether a document holds comments at most.
func blank(doc string) bool {
	for line := range strings.Lines(doc) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// all are the objects of one type.
func all[T any](list []runtime.Object) []T {
	var of []T
	for _, o := range list {
		if x, ok := o.(T); ok {
			of = append(of, x)
		}
	}
	return of
}

// one is the only object of its type.
func one[T any](t *testing.T, list []runtime.Object) T {
	t.Helper()
	of := all[T](list)
	if len(of) != 1 {
		t.Fatalf("%d of %T, want one", len(of), *new(T))
	}
	return of[0]
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// current compares a generated file with what it should be, or writes it.
func current(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; `make generate` writes it", err)
	}
	if string(got) != want {
		t.Errorf("%s is not current; if the change is meant, `make generate` writes it:\n%s", file, difference(string(got), want))
	}
}

// difference is the first lines that differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(end)", "(end)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, a, b)
		}
	}
	return ""
}
