package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/starlingmesh/starling/discovery"
)

// watcher keeps a picture up to date: one Reflector (client-go's: list, watch,
// bookmarks, and a new list after 410) for each namespace.
type watcher struct {
	cfg    *Config
	kind   kind
	client *rest.RESTClient
	news   chan struct{} // capacity 1: something changed
	calls  calls

	mu      sync.Mutex // guards the rest
	pic     *picture
	scopes  []scope
	full    bool   // the whole picture is to be told
	failed  error  // the latest failure not told yet
	version uint64 // the latest resource version that was seen
}

// scope is a namespace that is watched.
type scope struct {
	namespace string
	synced    bool  // it has been listed
	streamed  bool  // the list comes by the watch that goes on after it
	trouble   error // why it is not watched now; nil while it is
}

func newWatcher(cfg *Config, a *api, namespaces []string, names naming) (*watcher, error) {
	kind := kinds[cfg.Resource]
	client, err := a.client(kind.version)
	if err != nil {
		return nil, err
	}
	w := &watcher{cfg: cfg, kind: kind, client: client, news: make(chan struct{}, 1), pic: newPicture(cfg, names)}
	for _, ns := range namespaces {
		w.scopes = append(w.scopes, scope{namespace: ns})
	}
	return w, nil
}

// run watches until ctx ends; nothing of it is left then.
func (w *watcher) run(ctx context.Context) {
	// client-go's own log repeats what is reported to the sink.
	ctx = klog.NewContext(ctx, klog.Logger{})
	var wg sync.WaitGroup
	for i := range w.scopes {
		wg.Go(func() { w.reflect(ctx, i) })
	}
	wg.Wait()
	w.calls.end() // a list that nobody waited for any longer
}

// reflect mirrors one scope. Between two attempts it waits 0.8 s, doubling to
// 30 s, and up to as much again by chance; 2 minutes of peace forgive.
func (w *watcher) reflect(ctx context.Context, at int) {
	r := cache.NewReflectorWithOptions(w.listWatch(at), w.kind.sample, &shelf{w: w, at: at}, cache.ReflectorOptions{
		Name: "starling", ResyncPeriod: w.cfg.Resync,
	})
	delay := wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 6, Cap: 30 * time.Second}.
		DelayWithReset(&clock.RealClock{}, 2*time.Minute)
	for {
		if err := r.ListAndWatchWithContext(ctx); err != nil && ctx.Err() == nil && !harmless(err) {
			w.fail(at, err)
		}
		timer := time.NewTimer(delay())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// calls are the lists under way. One may begin when nobody waits for it any
// more, so beginning and ending exclude each other.
type calls struct {
	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup
}

// begin tells whether a list may begin; then it ends with running.Done.
func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.running.Add(1)
	}
	return !c.ended
}

// end waits for those that run, and lets no other begin.
func (c *calls) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.running.Wait()
}

// harmless are the ordinary ends of a watch: what follows is another.
func harmless(err error) bool {
	return errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}

// listWatch asks the API server. Its answers tell whether a scope is watched.
func (w *watcher) listWatch(at int) *cache.ListWatch {
	request := func(opts metav1.ListOptions) *rest.Request {
		opts.LabelSelector, opts.FieldSelector = w.cfg.labelSelector(), w.cfg.fieldSelector()
		return w.client.Get().Namespace(apiNamespace(w.scopes[at].namespace)).Resource(w.cfg.Resource).
			VersionedParams(&opts, parameters)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			w.listing(at)
			if !w.calls.begin() { // the reflector does not wait for a list when its context ends
				return nil, context.Canceled
			}
			defer w.calls.running.Done()
			ctx, cancel := patience(ctx)
			defer cancel()
			list := w.kind.list()
			return list, request(opts).Do(ctx).Into(list)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			opts.Watch = true
			stream, err := request(opts).Watch(ctx)
			switch {
			case err == nil:
				w.watching(at, opts.SendInitialEvents != nil)
			case utilnet.IsConnectionRefused(err), apierrors.IsTooManyRequests(err):
				w.fail(at, err) // the reflector tries again without a word
			}
			return stream, err
		},
	}
}

// watching notes that a watch of a scope was opened. One that streams the list
// first is worth nothing before the list has come.
func (w *watcher) watching(at int, streamed bool) {
	w.mu.Lock()
	w.scopes[at].streamed = streamed
	if !streamed {
		w.well(at)
	}
	w.mu.Unlock()
	w.wake()
}

func (w *watcher) listing(at int) {
	w.mu.Lock()
	w.scopes[at].streamed = false
	w.mu.Unlock()
}

// well needs mu.
func (w *watcher) well(at int) {
	if s := &w.scopes[at]; s.trouble != nil {
		s.trouble = nil
		w.full = true // nothing may have changed, and that is news
	}
}

