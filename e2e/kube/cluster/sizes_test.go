package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFromThreePodsToThirtyAndBack(t *testing.T) {
	w := newWorld(t)
	w.install("birds", "demo.replicas=3")
	three := names(w.pods(demo))
	w.awaitMembers("three members", three)
	thirty := w.scale(30)
	w.awaitMembers("thirty members, as an old one and others see them", thirty, append(three[:1], thirty[:4]...)...)
	out, err := w.starling(thirty[0], "multicall", "demo.echo", "hello", "--timeout", "20s")
	w.must("ask everybody", err)
	w.must("thirty replies", wantAll(table(out, "NODE", "VERDICT"), "replied", thirty))
	w.figures(demo)
	left := w.scale(3)
	w.awaitMembers("three members again", left)
	gone, err := w.members(left[0], "--gone")
	w.must("ask for the members", err)
	states := map[string]int{}
	for _, s := range gone {
		states[s]++
	}
	t.Logf("known there: %v", states)
	if states["alive"] != 3 || states["left"] != 27 {
		t.Errorf("%v, want 3 alive and 27 that left", gone)
	}
}

// scale changes the size of the demo, and returns its pods when all are ready, and the others gone.
func (w *world) scale(n int) []string {
	w.t.Helper()
	w.kubectl("scale", "deployment/birds-starling-demo", "--replicas", strconv.Itoa(n))
	w.await(fmt.Sprintf("%d pods are ready", n), func() error {
		list, err := it.Admin().CoreV1().Pods(w.ns).List(w.t.Context(), metav1.ListOptions{LabelSelector: demo})
		if err != nil {
			return err
		}
		ready := slices.DeleteFunc(slices.Clone(list.Items), func(p corev1.Pod) bool { return !isReady(&p) })
		if len(ready) != n || len(list.Items) != n {
			return fmt.Errorf("%d of %d are ready", len(ready), len(list.Items))
		}
		return nil
	})
	return names(w.pods(demo))
}

// Two clusters whose addresses are from one range, that are even told each other's, and have the same key: their names differ.
func TestTwoReleasesInOneNamespaceNeverMerge(t *testing.T) {
	w := newWorld(t)
	w.install("red", "demo.replicas=3")
	w.install("blue", "demo.replicas=3", "security.existingSecret=red-starling-key",
		"config.discovery.sources[0].kind=kubernetes", "config.discovery.sources[0].name=theirs",
		"config.discovery.sources[0].services[0]=red-starling", "config.discovery.sources[0].port=starling")
	red, blue := names(w.pods(demo+",app.kubernetes.io/instance=red")), names(w.pods(demo+",app.kubernetes.io/instance=blue"))
	w.awaitMembers("red knows red", red)
	w.awaitMembers("blue knows blue", blue)
	w.await("blue was refused by red", func() error {
		for _, p := range blue {
			if logs := w.kubectl("logs", p, "-c", "starling"); strings.Contains(logs, "a node is none of ours") {
				return nil
			}
		}
		return fmt.Errorf("no log of %v says so", blue)
	})
	for _, p := range append(red, blue...) {
		w.kubectl("delete", "pod", p, "--wait=false") // new pods get addresses of the same range, and old ones again
	}
	w.kubectl("rollout", "status", "deployment/red-starling-demo", "--timeout="+patience.String())
	w.kubectl("rollout", "status", "deployment/blue-starling-demo", "--timeout="+patience.String())
	red, blue = names(w.pods(demo+",app.kubernetes.io/instance=red")), names(w.pods(demo+",app.kubernetes.io/instance=blue"))
	w.awaitMembers("red knows red, after all were replaced", red)
	w.awaitMembers("blue knows blue, after all were replaced", blue)
}
