package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

const demo = "app.kubernetes.io/component=demo"

func TestAnInstallationWithDefaultsWorks(t *testing.T) {
	w := newWorld(t)
	t.Log(w.install("birds"))
	pods := names(w.pods(demo))
	if len(pods) != 5 {
		t.Fatalf("the pods are %v, want five", pods)
	}
	w.awaitMembers("five members at each of five", pods)
	w.figures(demo)
	t.Log(w.helm("test", "birds"))
	// What the notes say, word for word.
	out := w.kubectl("exec", "deploy/birds-starling-demo", "-c", "starling", "--", "/starling", "multicall", "demo.echo", "hello")
	t.Logf("\n%s", out)
	w.must("five replies", wantAll(table(out, "NODE", "VERDICT"), "replied", pods))
}

// kind and k3d load the same file; their own clusters need images that this machine cannot fetch.
func TestTheImageIsLoadedAsTheReadmeSays(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(chart(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if words := "sudo " + strings.Join(nodes.ImportWords(), " ") + " bin/starling.tar"; !strings.Contains(string(readme), words) {
		t.Errorf("the chart's README does not say %q, which is how the nodes of these tests got the image", words)
	}
	said, err := os.ReadFile(built(imageFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n") // one for each platform, and one for all
	words := strings.Fields(lines[len(lines)-1])
	digest, name := words[0], strings.TrimSuffix(words[1], ",")
	for _, n := range it.Nodes {
		out, err := n.Command(t.Context(), "ctr", "-n", "k8s.io", "images", "list", "name=="+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s\n%s", n.Name, out)
		for _, want := range []string{digest, "linux/amd64", "linux/arm64"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("want %s at %s", want, n.Name)
			}
		}
	}
}

func TestAUsersOwnChartSharesTheSocketWithAnotherUser(t *testing.T) {
	w := newWorld(t)
	t.Log(w.installChart("shop", w.shop()))
	pods := names(w.pods("app=shop"))
	w.awaitMembers("all are members", pods)
	out, err := w.starling(pods[0], "multicall", "shop.work", "hello")
	w.must("ask everybody", err)
	w.must("three replies", wantAll(table(out, "NODE", "VERDICT"), "replied", pods))
	sidecar, app := w.uids(pods[0])
	t.Logf("the sidecar is user %s, the application %s", sidecar, app)
	if sidecar == app || app != "10001" {
		t.Error("want another user for the application")
	}
}

// uids are the users of the sidecar's and of the application's process in a pod.
func (w *world) uids(pod string) (sidecar, app string) {
	w.t.Helper()
	for _, p := range processes(w.t) {
		if p.host != pod {
			continue
		}
		switch p.program {
		case "/starling":
			sidecar = p.uid
		case "/app":
			if len(p.args) > 1 && p.args[1] != "pause" {
				app = p.uid
			}
		}
	}
	return sidecar, app
}

// A process is one of the cluster's; the tests see all of them.
type process struct {
	pid, program, uid, host string
	args                    []string
	rss                     int // KiB
}

func processes(t *testing.T) (all []process) {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		path := "/proc/" + d.Name()
		line, err := os.ReadFile(path + "/cmdline")
		if err != nil || len(line) == 0 {
			continue // no process, a kernel's, or gone
		}
		p := process{pid: d.Name(), args: strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")}
		p.program = p.args[0]
		environ, _ := os.ReadFile(path + "/environ")
		for e := range strings.SplitSeq(string(environ), "\x00") {
			if host, ok := strings.CutPrefix(e, "HOSTNAME="); ok {
				p.host = host
			}
		}
		status, _ := os.ReadFile(path + "/status")
		for line := range strings.Lines(string(status)) {
			var ignored string
			_, _ = fmt.Sscanf(line, "Uid: %s", &p.uid)
			_, _ = fmt.Sscanf(line, "VmRSS: %d %s", &p.rss, &ignored)
		}
		all = append(all, p)
	}
	return all
}