// fail notes that a scope cannot be watched. What it showed before stays.
func (w *watcher) fail(at int, err error) {
	w.mu.Lock()
	s := &w.scopes[at]
	err = fmt.Errorf("watch %s in namespace %s: %w", w.cfg.Resource, s.namespace, err)
	s.trouble, w.failed = err, err
	w.mu.Unlock()
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// state is what there is to tell.
type state struct {
	failed  error // since the last look
	trouble error // of some scope, at present
	synced  bool  // all scopes have been listed
	full    bool
	changed bool
}

// look returns the state.
func (w *watcher) look() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := state{failed: w.failed, trouble: w.trouble(), synced: true, full: w.full, changed: len(w.pic.changed) > 0}
	for i := range w.scopes {
		st.synced = st.synced && w.scopes[i].synced
	}
	w.failed = nil
	return st
}

// reached needs mu. Versions of all kinds of objects can be compared, since 1.35
// officially (KEP-5504). 0 stands for one that is no number.
func (w *watcher) reached(version string) {
	n, _ := strconv.ParseUint(version, 10, 64)
	w.version = max(w.version, n)
}

func (w *watcher) reachedVersion() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

// trouble needs mu.
func (w *watcher) trouble() error {
	for i := range w.scopes {
		if err := w.scopes[i].trouble; err != nil {
			return err
		}
	}
	return nil
}

// all returns the whole picture, if all of it is known and watched.
func (w *watcher) all() (cands []discovery.Candidate, skipped []discovery.Skipped, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.scopes {
		if s := &w.scopes[i]; !s.synced || s.trouble != nil {
			return nil, nil, false
		}
	}
	cands, skipped = w.pic.all()
	clear(w.pic.changed)
	w.full = false
	return cands, skipped, true
}

// list asks once for all there is, of the API server's cache.
func (w *watcher) list(ctx context.Context) error {
	for i := range w.scopes {
		list, err := w.listWatch(i).ListWithContextFunc(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return fmt.Errorf("list %s in namespace %s: %w", w.cfg.Resource, w.scopes[i].namespace, err)
		}
		var items []any
		if err := meta.EachListItem(list, func(o runtime.Object) error {
			items = append(items, o)
			return nil
		}); err != nil {
			return fmt.Errorf("read the list of %s: %w", w.cfg.Resource, err)
		}
		m, err := meta.ListAccessor(list)
		if err != nil {
			return fmt.Errorf("read the list of %s: %w", w.cfg.Resource, err)
		}
		if err := (&shelf{w: w, at: i}).Replace(items, m.GetResourceVersion()); err != nil {
			return err
		}
	}
	return nil
}

// shelf is where a reflector puts what it sees.
type shelf struct {
	w  *watcher
	at int
}

func (s *shelf) key(m metav1.Object) string {
	return strconv.Itoa(s.at) + "/" + m.GetNamespace() + "/" + m.GetName()
}

// Add is the reflector's.
func (s *shelf) Add(obj any) error { return s.Update(obj) }

// Update is the reflector's.
func (s *shelf) Update(obj any) error {
	s.w.mu.Lock()
	s.put(obj)
	s.w.mu.Unlock()
	s.w.wake()
	return nil
}

// put needs mu. It returns the object's key.
func (s *shelf) put(obj any) string {
	o, ok := obj.(object)
	if !ok {
		panic(fmt.Sprintf("kubernetes: the reflector brought a %T", obj))
	}
	key := s.key(o)
	s.w.pic.put(key, o.endpoints(s.w.cfg))
	s.w.reached(o.GetResourceVersion())
	return key
}

// object is a slice or a pod.
type object interface {
	metav1.Object
	endpoints(c *Config) []endpoint
}

// Delete is the reflector's.
func (s *shelf) Delete(obj any) error {
	m, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("deleted object of type %T", obj)
	}
	s.w.mu.Lock()
	s.w.pic.drop(s.key(m))
	s.w.reached(m.GetResourceVersion())
	s.w.mu.Unlock()
	s.w.wake()
	return nil
}

// Replace is the reflector's: a list is the whole truth about the scope.
func (s *shelf) Replace(list []any, version string) error {
	s.w.mu.Lock()
	s.w.reached(version)
	there := make(map[string]bool, len(list))
	for _, obj := range list {
		there[s.put(obj)] = true
	}
	s.w.pic.keep(strconv.Itoa(s.at)+"/", there)
	s.w.scopes[s.at].synced = true
	s.w.full = true
	if s.w.scopes[s.at].streamed {
		s.w.well(s.at)
	}
	s.w.mu.Unlock()
	s.w.wake()
	return nil
}

// Resync is the reflector's.
func (s *shelf) Resync() error {
	s.w.mu.Lock()
	s.w.full = true
	s.w.mu.Unlock()
	s.w.wake()
	return nil
}
