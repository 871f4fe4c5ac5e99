package kubernetes

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
)

func TestSlicesKeepTheContract(t *testing.T) {
	contract(t, EndpointSlices, func(s *server, addrs []string) {
		// Two slices, as the controller makes when one is full.
		half := len(addrs) / 2
		s.apply(sliceOf("cart-a", ips(addrs[:half])...), sliceOf("cart-b", ips(addrs[half:])...))
	})
}

func TestPodsKeepTheContract(t *testing.T) {
	contract(t, Pods, func(s *server, addrs []string) {
		for _, ip := range ips(addrs) {
			s.apply(podAt("cart-"+strings.ReplaceAll(ip, ".", "-"), ip))
		}
	})
}

func contract(t *testing.T, resource string, set func(*server, []string)) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		s := newServer(t)
		c := s.config(resource)
		c.Port = "7000"
		k := mustNew(t, c, nil)
		ways := []func(*http.Request) (int, metav1.StatusReason){
			always(http.StatusForbidden, metav1.StatusReasonForbidden),
			always(http.StatusInternalServerError, metav1.StatusReasonInternalError),
			always(http.StatusUnauthorized, metav1.StatusReasonUnauthorized),
			always(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests),
		}
		return discoverytest.Harness{
			Strategy: k, Refresh: k.Refresh,
			Set:       func(addrs ...string) { set(s, addrs) },
			BreakWays: len(ways), Break: func(way int) { s.fail(ways[way]) }, Mend: func() { s.fail(nil) },
		}
	})
}

func ips(addrs []string) []string {
	var list []string
	for _, a := range addrs {
		host, _, _ := net.SplitHostPort(a)
		list = append(list, host)
	}
	return list
}

func (s *server) config(resource string) Config {
	c := Default()
	c.Resource, c.Port, c.Kubeconfig = resource, "starling", s.kubeconfig()
	if resource == Pods {
		c.LabelSelector = "app=cart"
	} else {
		c.Services = []string{"cart"}
	}
	return c
}

