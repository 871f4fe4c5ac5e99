package flocktest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/rpc/client"
)

// Multicall asks everybody to echo, and wants no error: what went wrong is in the verdicts.
func (w *World) Multicall(b *flock.Bird, opts ...client.CallOption) *client.Answer {
	w.t.Helper()
	a, err := b.Client().Multicall(w.t.Context(), flock.EchoMethod, client.Text("hello"), opts...)
	if err != nil {
		w.t.Fatalf("%s asks everybody: %v", b.Name, err)
	}
	return a
}

// Verdicts are those of an answer by name. Each bird must have exactly one, and nobody else any.
func (w *World) Verdicts(list []client.NodeVerdict) map[string]client.NodeVerdict {
	w.t.Helper()
	by := map[string]client.NodeVerdict{}
	for _, v := range list {
		if _, twice := by[v.Name]; twice {
			w.t.Errorf("%s has two verdicts: %+v and %+v", v.Name, by[v.Name], v)
		}
		by[v.Name] = v
	}
	for _, b := range w.Birds() {
		if _, ok := by[b.Name]; !ok {
			w.t.Errorf("%s has no verdict", b.Name)
		}
	}
	if len(by) > len(w.Birds()) {
		w.t.Errorf("%d verdicts for %d birds", len(by), len(w.Birds()))
	}
	return by
}

// WantVerdicts wants one of some verdicts from some birds, and replied (or delivered) from all others.
func (w *World) WantVerdicts(a *client.Answer, from []*flock.Bird, one ...client.Verdict) {
	w.t.Helper()
	by := w.Verdicts(a.Verdicts)
	for _, b := range w.Birds() {
		v := by[b.Name]
		if slices.Contains(from, b) {
			if !slices.Contains(one, v.Verdict) {
				w.t.Errorf("%s: %s (%s, %s, %s), want one of %v", b.Name, v.Verdict, v.Executed, v.Stage, v.Reason, one)
			}
		} else if !v.OK() || v.Executed != client.Yes {
			w.t.Errorf("%s: %s (%s, %s, %s), want a reply", b.Name, v.Verdict, v.Executed, v.Stage, v.Reason)
		}
	}
}

// News is what a bird tells of its members, since Listen.
type News struct {
	bird *flock.Bird

	mu     sync.Mutex // guards events
	events []client.MemberChange
}

// Listen watches the members as birds know them, until the test ends. It returns when every watch has its first snapshot.
func (w *World) Listen(birds ...*flock.Bird) []*News {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var all []*News
	var wg, first sync.WaitGroup
	for _, b := range birds {
		n := &News{bird: b}
		all = append(all, n)
		first.Add(1)
		wg.Go(func() { n.listen(ctx, sync.OnceFunc(first.Done)) })
	}
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	first.Wait()
	return all
}

func (n *News) listen(ctx context.Context, begun func()) {
	defer begun() // also when the watch never came to be
	for update, err := range n.bird.Client().Watch(ctx) {
		if err != nil {
			return
		}
		begun()
		n.mu.Lock()
		n.events = append(n.events, update.Changes...)
		n.mu.Unlock()
	}
}

// Events are the changes of one kind, or of all, about a member, or about all but the bird itself.
func (n *News) Events(kind, member string) []client.MemberChange {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []client.MemberChange
	for _, e := range n.events {
		if (kind == "" || e.Event == kind) && (member == "" || e.Member.Name == member) {
			list = append(list, e)
		}
	}
	return list
}

// AwaitEvent waits until all have heard of an event about a member.
func (w *World) AwaitEvent(all []*News, kind, member string, bound time.Duration) time.Duration {
	w.t.Helper()
	return w.Await(fmt.Sprintf("%d sidecars know that %s is %s", len(all), member, kind), bound, func() error {
		var missing []string
		for _, n := range all {
			if len(n.Events(kind, member)) == 0 {
				missing = append(missing, n.bird.Name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d do not: %s", len(missing), strings.Join(missing, " "))
		}
		return nil
	})
}

// WantEvents wants that each has heard of so many events of a kind about a member, or about anybody if it is empty.
func (w *World) WantEvents(all []*News, kind, member string, want int) {
	w.t.Helper()
	for _, n := range all {
		if got := n.Events(kind, member); len(got) != want {
			w.t.Errorf("%s heard %d times that somebody (%s) is %s, want %d: %v", n.bird.Name, len(got), member, kind, want, got)
		}
	}
}

// HTTP is in the Rest of Settings of birds whose metrics are read.
const HTTP = "http: {listen: 127.0.0.1:0}\n"

var probesAddr = regexp.MustCompile(`msg="probes and metrics" addr=(\S+)`)

// Metrics reads /metrics: values by name and labels, e.g. starling_members{status="alive"}.
func (w *World) Metrics(b *flock.Bird) map[string]float64 {
	w.t.Helper()
	log, err := os.ReadFile(b.LogFile())
	if err != nil {
		w.t.Fatal(err)
	}
	at := probesAddr.FindAllSubmatch(log, -1)
	if at == nil {
		w.t.Fatalf("%s does not say where its metrics are:\n%s", b.Name, log)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+string(at[len(at)-1][1])+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatalf("%s: %v", b.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	values := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, ok := cutLast(lines.Text())
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = v
		}
	}
	return values
}

func cutLast(line string) (name, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || line[0] == '#' {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

// Refused is how many connections a bird has refused for a reason.
func (w *World) Refused(b *flock.Bird, reason string) int {
	w.t.Helper()
	return int(w.Metrics(b)[fmt.Sprintf("starling_overlay_refused_total{reason=%q}", reason)])
}

// Memory is what a bird's sidecar has allocated and holds (RssAnon of proc_pid_status(5)), in bytes; 0 where there is no
// /proc, and with -race, which needs many times as much. The pages of its program come and go at the system's will.
func (w *World) Memory(b *flock.Bird) int {
	w.t.Helper()
	if race {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				w.t.Fatal(err)
			}
			return kib << 10
		}
	}
	w.t.Fatalf("%s: no RssAnon", b.Name)
	return 0
}
