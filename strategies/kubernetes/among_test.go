package kubernetes

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/starlingmesh/starling/discovery"
)

// hub is a cluster whose broadcasts all arrive.
type hub struct {
	mu    sync.Mutex // guards the rest
	hears map[string]func(string, []byte)
	lives []string
}

type spoke struct {
	*hub
	id string
}

func (s *spoke) Self() string { return s.id }

func (s *spoke) Members() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{s.id}, s.lives...)
}

func (s *spoke) Join(channel string, hear func(string, []byte)) (say func([]byte), leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hears[channel+s.id] = hear
	say = func(data []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, id := range s.lives {
			if other := s.hears[channel+id]; other != nil && id != s.id {
				other(s.id, data)
			}
		}
	}
	return say, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hears, channel+s.id)
	}
}

// start runs a node with a strategy; stop ends it, for the others too.
func (h *hub) start(t *testing.T, c Config, id string) (l *listener, stop func()) {
	t.Helper()
	k, err := New(c, &spoke{h, id}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l = &listener{t: t, news: make(chan struct{}, 1), know: map[string]discovery.Candidate{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Run(ctx, l); err != nil {
			l.Fail(err)
		}
	}()
	stop = func() {
		h.mu.Lock()
		for i, other := range h.lives {
			if other == id {
				h.lives = append(h.lives[:i:i], h.lives[i+1:]...)
				break
			}
		}
		h.mu.Unlock()
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return l, stop
}

func TestTwoWatchForTwelveAndWhenOneDiesNobodyMissesAThing(t *testing.T) {
	s := newServer(t)
	var addrs, want []string
	for i := range 12 {
		addrs = append(addrs, ip(i))
		want = append(want, ip(i)+":7827")
	}
	s.apply(sliceOf("cart-a", addrs...))
	c := s.config(EndpointSlices)
	c.Watchers = "2"
	h := &hub{hears: map[string]func(string, []byte){}}
	nodes, stops := map[string]*listener{}, map[string]func(){}
	for i := range 12 {
		id := fmt.Sprint("node-", i)
		nodes[id], stops[id] = h.start(t, c, id)
	}
	for _, l := range nodes {
		l.waitFor(want...) // each has listed, alone as it is
	}
	h.mu.Lock()
	for id := range nodes {
		h.lives = append(h.lives, id)
	}
	h.mu.Unlock()
	waitUntil(t, "two watches", func() bool { return s.watches() == 2 })

	more := func(i int) {
		s.apply(sliceOf(fmt.Sprint("cart-", i), ip(i)))
		want = append(want, ip(i)+":7827")
		for id, l := range nodes {
			if stops[id] != nil {
				l.waitFor(want...)
			}
		}
	}
	more(20)
	for id, l := range nodes {
		l.mu.Lock()
		watches := len(l.failures) > 0
		l.mu.Unlock()
		if watches {
			t.Errorf("%s: %v", id, l.failures)
		}
	}
	for id := range nodes { // whoever it is, two others watch
		stops[id]()
		stops[id] = nil
		more(30 + len(want))
		if len(want) > 16 {
			break
		}
	}
	waitUntil(t, "two watches", func() bool { return s.watches() == 2 })
	s.apply(sliceOf("cart-20"))
	for id, l := range nodes {
		if stops[id] != nil {
			l.wait("the one that went to be withdrawn", func() bool { _, there := l.know["uid-"+ip(20)]; return !there })
		}
	}
}
