package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/starlingmesh/starling/e2e/kube/cluster/report"
	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

func TestAPodKilledByForceIsKnownDownAndReplaced(t *testing.T) {
	w, r := loaded(t, "6")
	victim := names(w.pods("app=shop"))[0]
	ids := w.ids("load")
	w.kill(victim)
	began := time.Now()
	w.kubectl("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")
	w.await("it is known down", func() error {
		out, err := w.starling("load", "members", "--gone")
		if err != nil {
			return err
		}
		// Until the pod was deleted a new sidecar may have borne its name, under another ID.
		if status := table(out, "ID", "STATUS")[ids[victim]]; status != "down" {
			return fmt.Errorf("%s is %q", victim, status)
		}
		return nil
	})
	w.kubectl("rollout", "status", "deployment/shop", "--timeout="+patience.String())
	t.Logf("replaced after %v", time.Since(began).Round(100*time.Millisecond))
	r.wantGood(w, "all answer again", w.loadedPods())
	w.endLoad()
	r.judge("lost")
}

// kill ends everything in a pod as kill -9 does.
func (w *world) kill(pod string) {
	w.t.Helper()
	killed := 0
	for _, p := range processes(w.t) {
		if p.host != pod {
			continue
		}
		pid, err := strconv.Atoi(p.pid)
		w.must("read a process ID", err)
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	if killed < 2 {
		w.t.Fatalf("%d processes of %s were killed, want the sidecar and the application", killed, pod)
	}
}

// ids are the node IDs that a pod's sidecar knows, by name.
func (w *world) ids(pod string) map[string]string {
	w.t.Helper()
	out, err := w.starling(pod, "members")
	w.must("ask for the members", err)
	return table(out, "NAME", "ID")
}

func TestANodeWithoutNetworkIsKnownDownAndComesBack(t *testing.T) {
	w, r := loaded(t, "6")
	ids := w.ids("load")
	cut, there, away := w.choose()
	t.Logf("%s is cut off, with %v", cut.Name, away)
	began := time.Now()
	w.must("cut a node off", cut.Cut(t.Context()))
	mended := false
	defer func() {
		if !mended {
			_ = cut.Mend(context.Background())
		}
	}()
	w.await("its pods are known down, the others alive", func() error {
		out, err := w.members("load", "--gone")
		if err != nil {
			return err
		}
		for _, p := range away {
			if out[p] != "down" {
				return fmt.Errorf("%s is %s", p, out[p])
			}
		}
		alive := maps.Clone(out)
		maps.DeleteFunc(alive, func(_, status string) bool { return status == "down" })
		return wantAll(alive, "alive", there)
	})
	w.await("the others answer, the cut off do not", func() error {
		calls := r.calls()
		last := calls[len(calls)-1]
		for _, v := range last.Verdicts {
			if good(v) != slices.Contains(there, v.Name) {
				return fmt.Errorf("%+v", v)
			}
		}
		return nil
	})
	w.await("Kubernetes has seen it, too", func() error {
		n, err := it.Admin().CoreV1().Nodes().Get(t.Context(), cut.Name, metav1.GetOptions{})
		if err == nil && nodes.Ready(n) {
			err = fmt.Errorf("%s is ready", cut.Name)
		}
		return err
	})
	w.must("plug it in again", cut.Mend(t.Context()))
	mended = true
	t.Logf("it was cut off for %v", time.Since(began).Round(100*time.Millisecond))
	r.wantGood(w, "all answer again", w.loadedPods())
	after := w.ids("load")
	for name, id := range ids {
		if after[name] != id {
			t.Errorf("%s is %s, was %s: want it back as the same", name, after[name], id)
		}
	}
	w.awaitReady()
	w.endLoad()
	r.judge("lost", "unreachable", "timed_out", "down")
}

// choose is a node to be cut off: one with pods of the shop, without the pod that makes the load.
func (w *world) choose() (cut *nodes.Node, there, away []string) {
	w.t.Helper()
	at := map[string][]string{}
	for _, p := range w.pods("") {
		at[p.Spec.NodeName] = append(at[p.Spec.NodeName], p.Name)
	}
	for _, n := range it.Nodes {
		if pods := at[n.Name]; cut == nil && len(pods) > 0 && !slices.Contains(pods, "load") {
			cut, away = n, pods
		} else {
			there = append(there, pods...)
		}
	}
	if cut == nil {
		w.t.Fatalf("the pods are at %v", at)
	}
	slices.Sort(there)
	return cut, there, away
}

// awaitReady waits until all nodes and pods are ready, so that the next test begins with a quiet cluster.
func (w *world) awaitReady() {
	w.t.Helper()
	w.await("all nodes and pods are ready again", func() error {
		list, err := it.Admin().CoreV1().Nodes().List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if !nodes.Ready(&list.Items[i]) {
				return fmt.Errorf("%s is not", list.Items[i].Name)
			}
		}
		for _, p := range w.pods("") {
			if !isReady(&p) {
				return fmt.Errorf("%s is not", p.Name)
			}
		}
		return nil
	})
}

func TestAnAPIServerStoppedForAMinuteLosesNobody(t *testing.T) {
	w, r := loaded(t, "6")
	pods := w.loadedPods()
	const stopped = time.Minute
	from := time.Now()
	it.APIServer.Pause()
	timer := time.NewTimer(stopped)
	defer timer.Stop()
	<-timer.C
	it.APIServer.Resume()
	w.await("the API server answers", func() error { return it.APIServes(t.Context()) })
	calls := slices.DeleteFunc(r.calls(), func(a report.Asked) bool { return a.At.Before(from) })
	w.endLoad()
	bad := 0
	for _, a := range calls {
		if err := wantAnswered(a, pods); err != nil {
			if bad++; bad < 5 {
				t.Errorf("%s: %v", a.Call, err)
			}
		}
	}
	t.Logf("%d calls during %v without the API server, %d not answered by all of %d", len(calls), stopped, bad, len(pods))
	r.judge()
	// And news arrive again.
	w.kubectl("scale", "deployment/shop", "--replicas=7")
	w.kubectl("rollout", "status", "deployment/shop", "--timeout="+patience.String())
	all := names(w.pods("app=shop"))
	w.awaitMembers("a new pod is a member", all)
	w.awaitReady()
}
