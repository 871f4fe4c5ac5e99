package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/starlingmesh/starling/strategies/kubernetes"
)

// slices lists the slices of the Service.
func (w *world) slices() []discoveryv1.EndpointSlice {
	w.t.Helper()
	list, err := w.api.DiscoveryV1().EndpointSlices(w.ns).List(w.t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	w.must("list the slices", err)
	return list.Items
}

// sizes are how many endpoints the slices have.
func (w *world) sizes() []int {
	w.t.Helper()
	var sizes []int
	for _, s := range w.slices() {
		sizes = append(sizes, len(s.Endpoints))
	}
	slices.Sort(sizes)
	return sizes
}

// plain is a namespace whose account may watch, and a lookout straight at the API server.
func plain(t *testing.T, change ...func(*corev1.ServiceSpec)) (*world, *lookout) {
	t.Helper()
	w := newWorld(t)
	w.allow()
	w.serve(service, change...)
	c := w.config(w.kubeconfig(control.URL(), w.asAccount()))
	c.Family = "dual" // IPv4 first, whatever this machine has
	return w, w.look(c)
}

func TestSlicesReshuffledAboveAHundredEndpointsLoseNobody(t *testing.T) {
	w, l := plain(t)
	pods := flockOf(250)
	w.start(pods...)
	l.want(pods...)
	t.Logf("slices of %v", w.sizes())

	// What is left is packed anew when more come: endpoints move from slice to slice.
	for round := range 3 {
		gone, stay := pods[:80], pods[80:]
		l.leaving(gone...)
		w.remove(gone...)
		l.want(stay...)
		t.Logf("round %d: slices of %v", round, w.sizes())
		for i := range gone {
			gone[i].name += "-again"
		}
		w.start(gone...)
		pods = slices.Concat(stay, gone)
		l.want(pods...)
		t.Logf("round %d: slices of %v", round, w.sizes())
	}
	// The controller writes them all anew when somebody deletes them: for a moment a Service of 250 has no endpoints at all.
	w.must("delete the slices", w.api.DiscoveryV1().EndpointSlices(w.ns).DeleteCollection(t.Context(), metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service}))
	w.await("the controller wrote them anew", patience, func() error {
		sum := 0
		for _, n := range w.sizes() {
			sum += n
		}
		if sum != len(pods) {
			return fmt.Errorf("they have %d endpoints of %d", sum, len(pods))
		}
		return nil
	})
	w.start(pod{name: "one-more", app: service, ips: []string{address(1000)}})
	l.want(append(pods, pod{ips: []string{address(1000)}})...)
	l.wantNobodyLost()
}

func TestADualStackPodIsOneContactWithBothAddresses(t *testing.T) {
	w, l := plain(t, bothFamilies)
	pods := flockOf(5)
	for i := range pods {
		pods[i].ips = append(pods[i].ips, fmt.Sprintf("fd00:77::%x", i+1))
	}
	w.start(pods...)
	l.want(pods...)
	families := map[discoveryv1.AddressType]int{}
	for _, s := range w.slices() {
		families[s.AddressType] += len(s.Endpoints)
	}
	t.Logf("endpoints by family: %v", families)
	w.await("each has both addresses", patience, func() error {
		for _, c := range l.manager.Snapshot().Candidates {
			if len(c.Addrs) != 2 {
				return fmt.Errorf("%s has %v", c.Host, c.Addrs)
			}
		}
		return nil
	})
	// A family's slices go, for a moment: who is in the other's is still there.
	w.must("delete the slices of IPv6", w.api.DiscoveryV1().EndpointSlices(w.ns).DeleteCollection(t.Context(), metav1.DeleteOptions{},
		metav1.ListOptions{FieldSelector: "metadata.name=" + w.sliceOf(discoveryv1.AddressTypeIPv6)}))
	l.leaving(pods[0])
	w.remove(pods[0])
	l.want(pods[1:]...)
	l.wantNobodyLost()
}

func (w *world) sliceOf(family discoveryv1.AddressType) string {
	w.t.Helper()
	for _, s := range w.slices() {
		if s.AddressType == family {
			return s.Name
		}
	}
	w.t.Fatalf("there is no slice of %s", family)
	return ""
}

// With publishNotReadyAddresses a pod that terminates is still "ready" in its slice.
func TestTheTerminatingGetNoNewContactsThoughTheyAreCalledReady(t *testing.T) {
	w, l := plain(t, notReadyToo)
	pods := flockOf(6)
	w.start(pods[:5]...)
	w.must("make one that is not ready", w.create(pods[5]))
	w.must("tell", w.tell(pods[5], running, notReady))
	l.want(pods...) // those that wait for each other to become ready must find each other
	l.leaving(pods[:2]...)
	w.terminate(pods[:2]...)
	w.await("the slice calls one ready and terminating", patience, func() error {
		for _, s := range w.slices() {
			for _, e := range s.Endpoints {
				if e.Conditions.Terminating != nil && *e.Conditions.Terminating && *e.Conditions.Ready {
					return nil
				}
			}
		}
		return fmt.Errorf("it does not")
	})
	l.want(pods[2:]...)
	l.wantNobodyLost()
}

