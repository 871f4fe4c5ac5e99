package kubernetes

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
)

// server is an API server as far as this package asks one: lists, watches with
// bookmarks and streamed lists, protobuf, label selectors, 410, and the ways in
// which a real one fails. It encodes the real types of k8s.io/api.
type server struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex // guards the rest
	changed   chan struct{}
	version   int
	objects   map[string]runtime.Object // by namespace/name
	history   []change
	compacted int // versions up to this one are gone
	cuts      int // watches of an earlier cut are over
	streams   int // open watches
	noStream  bool
	refuse    func(r *http.Request) (code int, reason metav1.StatusReason)
	asked     []string // "list 0", "watch 12", "stream 12"
}

type change struct {
	version int
	typ     watch.EventType
	object  runtime.Object
}

var testScheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{discoveryv1.AddToScheme, corev1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, changed: make(chan struct{}), version: 10, objects: map[string]runtime.Object{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.change(func() { s.cuts++ })
		s.Close()
	})
	return s
}

// change does f under the lock and wakes the watches.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// apply creates or changes objects.
func (s *server) apply(objs ...runtime.Object) {
	s.change(func() {
		for _, o := range objs {
			s.version++
			m := accessor(o)
			m.SetResourceVersion(strconv.Itoa(s.version))
			name := m.GetNamespace() + "/" + m.GetName()
			typ := watch.Modified
			if s.objects[name] == nil {
				typ = watch.Added
			}
			s.objects[name] = o.DeepCopyObject()
			s.history = append(s.history, change{s.version, typ, o.DeepCopyObject()})
		}
	})
}

func (s *server) remove(names ...string) {
	s.change(func() {
		for _, name := range names {
			if o := s.objects[name]; o != nil {
				s.version++
				accessor(o).SetResourceVersion(strconv.Itoa(s.version))
				s.history = append(s.history, change{s.version, watch.Deleted, o})
				delete(s.objects, name)
			}
		}
	})
}

// cut ends all watches.
func (s *server) cut() { s.change(func() { s.cuts++ }) }

// compact forgets the past: who watches from it is told that it is gone.
func (s *server) compact() {
	s.change(func() {
		s.version += 1000
		s.compacted, s.history = s.version-1, nil
		s.cuts++
	})
}

// fail makes all requests fail, and ends the watches; nil ends it.
func (s *server) fail(how func(*http.Request) (int, metav1.StatusReason)) {
	s.change(func() {
		s.refuse = how
		s.cuts++
	})
}

func always(code int, reason metav1.StatusReason) func(*http.Request) (int, metav1.StatusReason) {
	return func(*http.Request) (int, metav1.StatusReason) { return code, reason }
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *server) watches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	refuse := s.refuse
	version, _ := strconv.Atoi(q.Get("resourceVersion"))
	streamed := q.Get("sendInitialEvents") == "true"
	switch {
	case streamed:
		s.asked = append(s.asked, "stream "+q.Get("resourceVersion"))
	case q.Get("watch") != "":
		s.asked = append(s.asked, "watch "+q.Get("resourceVersion"))
	default:
		s.asked = append(s.asked, "list "+q.Get("resourceVersion"))
	}
	noStream, gone := s.noStream, q.Get("watch") != "" && version > 0 && version < s.compacted
	s.mu.Unlock()
	if refuse != nil {
		if code, reason := refuse(r); code != 0 {
			s.status(w, code, reason, `User "system:serviceaccount:shop:cart" cannot list resource "endpointslices"`)
			return
		}
	}
	if !strings.Contains(r.Header.Get("Accept"), "protobuf") {
		s.t.Errorf("%s was asked for as %q, want protobuf", r.URL, r.Header.Get("Accept"))
	}
	switch {
	case streamed && noStream:
		s.status(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
	case gone:
		s.status(w, http.StatusGone, metav1.StatusReasonExpired, "too old resource version")
	case q.Get("watch") != "":
		if q.Get("allowWatchBookmarks") != "true" {
			s.t.Error("a watch came without bookmarks")
		}
		s.watch(w, r, version, streamed)
	default:
		s.list(w, r)
	}
}

