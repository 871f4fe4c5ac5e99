package cluster

import (
	"slices"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apartMost is how long links that were looked at twice a second, at each node at another moment, may seem not to hang together.
const apartMost = 5 * time.Second

// loaded is the user's own chart with so many pods, and one more that asks everybody again and again.
func loaded(t *testing.T, replicas string, set ...string) (*world, *record) {
	t.Helper()
	w, r := newWorld(t), newRecord(t)
	w.installChart("shop", w.shop(), append(set, "replicas="+replicas, "load=true", "reportURL="+r.url)...)
	r.wantGood(w, "all answer", w.loadedPods())
	r.forgetApart()
	return w, r
}

// loadedPods are those of the shop, and that which makes the load.
func (w *world) loadedPods() []string { return append(names(w.pods("app=shop")), "load") }

// endLoad ends the pod that makes it, which takes until its last call is reported.
func (w *world) endLoad() {
	w.t.Helper()
	w.kubectl("delete", "pod", "load")
}

func TestARollingRestartUnderLoadLosesNothing(t *testing.T) {
	w, r := loaded(t, "10")
	w.restart(r)
}

// Without native sidecars the containers of a pod are told to end at the same time: `starling drain --wait` lets the application
// go first.
func TestARollingRestartOfPlainContainersLosesNothing(t *testing.T) {
	w, r := loaded(t, "5", "starling.sidecar.native=false")
	pods := w.pods("app=shop")
	for _, p := range pods {
		if len(p.Spec.InitContainers) != 0 || len(p.Spec.Containers) != 2 {
			t.Fatalf("%s has %d init containers and %d others, want 0 and 2", p.Name, len(p.Spec.InitContainers), len(p.Spec.Containers))
		}
	}
	answered := w.slow(r, pods[0].Name, "8s") // longer than a sidecar that was told to end waits for what runs
	w.kubectl("delete", "pod", pods[0].Name, "--wait=false")
	answered()
	w.kubectl("rollout", "status", "deployment/shop", "--timeout="+patience.String())
	w.restart(r)
}

// slow asks one pod for what takes some seconds, and returns when that has begun. answered wants the answer.
func (w *world) slow(r *record, pod, takes string) (answered func()) {
	w.t.Helper()
	type answer struct {
		out string
		err error
	}
	slow := make(chan answer, 1)
	go func() {
		out, err := w.starling("load", "call", pod, "shop.slow", takes, "--timeout", "20s")
		slow <- answer{out, err}
	}()
	w.await("the slow call has begun", func() error { return r.hasRun(takes) })
	began := time.Now()
	return func() {
		w.t.Helper()
		a := <-slow
		w.t.Logf("the slow call ended %v after it was seen to begin: %s", time.Since(began).Round(10*time.Millisecond), a.out)
		w.must("the slow call", a.err)
	}
}

// restart restarts the shop pod by pod, under load.
func (w *world) restart(r *record) {
	w.t.Helper()
	before := names(w.pods("app=shop"))
	began := time.Now()
	w.kubectl("rollout", "restart", "deployment/shop")
	w.kubectl("rollout", "status", "deployment/shop", "--timeout="+patience.String())
	w.t.Logf("rolling restart of %d pods: %v", len(before), time.Since(began).Round(100*time.Millisecond))
	w.await("the old pods are gone", func() error {
		_, err := w.tryKubectl(append([]string{"wait", "--for=delete", "--timeout=1s", "pod"}, before...)...)
		return err
	})
	after := w.loadedPods()
	for _, p := range before {
		if slices.Contains(after, p) {
			w.t.Errorf("%s was not replaced", p)
		}
	}
	r.wantGood(w, "all new ones answer, and nobody else is asked", after)
	gone, err := w.members("load", "--gone")
	w.must("ask for the members", err)
	for _, p := range before {
		if gone[p] != "left" {
			w.t.Errorf("%s is known as %q, want left", p, gone[p])
		}
	}
	w.endLoad()
	r.judge()
	if r.apart > apartMost {
		w.t.Errorf("they were not one component for %v", r.apart)
	}
}

func TestAnEvictionRespectsTheDrain(t *testing.T) {
	w, r := loaded(t, "3")
	pods := names(w.pods("app=shop"))
	evicted := pods[0]
	answered := w.slow(r, evicted, "4s")
	w.must("evict a pod", w.evict(evicted))
	// The budget of the chart allows one at a time.
	if err := w.evict(pods[1]); !errors.IsTooManyRequests(err) {
		t.Errorf("a second eviction at once: %v, want it refused", err)
	}
	answered()
	w.await("the evicted pod is gone", func() error {
		_, err := w.tryKubectl("wait", "--for=delete", "--timeout=1s", "pod/"+evicted)
		return err
	})
	w.kubectl("rollout", "status", "deployment/shop", "--timeout="+patience.String())
	r.wantGood(w, "all answer again", w.loadedPods())
	gone, err := w.members("load", "--gone")
	w.must("ask for the members", err)
	if gone[evicted] != "left" {
		t.Errorf("%s is known as %q, want left", evicted, gone[evicted])
	}
	w.endLoad()
	r.judge()
}

// evict asks for an eviction as `kubectl drain` does.
func (w *world) evict(pod string) error {
	return it.Admin().PolicyV1().Evictions(w.ns).Evict(w.t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: w.ns}})
}

func TestAJobWithASidecarCompletes(t *testing.T) {
	w := newWorld(t)
	shop := w.shop()
	w.installChart("shop", shop)
	began := time.Now()
	w.installChart("shop", shop, "job=true")
	w.kubectl("wait", "--for=condition=complete", "job/once", "--timeout="+patience.String())
	t.Logf("the job completed after %v and said %s", time.Since(began).Round(100*time.Millisecond), w.kubectl("logs", "job/once", "-c", "shop"))
	pods := w.pods("job-name=once")
	if len(pods) != 1 {
		t.Fatalf("the job's pods are %v, want one", names(pods))
	}
	sidecar := pods[0].Status.InitContainerStatuses[0].State.Terminated
	if sidecar == nil || sidecar.ExitCode != 0 {
		t.Errorf("the sidecar's end: %+v, want exit code 0", sidecar)
	}
	gone, err := w.members(names(w.pods("app=shop"))[0], "--gone")
	w.must("ask for the members", err)
	if gone[pods[0].Name] != "left" {
		t.Errorf("the job is known as %q, want left", gone[pods[0].Name])
	}
}