func mustNew(t *testing.T, c Config, log *slog.Logger) *Kubernetes {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	k, err := New(c, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// listener is a sink that remembers, and a source that runs.
type listener struct {
	t    *testing.T
	news chan struct{} // capacity 1

	mu       sync.Mutex // guards the rest
	know     map[string]discovery.Candidate
	skipped  []discovery.Skipped
	wholes   int
	failures []error
	lost     []string // keys that a whole picture lacked, or a delta withdrew
}

// listen runs k until the test ends.
func listen(t *testing.T, k *Kubernetes) *listener {
	t.Helper()
	l := &listener{t: t, news: make(chan struct{}, 1), know: map[string]discovery.Candidate{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Run(ctx, l); err != nil {
			l.Fail(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *listener) Observe(o discovery.Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var cands []discovery.Candidate
	switch o := o.(type) {
	case discovery.Complete:
		cands, l.skipped = o.Candidates, o.Skipped
		l.wholes++
		for key := range l.know {
			if !slices.ContainsFunc(cands, func(c discovery.Candidate) bool { return c.Key == key }) {
				delete(l.know, key)
				l.lost = append(l.lost, key)
			}
		}
	case discovery.Partial:
		cands = o.Candidates
	case discovery.Delta:
		cands = o.Upserts
		for _, key := range o.Withdrawn {
			delete(l.know, key)
			l.lost = append(l.lost, key)
		}
	}
	for _, c := range cands {
		l.know[c.Key] = c
	}
	l.tell()
}

func (l *listener) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, err)
	l.tell()
}

func (l *listener) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// wait waits until ok, which is called with mu held.
func (l *listener) wait(what string, ok func() bool) {
	l.t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for {
		l.mu.Lock()
		done := ok()
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-l.news:
		case <-late.C:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("waited in vain for %s; know %v, skipped %v, failures %v", what, l.know, l.skipped, l.failures)
		}
	}
}

func (l *listener) waitFor(addrs ...string) {
	l.t.Helper()
	l.wait(strings.Join(addrs, " "), func() bool {
		if len(l.know) != len(addrs) {
			return false
		}
		for _, c := range l.know {
			if !slices.Contains(addrs, strings.Join(c.Addrs, " ")) {
				return false
			}
		}
		return true
	})
}

func (l *listener) waitForFailure(class discovery.Class, text string) {
	l.t.Helper()
	l.wait("a failure: "+text, func() bool {
		return slices.ContainsFunc(l.failures, func(err error) bool {
			return discovery.ClassOf(err) == class && strings.Contains(err.Error(), text)
		})
	})
}

func (l *listener) wantNobodyLost() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lost) > 0 {
		l.t.Errorf("withdrawn: %v", l.lost)
	}
}

func TestAForbiddenWatchLosesNoPeerAndSaysOnceWhichRoleIsMissing(t *testing.T) {
	s := newServer(t)
	s.apply(sliceOf("cart-a", ip(1), ip(2)))
	var logged strings.Builder
	l := listen(t, mustNew(t, s.config(EndpointSlices), slog.New(slog.NewTextHandler(&logged, nil))))
	l.waitFor("10.5.0.2:7827", "10.5.0.3:7827")
	s.fail(always(http.StatusForbidden, metav1.StatusReasonForbidden))
	l.waitForFailure(discovery.Auth, "cannot list")
	l.wait("a second refusal", func() bool { return len(l.failures) > 1 })
	role := MissingRole(l.failures[0])
	for _, line := range []string{"kind: Role\n", "namespace: shop}", `apiGroups: ["discovery.k8s.io"]`, "resources: [endpointslices]", "verbs: [get, list, watch]", "name: cart, namespace: shop"} {
		if !strings.Contains(role, line) {
			t.Errorf("the Role lacks %q:\n%s", line, role)
		}
	}
	if n := strings.Count(logged.String(), "RoleBinding"); n != 1 {
		t.Errorf("the Role was logged %d times", n)
	}
	s.fail(nil)
	l.wait("recovery", func() bool { return l.wholes > 1 })
	l.wantNobodyLost()
}

func TestGoneIsFollowedByANewListThatLosesNobody(t *testing.T) {
	s := newServer(t)
	s.apply(sliceOf("cart-a", ip(1)), sliceOf("cart-b", ip(2)))
	l := listen(t, mustNew(t, s.config(EndpointSlices), nil))
	l.waitFor("10.5.0.2:7827", "10.5.0.3:7827")
	s.apply(sliceOf("cart-a", ip(1), ip(3)))
	s.compact()
	l.waitFor("10.5.0.2:7827", "10.5.0.3:7827", "10.5.0.4:7827")
	s.apply(sliceOf("cart-b", ip(2), ip(4)))
	l.waitFor("10.5.0.2:7827", "10.5.0.3:7827", "10.5.0.4:7827", "10.5.0.5:7827")
	l.wantNobodyLost()
	if n := len(l.failures); n > 0 {
		t.Errorf("410 was told as a failure: %v", l.failures)
	}
}

func TestWhatHappensWhileTheServerIsAwayIsNotMissed(t *testing.T) {
	s := newServer(t)
	s.apply(sliceOf("cart-a", ip(1), ip(2)))
	l := listen(t, mustNew(t, s.config(EndpointSlices), nil))
	l.waitFor("10.5.0.2:7827", "10.5.0.3:7827")
	s.fail(always(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable))
	l.wait("a failure", func() bool { return len(l.failures) > 0 })
	l.wantNobodyLost()
	s.apply(sliceOf("cart-a", ip(2), ip(3)))
	s.fail(nil)
	l.waitFor("10.5.0.3:7827", "10.5.0.4:7827")
}

func TestAServerWithoutStreamedListsIsListed(t *testing.T) {
	s := newServer(t)
	s.noStream = true
	s.apply(sliceOf("cart-a", ip(1)))
	l := listen(t, mustNew(t, s.config(EndpointSlices), nil))
	l.waitFor("10.5.0.2:7827")
	s.apply(sliceOf("cart-b", ip(2)))
	l.waitFor("10.5.0.2:7827", "10.5.0.3:7827")
	if got := s.requests(); len(got) < 3 || got[0] != "stream " || got[1] != "list 0" || !strings.HasPrefix(got[2], "watch ") {
		t.Errorf("requests were %q", got)
	}
	if len(l.failures) > 0 {
		t.Errorf("an older server is no failure: %v", l.failures)
	}
}

func TestABookmarkIsWhereAWatchGoesOn(t *testing.T) {
	s := newServer(t)
	s.apply(sliceOf("cart-a", ip(1)))
	l := listen(t, mustNew(t, s.config(EndpointSlices), nil))
	l.waitFor("10.5.0.2:7827")
	other := sliceOf("pay-a", ip(7))
	other.Labels[labelService] = "pay"
	s.apply(other, other, other) // another Service: all that comes is a bookmark
	l.cutUntil(s, "stream 14")
	l.wantNobodyLost()
}

// cutUntil cuts the watches until the server is asked for something.
func (l *listener) cutUntil(s *server, want string) {
	l.t.Helper()
	waitUntil(l.t, want, func() bool {
		s.cut()
		return slices.Contains(s.requests(), want)
	})
}

// waitUntil looks again and again.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-late:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestOneNamespaceThatIsForbiddenDoesNotHideTheOther(t *testing.T) {
	s := newServer(t)
	s.apply(sliceOf("cart-a", ip(1)))
	s.fail(func(r *http.Request) (int, metav1.StatusReason) {
		if strings.Contains(r.URL.Path, "/namespaces/secret/") {
			return http.StatusForbidden, metav1.StatusReasonForbidden
		}
		return 0, ""
	})
	c := s.config(EndpointSlices)
	c.Namespaces = []string{"shop", "secret"}
	l := listen(t, mustNew(t, c, nil))
	l.waitForFailure(discovery.Auth, "namespace secret")
	l.waitFor("10.5.0.2:7827")
	if l.wholes > 0 {
		t.Error("half of what was asked for was told as the whole")
	}
}

