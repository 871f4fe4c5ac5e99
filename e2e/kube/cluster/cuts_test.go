package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/starlingmesh/starling/e2e/kube/cluster/report"
	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

func TestANodeWithoutNetworkIsKnownDownAndComesBack(t *testing.T) {
	w, r := loaded(t, "6")
	node, there, away := w.choose()
	t.Logf("%s is cut off, with %v", node.Name, away)
	w.cutOff(r, node.Cable(), there, away, func() {
		w.await("Kubernetes has seen it, too", func() error {
			n, err := it.Admin().CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
			if err == nil && nodes.Ready(n) {
				err = fmt.Errorf("%s is ready", node.Name)
			}
			return err
		})
	})
}

func TestAPodWithoutNetworkIsKnownDownAndWhyAndComesBack(t *testing.T) {
	w, r := loaded(t, "6")
	shop := w.pods("app=shop")
	pod, there := shop[0], append(names(shop[1:]), "load")
	t.Logf("%s is cut off, at %s", pod.Name, pod.Spec.NodeName)
	cable, err := w.node(pod.Spec.NodeName).PodCable(t.Context(), w.sidecarPID(pod.Name))
	w.must("find the pod's cable", err)
	w.cutOff(r, cable, there, []string{pod.Name}, func() {
		out, err := w.starling("load", "members", "--why", pod.Name)
		w.must("ask why", err)
		t.Logf("members --why says\n%s", out)
		if !strings.Contains(out, "down") {
			t.Error("want it to say that it is down")
		}
	})
}

// cutOff cuts these pods off from those, under load, and plugs them in again: they are known to be down, by name and why, what
// is asked meanwhile gets its verdicts, and they come back as the same. meanwhile runs before they do.
func (w *world) cutOff(r *record, cable nodes.Cable, there, away []string, meanwhile func()) {
	w.t.Helper()
	ids := w.ids("load")
	began := time.Now()
	w.must("cut them off", cable.Cut(w.t.Context()))
	mended := false
	defer func() {
		if !mended {
			_ = cable.Mend(context.Background()) // the test has failed; the next is to have a whole cluster
		}
	}()
	w.await("they are known down, the others alive", func() error {
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
	w.await("the others answer, of the cut off it is told who accused them", func() error { return r.lastKnows(there, away) })
	meanwhile()
	w.must("plug them in again", cable.Mend(w.t.Context()))
	mended = true
	w.t.Logf("they were cut off for %v", time.Since(began).Round(100*time.Millisecond))
	all := w.loadedPods()
	r.wantGood(w, "all answer again", all)
	w.awaitMembers("all know all again", all)
	after := w.ids("load")
	for _, p := range w.pods("") {
		// A kubelet that cannot probe a sidecar for half a minute starts it again.
		if again := p.Status.InitContainerStatuses[0].RestartCount > 0; after[p.Name] != ids[p.Name] && !again {
			w.t.Errorf("%s is %s, was %s: want it back as the same", p.Name, after[p.Name], ids[p.Name])
		}
	}
	w.awaitReady()
	w.endLoad()
	r.judge("lost", "unreachable", "timed_out", "down")
}

// lastKnows wants the latest call answered by those, and these to be down, accused by some of those.
func (r *record) lastKnows(there, away []string) error {
	calls := r.calls()
	told := map[string]report.Verdict{}
	for _, v := range calls[len(calls)-1].Verdicts {
		told[v.Name] = v
	}
	for _, p := range there {
		if !good(told[p]) {
			return fmt.Errorf("%s: %+v", p, told[p])
		}
	}
	for _, p := range away {
		accused, by, ok := strings.Cut(told[p].Reason, " by ")
		if told[p].Verdict != "down" || told[p].Executed != "no" || !ok || accused != "certified down: accused" {
			return fmt.Errorf("%s: %+v", p, told[p])
		}
		for accuser := range strings.SplitSeq(by, ", ") {
			if !slices.Contains(there, accuser) {
				return fmt.Errorf("%s is accused by %q, who is none of %v", p, accuser, there)
			}
		}
	}
	return nil
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

// node is the node of this name.
func (w *world) node(name string) *nodes.Node {
	w.t.Helper()
	for _, n := range it.Nodes {
		if n.Name == name {
			return n
		}
	}
	w.t.Fatalf("there is no node %q", name)
	return nil
}

// sidecarPID is the process of a pod's sidecar, as the tests see it.
func (w *world) sidecarPID(pod string) string {
	w.t.Helper()
	for _, p := range processes(w.t) {
		if p.host == pod && p.program == "/starling" && p.args[1] == "agent" {
			return p.pid
		}
	}
	w.t.Fatalf("no sidecar runs in %s", pod)
	return ""
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