// Of a StatefulSet a pod comes back under its name, with another UID and another address.
func TestAStatefulSetsPodIsBackUnderItsNameAtANewAddress(t *testing.T) {
	w, l := plain(t)
	replicas := int32(3)
	_, err := w.api.AppsV1().StatefulSets(w.ns).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: named("db"),
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: service, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": service}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": service}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "sidecar", Image: "none", Ports: []corev1.ContainerPort{{Name: "starling", ContainerPort: port}}}}},
			},
		},
	}, metav1.CreateOptions{})
	w.must("make a StatefulSet", err)
	pods := flockOf(3)
	for i := range pods {
		pods[i].name = fmt.Sprintf("db-%d", i)
		w.adopt(pods[i], "")
	}
	l.want(pods...)

	before := w.uid(pods[1])
	back := pods[1]
	back.ips = []string{address(500)}
	l.leaving(pods[1])
	w.remove(pods[1])
	w.adopt(back, before)
	began := time.Now()
	w.await("it is a contact at its new address", patience, func() error {
		if _, ok := l.became(back.addr()); !ok {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	t.Logf("back under its name after %v", time.Since(began).Round(time.Millisecond))
	l.want(pods[0], back, pods[2])
	l.wantNobodyLost()
}

func (w *world) uid(p pod) types.UID {
	w.t.Helper()
	found, err := w.api.CoreV1().Pods(w.ns).Get(w.t.Context(), p.name, metav1.GetOptions{})
	w.must("get a pod", err)
	return found.UID
}

// adopt waits for a pod that a controller makes, other than the one of before, and has it scheduled and running.
func (w *world) adopt(p pod, before types.UID) {
	w.t.Helper()
	w.await(p.name+" is made", patience, func() error {
		found, err := w.api.CoreV1().Pods(w.ns).Get(w.t.Context(), p.name, metav1.GetOptions{})
		if err == nil && found.UID == before {
			err = fmt.Errorf("it is the old one")
		}
		return err
	})
	w.must("schedule it", w.api.CoreV1().Pods(w.ns).Bind(w.t.Context(), &corev1.Binding{
		ObjectMeta: named(p.name), Target: corev1.ObjectReference{Kind: "Node", Name: w.ns},
	}, metav1.CreateOptions{}))
	w.must("have it run", w.tell(p, running, ready))
}

func TestForeignPodsOnReusedAddressesAreNobodysPeers(t *testing.T) {
	w, l := plain(t)
	other := newWorld(t) // another product, in another namespace, whose Service has the same name
	other.allow()
	other.serve(service)
	ours := flockOf(6)
	w.start(ours[:5]...)
	l.want(ours[:5]...)

	// Ours goes, theirs gets its address: in another namespace, and under another Service of ours.
	w.serve("other")
	l.leaving(ours[:2]...)
	w.remove(ours[:2]...)
	other.start(pod{name: "foreign", app: service, ips: ours[0].ips})
	w.start(pod{name: "another", app: "other", ips: ours[1].ips})
	l.want(ours[2:5]...)

	// Theirs goes, ours gets its address.
	other.remove(pod{name: "foreign"})
	heir := pod{name: "heir", app: service, ips: ours[0].ips}
	w.start(heir)
	l.want(append(ours[2:5:5], heir)...)

	// Two of ours swap addresses: nobody is merged with anybody.
	a, b := ours[2], ours[3]
	keys := l.keys()
	l.leaving(a, b) // for a moment both have one of the two
	a.ips, b.ips = b.ips, a.ips
	w.must("give one the other's address", w.tell(a, running, ready))
	w.must("and the other the one's", w.tell(b, running, ready))
	w.await("both have swapped", patience, func() error {
		now := l.keys()
		if now[a.addr()] != keys[b.addr()] || now[b.addr()] != keys[a.addr()] {
			return fmt.Errorf("%v was %v", now, keys)
		}
		return nil
	})
	l.want(append(ours[2:5:5], heir)...)
	l.wantNobodyLost()
}

// keys are who the strategy says is where.
func (l *lookout) keys() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := map[string]string{}
	for key, addr := range l.vouched {
		keys[addr] = key
	}
	return keys
}

// A selector with a slip of the pen, put right again: the Service has no endpoint for longer than the grace.
func TestAServiceEmptiedByMistakeLosesNobodyWhoLives(t *testing.T) {
	w, l := plain(t)
	pods := flockOf(9)
	w.start(pods...)
	l.want(pods...)
	l.live(pods...) // what the overlay sees
	w.selects("slip-of-the-pen")
	w.await("no slice has an endpoint", patience, func() error {
		if n := slices.Max(append(w.sizes(), 0)); n > 0 {
			return fmt.Errorf("one has %d", n)
		}
		return nil
	})
	long := time.NewTimer(3 * grace)
	defer long.Stop()
	<-long.C
	w.selects(service)
	l.want(pods...)
	l.wantNobodyForgotten() // the source said that they were gone; it is not believed alone
}

func (w *world) selects(app string) {
	w.t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"selector": map[string]string{"app": app}}})
	w.must("write a patch", err)
	_, err = w.api.CoreV1().Services(w.ns).Patch(w.t.Context(), service, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	w.must("change the selector", err)
}

// Pods that have ended, or have no address yet, are nobody.
func TestOnlyPodsWithAnAddressCountAndOnlyWhileTheyRun(t *testing.T) {
	w := newWorld(t)
	w.allow()
	pods := flockOf(4)
	c := w.config(w.kubeconfig(control.URL(), w.asAccount()))
	c.Resource, c.Services, c.LabelSelector = kubernetes.Pods, nil, "app="+service
	l := w.look(c)
	w.must("one that has no address", w.create(pods[0]))
	w.start(pods[1:]...)
	l.want(pods[1:]...)
	l.leaving(pods[1])
	w.must("one that ended", w.tell(pods[1], finished, notReady))
	l.want(pods[2:]...)
	w.must("the first starts", w.tell(pods[0], running, ready))
	l.want(pods[0], pods[2], pods[3])
	l.wantNobodyLost()
}
