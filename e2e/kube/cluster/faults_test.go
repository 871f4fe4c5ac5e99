package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/starlingmesh/starling/e2e/kube/cluster/report"
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
