package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// watcher keeps a picture up to date: one Reflector (client-go's: list, watch,
// bookmarks, and a new list after 410) for each namespace.
type watcher struct {
	cfg    *Config
	client *rest.RESTClient
	news   chan struct{} // capacity 1: something changed
	calls  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	pic    *picture
	scopes []scope
	full   bool  // the whole picture is to be told
	failed error // the latest failure not told yet
}

// scope is a namespace that is watched.
type scope struct {
	namespace string
	synced    bool  // it has been listed
	streaming bool  // the list comes by a watch, which goes on after it
	trouble   error // why it is not watched now; nil while it is
}

func newWatcher(cfg *Config, a *api, namespaces []string, names naming) (*watcher, error) {
	gv := discoveryv1.SchemeGroupVersion
	if cfg.Resource == Pods {
		gv = corev1.SchemeGroupVersion
	}
	client, err := a.client(gv)
	if err != nil {
		return nil, err
	}
	w := &watcher{cfg: cfg, client: client, news: make(chan struct{}, 1), pic: newPicture(cfg, names)}
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
	w.calls.Wait() // a list that nobody waited for any longer
}

// reflect mirrors one scope. Between two attempts it waits 0.8 s, doubling to
// 30 s, and up to as much again by chance; 2 minutes of peace forgive.
func (w *watcher) reflect(ctx context.Context, at int) {
	var sample runtime.Object = &discoveryv1.EndpointSlice{}
	if w.cfg.Resource == Pods {
		sample = &corev1.Pod{}
	}
	r := cache.NewReflectorWithOptions(w.listWatch(at), sample, &shelf{w: w, at: at}, cache.ReflectorOptions{
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
			w.calls.Add(1) // the reflector does not wait for a list when its context ends
			defer w.calls.Done()
			w.streams(at, false)
			ctx, cancel := patience(ctx)
			defer cancel()
			var list runtime.Object = &discoveryv1.EndpointSliceList{}
			if w.cfg.Resource == Pods {
				list = &corev1.PodList{}
			}
			return list, request(opts).Do(ctx).Into(list)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			opts.Watch = true
			stream, err := request(opts).Watch(ctx)
			switch {
			case err == nil && opts.SendInitialEvents != nil:
				w.streams(at, true) // watched once the list is whole: see Replace
			case err == nil:
				w.well(at)
			case utilnet.IsConnectionRefused(err), apierrors.IsTooManyRequests(err):
				w.fail(at, err) // the reflector tries again without a word
			}
			return stream, err
		},
	}
}

// streams notes how the next list of a scope comes.
func (w *watcher) streams(at int, yes bool) {
	w.mu.Lock()
	w.scopes[at].streaming = yes
	w.mu.Unlock()
}

// well notes that a scope is watched.
func (w *watcher) well(at int) {
	w.mu.Lock()
	if s := &w.scopes[at]; s.trouble != nil {
		s.trouble = nil
		w.full = true // nothing may have changed, and that is news
	}
	w.mu.Unlock()
	w.wake()
}

// fail notes that a scope cannot be watched. What it showed before stays.
func (w *watcher) fail(at int, err error) {
	s := &w.scopes[at]
	verb := "watch"
	if !s.synced {
		verb = "list"
	}
	err = fmt.Errorf("%s %s in namespace %s: %w", verb, w.cfg.Resource, s.namespace, err)
	w.mu.Lock()
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
	failed  error // new failure
	trouble error // of some scope, at present
	synced  bool  // all scopes have been listed
	full    bool
	changed bool
}

// look returns the state and clears its news.
func (w *watcher) look() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := state{failed: w.failed, synced: true, full: w.full, changed: len(w.pic.changed) > 0}
	for i := range w.scopes {
		st.synced = st.synced && w.scopes[i].synced
		if st.trouble == nil {
			st.trouble = w.scopes[i].trouble
		}
	}
	w.failed = nil
	return st
}

// shelf is where a reflector puts what it sees.
type shelf struct {
	w  *watcher
	at int
}

var _ cache.TransformingStore = (*shelf)(nil)

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
	switch o := obj.(type) {
	case *discoveryv1.EndpointSlice:
		key := s.key(o)
		s.w.pic.put(key, readSlice(o, s.w.cfg))
		return key
	case *corev1.Pod:
		key := s.key(o)
		if e, ok := readPod(o, s.w.cfg); ok {
			s.w.pic.put(key, []endpoint{e})
		} else {
			s.w.pic.drop(key)
		}
		return key
	default:
		panic(fmt.Sprintf("kubernetes: the reflector brought a %T", obj))
	}
}

// Delete is the reflector's.
func (s *shelf) Delete(obj any) error {
	m, ok := obj.(metav1.Object)
	if !ok {
		return fmt.Errorf("deleted object of type %T", obj)
	}
	s.w.mu.Lock()
	s.w.pic.drop(s.key(m))
	s.w.mu.Unlock()
	s.w.wake()
	return nil
}

// Replace is the reflector's: a list is the whole truth about the scope.
func (s *shelf) Replace(list []any, _ string) error {
	s.w.mu.Lock()
	there := make(map[string]bool, len(list))
	for _, obj := range list {
		there[s.put(obj)] = true
	}
	s.w.pic.keep(strconv.Itoa(s.at)+"/", there)
	sc := &s.w.scopes[s.at]
	sc.synced = true
	if sc.streaming {
		sc.trouble = nil
	}
	s.w.full = true
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

// Transformer strips an object as soon as it is decoded: five thousand pods are
// held at once while the server streams its first picture.
func (s *shelf) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		switch o := obj.(type) {
		case *discoveryv1.EndpointSlice:
			o.ObjectMeta = stripMeta(&o.ObjectMeta)
		case *corev1.Pod:
			return stripPod(o), nil
		}
		return obj, nil
	}
}

func stripMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	labels := map[string]string{}
	for _, name := range []string{labelService, labelPodHash, labelCtrlHash, labelZone} {
		if v, ok := m.Labels[name]; ok {
			labels[name] = v
		}
	}
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		DeletionTimestamp: m.DeletionTimestamp, Labels: labels,
	}
}

func stripPod(p *corev1.Pod) *corev1.Pod {
	ports := func(list []corev1.Container) []corev1.Container {
		var kept []corev1.Container
		for i := range list {
			if len(list[i].Ports) > 0 {
				kept = append(kept, corev1.Container{Ports: list[i].Ports})
			}
		}
		return kept
	}
	stripped := &corev1.Pod{
		ObjectMeta: stripMeta(&p.ObjectMeta),
		Spec: corev1.PodSpec{
			Hostname: p.Spec.Hostname, Subdomain: p.Spec.Subdomain, NodeName: p.Spec.NodeName,
			Containers: ports(p.Spec.Containers), InitContainers: ports(p.Spec.InitContainers),
		},
		Status: corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			stripped.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return stripped
}
