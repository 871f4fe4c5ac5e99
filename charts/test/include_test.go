package charttest

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// newExample is charts/example with the chart as its dependency, as `helm dependency build` makes it.
func newExample(t *testing.T, values string) world {
	t.Helper()
	w := newWorld(t, values).withKey("cart-starling-key", map[string]string{"key": aKey})
	parent, err := loader.Load("../example")
	if err != nil {
		t.Fatal(err)
	}
	parent.AddDependency(w.chart)
	w.chart = parent
	return w
}

func TestAnApplicationsOwnChartHasTheSidecarByFourIncludes(t *testing.T) {
	files, _ := newExample(t, "{}").mustRender(t)
	list := objects(t, files)
	pod := one[*appsv1.Deployment](t, list).Spec.Template
	sidecar := pod.Spec.InitContainers[0]
	if sidecar.Name != "starling" || sidecar.RestartPolicy == nil || *sidecar.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("got %+v", sidecar)
	}
	service := one[*corev1.Service](t, list)
	for k, v := range service.Spec.Selector {
		if pod.Labels[k] != v {
			t.Errorf("the Service selects %s=%s, the pod has %v", k, v, pod.Labels)
		}
	}
	bound := one[*rbacv1.RoleBinding](t, list).Subjects[0].Name
	if made := one[*corev1.ServiceAccount](t, list).Name; pod.Spec.ServiceAccountName != made || bound != made {
		t.Errorf("the pod is %s, the Role is bound to %s, and there is %s", pod.Spec.ServiceAccountName, bound, made)
	}
	c := readConfig(t, list)
	if c.Cluster != "shop/cart" {
		t.Errorf("cluster %s", c.Cluster)
	}
	if tests := all[*corev1.Pod](list); len(tests) != 1 || strings.Contains(strings.Join(tests[0].Spec.Containers[0].Args, " "), "demo") {
		t.Errorf("got %d tests, and without a demo nobody answers it", len(tests))
	}
}

// TestTheApplicationReachesNothingButItsSocket: the key, the API server's token and the operators' socket are the sidecar's.
func TestTheApplicationReachesNothingButItsSocket(t *testing.T) {
	files, _ := newExample(t, "{}").mustRender(t)
	app := one[*appsv1.Deployment](t, objects(t, files)).Spec.Template.Spec.Containers[0]
	if len(app.VolumeMounts) != 1 || app.VolumeMounts[0].Name != "starling-socket" || !app.VolumeMounts[0].ReadOnly {
		t.Errorf("it mounts %+v", app.VolumeMounts)
	}
}

// TestASidecarIsNeverHalfNative: either template says so where the other belongs.
func TestASidecarIsNeverHalfNative(t *testing.T) {
	newExample(t, "starling: {sidecar: {native: false}}").refused(t, `starling.sidecar.native is false`, `"starling.container"`)
	old := newWorld(t, "{}")
	old.kube = "v1.28.9"
	old.refused(t, "Kubernetes v1.28.9 has no native sidecars", "sidecar.native=false")
	plain := newWorld(t, "{sidecar: {native: false}}")
	plain.kube = "v1.28.9"
	files, _ := plain.mustRender(t)
	spec := one[*appsv1.Deployment](t, objects(t, files)).Spec.Template.Spec
	if len(spec.InitContainers) != 0 || len(spec.Containers) != 2 || spec.Containers[0].RestartPolicy != nil {
		t.Errorf("got %d and %d containers", len(spec.InitContainers), len(spec.Containers))
	}
	if got := strings.Join(spec.Containers[0].Lifecycle.PreStop.Exec.Command, " "); got != "/starling drain --wait 20s" {
		t.Errorf("it ends by %q", got)
	}
	if spec.Containers[1].Lifecycle != nil {
		t.Error("pods cannot sleep before 1.30")
	}
}

func TestMorePodsThanThereAreAreNotWaitedFor(t *testing.T) {
	newWorld(t, "{demo: {replicas: 3}, config: {bootstrap: {expect: 4}}}").refused(t, "no pod would ever become ready")
}
