package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	port     = 7827
	patience = 30 * time.Second // for what takes a second or two on an idle machine
	account  = "starling"       // the service account of the sidecars
	service  = "peers"

	// grace is shorter than in a sidecar (30 s): whoever is withdrawn is lost sooner, which the tests are to notice.
	grace = 5 * time.Second
)

// A world is a namespace of the control plane with a service account, a node for pods to be on, and words for what happens.
// The test plays scheduler and kubelet: it says where pods are and how they fare.
type world struct {
	t   *testing.T
	ns  string
	api kubernetes.Interface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, api: control.Admin()}
	ns, err := w.api.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}, metav1.CreateOptions{})
	w.must("make a namespace", err)
	w.ns = ns.Name
	t.Cleanup(w.end)
	_, err = w.api.CoreV1().ServiceAccounts(w.ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: named(account)}, metav1.CreateOptions{})
	w.must("make a service account", err)
	// Without a Node the controller of slices skips a pod, and tries again up to a minute later.
	w.node(w.ns, "zone-a")
	return w
}

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// end lets the namespace go, in its own time.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	now := int64(0)
	at := metav1.DeleteOptions{GracePeriodSeconds: &now}
	_ = w.api.CoreV1().Pods(w.ns).DeleteCollection(ctx, at, metav1.ListOptions{})
	_ = w.api.CoreV1().Nodes().DeleteCollection(ctx, at, metav1.ListOptions{LabelSelector: "world=" + w.ns})
	_ = w.api.CoreV1().Namespaces().Delete(ctx, w.ns, at) // the whole control plane goes soon
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func (w *world) node(name, zone string) {
	w.t.Helper()
	_, err := w.api.CoreV1().Nodes().Create(w.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone, "world": w.ns},
	}}, metav1.CreateOptions{})
	w.must("make a node", err)
}

// serve makes a headless Service for the pods of newPod, changed as the test wants it.
func (w *world) serve(name string, change ...func(*corev1.ServiceSpec)) {
	w.t.Helper()
	s := &corev1.Service{ObjectMeta: named(name), Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": name},
		Ports: []corev1.ServicePort{{Name: "starling", Port: port, TargetPort: intstr.FromInt32(port)}},
	}}
	for _, f := range change {
		f(&s.Spec)
	}
	_, err := w.api.CoreV1().Services(w.ns).Create(w.t.Context(), s, metav1.CreateOptions{})
	w.must("make a Service", err)
}

func notReadyToo(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true }

func bothFamilies(s *corev1.ServiceSpec) {
	policy := corev1.IPFamilyPolicyRequireDualStack
	s.IPFamilyPolicy, s.IPFamilies = &policy, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

// A pod is what the test knows of one.
type pod struct {
	name string
	app  string   // the Service whose selector takes it
	ips  []string // the first is the one to be dialled
}

// addr is where its sidecar would be dialled.
func (p pod) addr() string { return fmt.Sprintf("%s:%d", p.ips[0], port) }

// flockOf are n pods with addresses of their own, for all tests: a test that mixes them up would notice.
func flockOf(n int) []pod {
	pods := make([]pod, n)
	for i := range pods {
		pods[i] = pod{name: fmt.Sprintf("pod-%d", i), app: service, ips: []string{address(i)}}
	}
	return pods
}

// address is one of the network that is local here, see addressesAreLocal.
func address(i int) string { return fmt.Sprintf("10.77.%d.%d", i/250, i%250+1) }

// eachAtOnce does f for each pod, many at once: a kubelet a pod would, too.
func (w *world) eachAtOnce(pods []pod, f func(pod) error) {
	w.t.Helper()
	const workers = 16
	jobs := make(chan pod)
	failed := make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			var first error
			for p := range jobs {
				if err := f(p); err != nil && first == nil {
					first = fmt.Errorf("%s: %w", p.name, err)
				}
			}
			failed <- first
		})
	}
	for _, p := range pods {
		jobs <- p
	}
	close(jobs)
	wg.Wait()
	for range workers {
		w.must("pods", <-failed)
	}
}

