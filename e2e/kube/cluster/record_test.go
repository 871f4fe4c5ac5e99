package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/e2e/kube/cluster/report"
	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

// A record is what applications reported: every run of a handler, every call and what became of it, and who was linked to whom.
type record struct {
	t   *testing.T
	url string

	mu    sync.Mutex                // guards the rest
	ran   map[string]map[string]int // runs by call and node ID
	asked []report.Asked
	seen  map[string]sight // by node ID

	apartSince time.Time     // zero while all are one component
	apart      time.Duration // the longest time in which they were not
}

type sight struct {
	report.Seen

	at time.Time
}

// sightMost is how old a sight may be to count: a node that says nothing is not known to be there.
const sightMost = 3 * time.Second

// newRecord serves it to pods until the test ends.
func newRecord(t *testing.T) *record {
	t.Helper()
	r := &record{t: t, ran: map[string]map[string]int{}, seen: map[string]sight{}}
	l, err := net.Listen("tcp", nodes.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+report.RanPath, hear(r.addRan))
	mux.HandleFunc("POST "+report.AskedPath, hear(r.addAsked))
	mux.HandleFunc("POST "+report.SeenPath, hear(r.addSeen))
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return r
}

func hear[T any](add func(T)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		var what T
		if err := json.NewDecoder(req.Body).Decode(&what); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		add(what)
	}
}

func (r *record) addRan(what report.Ran) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ran[what.Call] == nil {
		r.ran[what.Call] = map[string]int{}
	}
	r.ran[what.Call][what.Node]++
}

func (r *record) addAsked(what report.Asked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, what)
}

func (r *record) addSeen(what report.Seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if what.Gone {
		delete(r.seen, what.Node)
	} else {
		r.seen[what.Node] = sight{what, now}
	}
	switch one := r.isOne(now); {
	case one:
		r.apartSince = time.Time{}
	case r.apartSince.IsZero():
		r.apartSince = now
	default:
		r.apart = max(r.apart, now.Sub(r.apartSince))
	}
}

// isOne tells whether all nodes that were seen lately hang together. Who never had a link is still joining.
func (r *record) isOne(now time.Time) bool {
	links := map[string][]string{}
	for id, s := range r.seen {
		if now.Sub(s.at) > sightMost || len(s.Linked) == 0 {
			continue
		}
		links[id] = nil
	}
	for id := range links {
		for _, other := range r.seen[id].Linked {
			if _, there := links[other]; there {
				links[id] = append(links[id], other)
				links[other] = append(links[other], id)
			}
		}
	}
	reached := map[string]bool{}
	var walk func(string)
	walk = func(id string) {
		if !reached[id] {
			reached[id] = true
			for _, other := range links[id] {
				walk(other)
			}
		}
	}
	for id := range links {
		walk(id)
		break
	}
	return len(reached) == len(links)
}

// forgetApart begins anew to look for times in which the nodes were not one component.
func (r *record) forgetApart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apart, r.apartSince = 0, time.Time{}
}

// hasRun wants a run of this call.
func (r *record) hasRun(call string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ran[call]) == 0 {
		return fmt.Errorf("%s has not run", call)
	}
	return nil
}

// calls are those reported so far.
func (r *record) calls() []report.Asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// wantGood waits until the latest calls of both kinds, begun from now on, were answered by all of these. Nobody else is asked but
// who is known to be down or to have left.
func (r *record) wantGood(w *world, what string, pods []string) {
	r.t.Helper()
	from := time.Now()
	w.await(what, func() error {
		good := map[string]bool{}
		var last error
		for _, a := range r.calls() {
			if a.At.Before(from) {
				continue
			}
			err := wantAnswered(a, pods)
			good[a.Kind] = err == nil
			last = err
		}
		if good["multicall"] && good["abcast"] {
			return nil
		}
		return fmt.Errorf("the last call: %w", last)
	})
}

func wantAnswered(a report.Asked, pods []string) error {
	rows := map[string]string{}
	for _, v := range a.Verdicts {
		if gone := v.Verdict == "down" || v.Verdict == "left"; !gone || slices.Contains(pods, v.Name) {
			rows[v.Name] = v.Verdict + " " + v.Reason
		}
		if good(v) {
			rows[v.Name] = "answered"
		}
	}
	return wantAll(rows, "answered", pods)
}

// good tells whether a verdict says that the node did what was asked.
func good(v report.Verdict) bool { return v.Verdict == "replied" || v.Verdict == "delivered" }

// judge holds the record to what is promised of every call: one verdict a node, each with its reason; who replied ran it, once;
// who is said not to have run it did not; and what a node has accepted it answers, but for these verdicts, of calls that a fault
// met. It prints how often each verdict was given.
func (r *record) judge(faulty ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	counts, kinds, wrong := map[string]int{}, map[string]int{}, 0
	complain := func(a report.Asked, v report.Verdict, what string) {
		if wrong++; wrong <= 20 {
			r.t.Errorf("%s: %s: %+v", a.Call, what, v)
		}
	}
	for _, a := range r.asked {
		kinds[a.Kind]++
		if a.Err != "" {
			complain(a, report.Verdict{}, "could not be made: "+a.Err)
		}
		told := map[string]bool{}
		for _, v := range slices.Concat(a.Verdicts, a.Extra) {
			runs := r.ran[a.Call][v.Node]
			reason, _, _ := strings.Cut(v.Reason, " by ") // and not by whom
			counts[fmt.Sprintf("%-13s executed %-5s %-8s %s", v.Verdict, v.Executed, v.Stage, reason)]++
			switch {
			case told[v.Node]:
				complain(a, v, "a second verdict")
			case runs > 1:
				complain(a, v, fmt.Sprintf("it ran %d times", runs))
			case v.Executed == "no" && runs > 0:
				complain(a, v, "it is said not to have run, and did")
			case good(v) && runs != 1:
				complain(a, v, "it replied without having run")
			case !good(v) && v.Reason == "":
				complain(a, v, "nobody says why")
			case !good(v) && v.Executed != "no" && !slices.Contains(faulty, v.Verdict) && (v.Stage == "received" || v.Stage == "started" || v.Stage == "finished"):
				complain(a, v, "it was accepted, and lost")
			}
			told[v.Node] = true
		}
		for node := range r.ran[a.Call] {
			if !told[node] { // it came while the call was under way
				counts["ran without having been asked"]++
			}
		}
	}
	r.t.Logf("%d multicalls, %d abcasts and %d farewells:", kinds["multicall"], kinds["abcast"], kinds["farewell"])
	for _, line := range slices.Sorted(maps.Keys(counts)) {
		r.t.Logf("%7d × %s", counts[line], line)
	}
	r.t.Logf("longest time in which the links seen were not one component: %v", r.apart.Round(time.Millisecond))
	if wrong > 0 {
		r.t.Errorf("%d promises were broken", wrong)
	}
}