func TestAStatefulSetsPodWithANewAddressIsTheSamePodUnderItsName(t *testing.T) {
	s := newServer(t)
	s.apply(podAt("cart-0", "10.5.0.1"))
	c := s.config(Pods)
	c.Address, c.ClusterDomain = hostname, "example.org"
	l := listen(t, mustNew(t, c, nil))
	l.waitFor("cart-0.cart.shop.svc.example.org:7827")
	again := podAt("cart-0", "10.5.0.77")
	again.UID = types.UID("another")
	s.remove("shop/cart-0")
	s.apply(again)
	l.wait("the new pod", func() bool { return l.know["another"].Key != "" && len(l.know) == 1 })
}

func TestATerminatingPodIsTheLastToHearAndGetsNoContacts(t *testing.T) {
	s := newServer(t)
	s.apply(podAt("cart-0", "10.5.0.1"), podAt("cart-1", "10.5.0.2"))
	l := listen(t, mustNew(t, s.config(Pods), nil))
	l.waitFor("10.5.0.1:7827", "10.5.0.2:7827")
	s.apply(deleted(podAt("cart-1", "10.5.0.2")))
	l.wait("the news", func() bool { return l.know["uid-cart-1"].Terminating == discovery.Yes })
	l.waitFor("10.5.0.1:7827")
	if l.skipped[0].What != "shop/cart-1" || l.skipped[0].Why != "it is terminating" {
		t.Errorf("skipped %v", l.skipped)
	}
}

func TestRefreshTellsThePictureAgainAndAsksNobody(t *testing.T) {
	s := newServer(t)
	s.apply(sliceOf("cart-a", ip(1)))
	k := mustNew(t, s.config(EndpointSlices), nil)
	l := listen(t, k)
	l.waitFor("10.5.0.2:7827")
	before := len(s.requests())
	for want := l.wholes + 1; want < 5; want++ {
		k.Refresh()
		l.wait("the picture", func() bool { return l.wholes >= want })
	}
	if after := len(s.requests()); after != before {
		t.Errorf("%d requests for five refreshes", after-before)
	}
}