// start has pods scheduled and running, with an address and ready.
func (w *world) start(pods ...pod) {
	w.t.Helper()
	w.eachAtOnce(pods, func(p pod) error {
		if err := w.create(p); err != nil {
			return err
		}
		return w.tell(p, running, ready)
	})
}

// create has a pod scheduled; it has no address yet.
func (w *world) create(p pod) error {
	no := false
	_, err := w.api.CoreV1().Pods(w.ns).Create(w.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: map[string]string{"app": p.app}},
		Spec: corev1.PodSpec{
			NodeName: w.ns, ServiceAccountName: account, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "sidecar", Image: "none", Ports: []corev1.ContainerPort{{Name: "starling", ContainerPort: port}},
			}},
		},
	}, metav1.CreateOptions{})
	return err
}

// How a pod fares, as its kubelet would tell.
const (
	running  = corev1.PodRunning
	finished = corev1.PodSucceeded
	ready    = corev1.ConditionTrue
	notReady = corev1.ConditionFalse
)

// tell says how a pod fares.
func (w *world) tell(p pod, phase corev1.PodPhase, is corev1.ConditionStatus) error {
	status := corev1.PodStatus{Phase: phase, PodIP: p.ips[0], Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: is}}}
	for _, ip := range p.ips {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = w.api.CoreV1().Pods(w.ns).Patch(w.t.Context(), p.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// terminate asks pods to end; as no kubelet obeys, they terminate until they are removed.
func (w *world) terminate(pods ...pod) {
	w.t.Helper()
	w.delete(time.Hour, pods)
}

// remove makes pods be gone.
func (w *world) remove(pods ...pod) {
	w.t.Helper()
	w.delete(0, pods)
}

func (w *world) delete(grace time.Duration, pods []pod) {
	w.t.Helper()
	seconds := int64(grace / time.Second)
	w.eachAtOnce(pods, func(p pod) error {
		err := w.api.CoreV1().Pods(w.ns).Delete(w.t.Context(), p.name, metav1.DeleteOptions{GracePeriodSeconds: &seconds})
		if errors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// allow gives the service account the rights to watch.
func (w *world) allow() {
	w.t.Helper()
	verbs := []string{"get", "list", "watch"}
	w.grant(&rbacv1.Role{ObjectMeta: named("watch-peers"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: verbs},
	}})
}

// grant makes a Role and binds it to the service account.
func (w *world) grant(role *rbacv1.Role) {
	w.t.Helper()
	_, err := w.api.RbacV1().Roles(w.ns).Create(w.t.Context(), role, metav1.CreateOptions{})
	w.must("make a Role", err)
	_, err = w.api.RbacV1().RoleBindings(w.ns).Create(w.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: named(role.Name),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: account}},
	}, metav1.CreateOptions{})
	w.must("bind the Role", err)
}

// kubeconfig is a file for the service account, who reaches the API server at url.
func (w *world) kubeconfig(url string, user api.AuthInfo) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "kubeconfig")
	w.must("write a kubeconfig", control.WriteKubeconfig(path, url, user, w.ns))
	return path
}

// token is a token of the service account that serves for an hour.
func (w *world) token() string {
	w.t.Helper()
	t, err := control.Token(w.t.Context(), w.ns, account)
	w.must("ask for a token", err)
	return t
}

func (w *world) asAccount() api.AuthInfo { return api.AuthInfo{Token: w.token()} }

// await waits until f is content, and says how long that took.
func (w *world) await(what string, most time.Duration, f func() error) {
	w.t.Helper()
	began := time.Now()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	deadline := time.After(most)
	for {
		err := f()
		if err == nil {
			w.t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-ticks.C:
		case <-deadline:
			w.t.Fatalf("%s: not within %v: %v", what, most, err)
		}
	}
}

// client is a client of the test's own with the rights of a kubeconfig.
func (w *world) client(kubeconfig string) kubernetes.Interface {
	w.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	w.must("read the kubeconfig", err)
	client, err := kubernetes.NewForConfig(config)
	w.must("make a client", err)
	return client
}
