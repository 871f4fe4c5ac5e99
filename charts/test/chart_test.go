package charttest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/starlingmesh/starling/cmd/starling/config"
)

// aKey is a well-formed key that nobody uses.
const aKey = "starling1-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaagm2d2"

// eachExample renders every file of ci/ in a cluster that has the key.
func eachExample(t *testing.T, check func(t *testing.T, name string, files map[string]string, notes string)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(chartDir, "ci", "*.yaml"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d examples, %v", len(names), err)
	}
	for _, file := range names {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files, notes := newWorld(t, string(text)).withKey("cart-starling-key", map[string]string{"key": aKey}).mustRender(t)
			check(t, name, files, notes)
		})
	}
}

func TestEveryExampleIsAsItsGoldenFile(t *testing.T) {
	eachExample(t, func(t *testing.T, name string, files map[string]string, notes string) {
		var b strings.Builder
		for _, file := range sorted(files) {
			fmt.Fprintf(&b, "# %s\n%s\n", file, strings.TrimSpace(files[file]))
		}
		fmt.Fprintf(&b, "# NOTES\n%s\n", regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSpace(notes), "# "))
		current(t, filepath.Join("golden", name+".yaml"), b.String())
	})
}

func TestEveryPodIsRestricted(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	eachExample(t, func(t *testing.T, _ string, files map[string]string, _ string) {
		for name, p := range podsOf(objects(t, files)) {
			if r := policy.AggregateCheckResults(judge.EvaluatePod(level, &p.ObjectMeta, &p.Spec)); !r.Allowed {
				t.Errorf("%s: %s", name, r.ForbiddenDetail())
			}
			for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
				if c.SecurityContext.RunAsUser != nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s wants a user, or to write to its root", name, c.Name)
				}
			}
		}
	})
}

// TestWhatAPodNamesIsThere: what the API server does not check, and the kubelet waits for in vain.
func TestWhatAPodNamesIsThere(t *testing.T) {
	eachExample(t, func(t *testing.T, _ string, files map[string]string, _ string) {
		list := objects(t, files)
		made := map[string]bool{"ServiceAccount/default": true, "ConfigMap/kube-root-ca.crt": true, "Secret/given": true}
		for _, o := range list {
			m := o.(metav1.Object)
			made[o.GetObjectKind().GroupVersionKind().Kind+"/"+m.GetName()] = true
			if errs := validation.IsDNS1123Subdomain(m.GetName()); len(errs) > 0 {
				t.Errorf("name %q: %v", m.GetName(), errs)
			}
			for k, v := range m.GetLabels() {
				if errs := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)...); len(errs) > 0 {
					t.Errorf("label %s=%s: %v", k, v, errs)
				}
			}
		}
		service := one[*corev1.Service](t, list)
		for name, p := range podsOf(list) {
			if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(p.Labels)) {
				t.Errorf("%s is not in the Service", name)
			}
			for _, want := range named(p) {
				byCertManager := want == "Secret/cart-starling-tls" && made["Certificate/cart-starling"]
				if !made[want] && !byCertManager {
					t.Errorf("%s names %s, which nobody makes", name, want)
				}
			}
			checkMounts(t, name, p)
		}
	})
}

// named are the objects that a pod needs to start.
func named(p *corev1.Pod) []string {
	list := []string{"ServiceAccount/" + p.Spec.ServiceAccountName}
	for _, v := range p.Spec.Volumes {
		if v.Secret != nil {
			list = append(list, "Secret/"+v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.Secret != nil {
				list = append(list, "Secret/"+s.Secret.Name)
			}
			if s.ConfigMap != nil {
				list = append(list, "ConfigMap/"+s.ConfigMap.Name)
			}
		}
	}
	return list
}

func checkMounts(t *testing.T, name string, p *corev1.Pod) {
	t.Helper()
	volumes, used := map[string]bool{}, map[string]bool{}
	for _, v := range p.Spec.Volumes {
		if volumes[v.Name] {
			t.Errorf("%s has two volumes %s", name, v.Name)
		}
		volumes[v.Name] = true
	}
	containers, ports := map[string]bool{}, map[string]bool{}
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if containers[c.Name] {
			t.Errorf("%s has two containers %s", name, c.Name)
		}
		containers[c.Name] = true
		for _, m := range c.VolumeMounts {
			if used[m.Name] = true; !volumes[m.Name] {
				t.Errorf("%s: %s mounts %s, which is no volume", name, c.Name, m.Name)
			}
		}
		for _, port := range c.Ports {
			if errs := validation.IsValidPortName(port.Name); len(errs) > 0 || ports[port.Name] {
				t.Errorf("%s: port %s of %s: twice, or %v", name, port.Name, c.Name, errs)
			}
			ports[port.Name] = true
		}
	}
	for v := range volumes {
		if !used[v] {
			t.Errorf("%s: nobody mounts %s", name, v)
		}
	}
}

// TestTheAgentReadsItsConfiguration by the very code that the agent has.
func TestTheAgentReadsItsConfiguration(t *testing.T) {
	eachExample(t, func(t *testing.T, _ string, files map[string]string, _ string) {
		c := readConfig(t, objects(t, files))
		if c.Cluster == "" || c.HTTP.Listen == "" || c.API.Socket != "/run/starling/api.sock" || c.Admin.Socket != "/run/starling-admin/admin.sock" {
			t.Errorf("got %+v", c)
		}
	})
}

// readConfig is the ConfigMap as the agent sees it.
func readConfig(t *testing.T, list []runtime.Object) config.Config {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"key", "accept_key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(aKey+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(one[*corev1.ConfigMap](t, list).Data["config.yaml"], "file:/etc/starling/", "file:"+dir+"/")
	c, err := config.Parse("config.yaml", []byte(text))
	if err == nil {
		err = c.Validate("config.yaml")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// podsOf are the pods that the objects lead to, by name.
func podsOf(list []runtime.Object) map[string]*corev1.Pod {
	pods := map[string]*corev1.Pod{}
	for _, d := range all[*appsv1.Deployment](list) {
		pods["deployment/"+d.Name] = &corev1.Pod{ObjectMeta: d.Spec.Template.ObjectMeta, Spec: d.Spec.Template.Spec}
	}
	for _, p := range all[*corev1.Pod](list) {
		pods["pod/"+p.Name] = p
	}
	return pods
}

// TestTheImageIsTheOneThatIsBuilt: what `make image` makes and what the pods want have one name.
func TestTheImageIsTheOneThatIsBuilt(t *testing.T) {
	source, err := os.ReadFile("../../image/main.go")
	if err != nil {
		t.Fatal(err)
	}
	built := regexp.MustCompile(`const defaultName = "(.*)"`).FindStringSubmatch(string(source))
	files, _ := newWorld(t, "{}").mustRender(t)
	wanted := one[*appsv1.Deployment](t, objects(t, files)).Spec.Template.Spec.InitContainers[0].Image
	if len(built) != 2 || built[1] != wanted {
		t.Errorf("built %q, wanted %s", built, wanted)
	}
}
