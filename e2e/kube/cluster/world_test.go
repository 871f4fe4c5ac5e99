package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// patience is for what takes seconds on an idle machine.
const patience = 3 * time.Minute

// A world is one namespace, of the restricted Pod Security level, for one test. Its methods end the test when they cannot do
// what they are for.
type world struct {
	t  *testing.T
	ns string
}

var worlds atomic.Int32

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ns: fmt.Sprintf("world-%d", worlds.Add(1))}
	_, err := it.Admin().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: w.ns, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	w.must("make a namespace", err)
	t.Cleanup(func() {
		if t.Failed() {
			w.dump()
		}
		// It is deleted in the background; the pods are waited for, so that the next test has the machine to itself.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		_ = it.Kubectl(ctx, "delete", "namespace", w.ns, "--wait=false").Run()
		_ = it.Kubectl(ctx, "wait", "-n", w.ns, "--for=delete", "pod", "--all", "--timeout=60s").Run()
	})
	return w
}

func (w *world) must(what string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// kubectl runs it in the namespace and returns what it said.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	out, err := w.tryKubectl(args...)
	w.must("kubectl "+strings.Join(args, " "), err)
	return out
}

func (w *world) tryKubectl(args ...string) (string, error) {
	c := it.Kubectl(w.t.Context(), append([]string{"-n", w.ns}, args...)...)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, out, complaints.Bytes())
	}
	return string(out), err
}

func (w *world) helm(args ...string) string {
	w.t.Helper()
	out, err := it.Helm(w.t.Context(), append(args, "-n", w.ns)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// install installs the chart of the repository and waits until its pods are ready.
func (w *world) install(release string, set ...string) string {
	w.t.Helper()
	return w.installChart(release, chart(w.t), set...)
}

func (w *world) installChart(release, chart string, set ...string) string {
	w.t.Helper()
	began := time.Now()
	args := []string{"upgrade", "--install", release, chart, "--wait", "--timeout", patience.String()}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	out := w.helm(args...)
	w.t.Logf("helm install --wait: %v", time.Since(began).Round(100*time.Millisecond))
	return out
}

// chart is the chart as it is shipped.
func chart(t *testing.T) string {
	t.Helper()
	r, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(r, "charts", "starling")
}

// shop is the user's own chart, with the shipped one as its dependency.
func (w *world) shop() string {
	w.t.Helper()
	dir := w.t.TempDir()
	w.must("copy the chart", os.CopyFS(filepath.Join(dir, "starling"), os.DirFS(chart(w.t))))
	w.must("copy the user's chart", os.CopyFS(filepath.Join(dir, "shop"), os.DirFS("testdata/shop")))
	w.helm("dependency", "update", filepath.Join(dir, "shop"))
	return filepath.Join(dir, "shop")
}

// starling runs a command of the sidecar's program in its container.
func (w *world) starling(pod string, args ...string) (string, error) {
	return w.tryKubectl(append([]string{"exec", pod, "-c", "starling", "--", "/starling"}, args...)...)
}

// pods are those of the namespace that a selector finds and that do not terminate, by name.
func (w *world) pods(selector string) []corev1.Pod {
	w.t.Helper()
	list, err := it.Admin().CoreV1().Pods(w.ns).List(w.t.Context(), metav1.ListOptions{LabelSelector: selector})
	w.must("list pods", err)
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

func names(pods []corev1.Pod) (all []string) {
	for _, p := range pods {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return all
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// await waits until f is content, and says how long that took.
func (w *world) await(what string, f func() error) time.Duration {
	w.t.Helper()
	began := time.Now()
	ticks := time.NewTicker(500 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := f()
		took := time.Since(began).Round(10 * time.Millisecond)
		if err == nil {
			w.t.Logf("%s: after %v", what, took)
			return took
		}
		if took > patience {
			w.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		<-ticks.C
	}
}

// members are the names and states that a pod's sidecar knows.
func (w *world) members(pod string, args ...string) (map[string]string, error) {
	out, err := w.starling(pod, append([]string{"members"}, args...)...)
	if err != nil {
		return nil, err
	}
	return table(out, "NAME", "STATUS"), nil
}

// table reads two columns of a table that a command printed. It ends with an empty line.
func table(text, key, value string) map[string]string {
	rows := map[string]string{}
	text, _, _ = strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	heads := strings.Fields(lines[0])
	k, v := slices.Index(heads, key), slices.Index(heads, value)
	for _, line := range lines[1:] {
		if cells := strings.Fields(line); k >= 0 && v >= 0 && len(cells) > max(k, v) {
			rows[cells[k]] = cells[v]
		}
	}
	return rows
}

// awaitMembers waits until the sidecar of each of these pods knows exactly them, and all alive. at are those that are asked, all
// if none is said.
func (w *world) awaitMembers(what string, pods []string, at ...string) {
	w.t.Helper()
	if len(at) == 0 {
		at = pods
	}
	w.await(what, func() error {
		for _, p := range at {
			m, err := w.members(p)
			if err != nil {
				return err
			}
			if err := wantAll(m, "alive", pods); err != nil {
				return fmt.Errorf("%s knows %w", p, err)
			}
		}
		return nil
	})
}

// wantAll wants exactly these keys, each with the same value.
func wantAll(rows map[string]string, value string, keys []string) error {
	for _, k := range keys {
		if rows[k] != value {
			return fmt.Errorf("%v, want %s %s", rows, k, value)
		}
	}
	if len(rows) != len(keys) {
		return fmt.Errorf("%d: %v, want %d", len(rows), rows, len(keys))
	}
	return nil
}

// dump prints what one wants to see after a failure.
func (w *world) dump() {
	for _, args := range [][]string{
		{"get", "pods", "-o", "wide"}, {"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--selector=app.kubernetes.io/component=demo", "--all-containers", "--tail=20", "--prefix"},
		{"logs", "--selector=app=shop", "--all-containers", "--tail=20", "--prefix"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		out, err := it.Kubectl(ctx, append([]string{"-n", w.ns}, args...)...).CombinedOutput()
		cancel()
		w.t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out[max(0, len(out)-6000):])
	}
}