func (s *server) status(w http.ResponseWriter, code int, reason metav1.StatusReason, text string) {
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	w.WriteHeader(code)
	_, _ = w.Write(s.encode(&metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: text,
	}))
}

// selected needs mu.
func (s *server) selected(r *http.Request) []runtime.Object {
	var list []runtime.Object
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if wanted(r, s.objects[name]) {
			list = append(list, s.objects[name])
		}
	}
	return list
}

func wanted(r *http.Request, o runtime.Object) bool {
	m := accessor(o)
	sel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		panic(err)
	}
	resource := EndpointSlices
	if _, isPod := o.(*corev1.Pod); isPod {
		resource = Pods
	}
	path := "/" + resource
	if parts := strings.Split(r.URL.Path, "/namespaces/"); len(parts) == 2 {
		path = "/namespaces/" + m.GetNamespace() + path
	}
	return strings.HasSuffix(r.URL.Path, path) && sel.Matches(labels.Set(m.GetLabels()))
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	var list runtime.Object = &discoveryv1.EndpointSliceList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}}
	if strings.HasSuffix(r.URL.Path, "/"+Pods) {
		list = &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}}
	}
	if err := meta.SetList(list, s.selected(r)); err != nil {
		panic(err)
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	_, _ = w.Write(s.encode(list))
}

// watch streams the changes after a version, or first everything there is.
func (s *server) watch(w http.ResponseWriter, r *http.Request, version int, streamed bool) {
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	frames := protobuf.LengthDelimitedFramer.NewFrameWriter(w)
	send := func(typ watch.EventType, o runtime.Object) {
		event := &metav1.WatchEvent{Type: string(typ), Object: runtime.RawExtension{Raw: s.encode(o)}}
		data, err := event.Marshal()
		if err != nil {
			panic(err)
		}
		_, _ = frames.Write(data) // the client may be gone
	}
	s.mu.Lock()
	cut := s.cuts
	s.streams++
	if streamed {
		for _, o := range s.selected(r) {
			send(watch.Added, o)
		}
		version = s.version
		send(watch.Bookmark, s.bookmark(r, version, true))
	}
	for s.cuts == cut {
		told := version
		for _, c := range s.history {
			if c.version > version && wanted(r, c.object) {
				send(c.typ, c.object)
				told = c.version
			}
		}
		if s.version > told { // it all happened elsewhere
			send(watch.Bookmark, s.bookmark(r, s.version, false))
		}
		version = s.version
		changed := s.changed
		s.mu.Unlock()
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-changed:
		}
		s.mu.Lock()
		if r.Context().Err() != nil {
			break
		}
	}
	s.streams--
	s.mu.Unlock()
}

func (s *server) bookmark(r *http.Request, version int, end bool) runtime.Object {
	var o runtime.Object = &discoveryv1.EndpointSlice{}
	if strings.HasSuffix(r.URL.Path, "/"+Pods) {
		o = &corev1.Pod{}
	}
	m := accessor(o)
	m.SetResourceVersion(strconv.Itoa(version))
	if end {
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return o
}

func (s *server) encode(o runtime.Object) []byte {
	if gvks, _, err := testScheme.ObjectKinds(o); err == nil {
		o.GetObjectKind().SetGroupVersionKind(gvks[0])
	}
	var b bytes.Buffer
	if err := protobuf.NewSerializer(testScheme, testScheme).Encode(o, &b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func accessor(o runtime.Object) metav1.Object {
	m, err := meta.Accessor(o)
	if err != nil {
		panic(err)
	}
	return m
}

// kubeconfig is a file that leads to the server.
func (s *server) kubeconfig() string { return writeKubeconfig(s.t, "server: "+s.URL, "token: sesame") }

func writeKubeconfig(t *testing.T, cluster, user string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: x,
 clusters: [{name: c, cluster: {%s}}], users: [{name: u, user: {%s}}],
 contexts: [{name: x, context: {cluster: c, user: u, namespace: shop}}]}`, cluster, user)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
