package rpc

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// App is one application's connection: what it serves and hears, and its
// queues. Its transport calls Take whenever Ready says so, and Detach at the
// end. All methods are safe for concurrent use.
type App struct {
	svc  *Service
	name string
	uid  uint32

	ended chan struct{} // closed when it is detached

	// guarded by svc.mu
	gone    *Error // detached, and why
	methods []string
	topics  []string
	groups  []string

	box    inbox // ends of its own calls, verdicts, cancels
	calls  map[uint64]*call
	lastID uint64

	credit  int              // requests it wants open at once
	open    int              // requests handed out and not answered
	tasks   map[uint64]*task // waiting and open ones
	waiting []*task
	held    int // bytes of tasks

	events      []EventItem // waiting
	eventsBytes int
	window      int                 // bytes of events it wants unacknowledged
	unacked     int                 // handed out and not acknowledged
	missed      map[string]uint64   // by topic: dropped since the last gap told
	confirms    map[uint64]*confirm // events that want a word, by ID
}

// task is one request for an application.
type task struct {
	app      *App
	item     RequestItem
	call     proto.CallID
	size     int
	deadline time.Time
	taken    bool // handed out: from here on it may have run
	silent   bool // cancelled for good, its result is given
}

// Attach adds an application. requests and eventBytes are its credit; 0 takes
// the defaults. uid is informative.
func (s *Service) Attach(name string, uid uint32, requests, eventBytes int) (*App, *Error) {
	if len(name) > proto.MaxName {
		name = name[:proto.MaxName]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, s.refuse(ShuttingDown, "the sidecar is shutting down")
	}
	if len(s.apps) >= s.cfg.AppsMax {
		return nil, s.refuse(TooManyApplications, "%d applications are connected (api.applications_max)", len(s.apps))
	}
	if requests <= 0 {
		requests = 64
	}
	if eventBytes <= 0 {
		eventBytes = s.cfg.EventBytes
	}
	a := &App{
		svc: s, name: name, uid: uid, ended: make(chan struct{}), box: newInbox(), calls: map[uint64]*call{}, tasks: map[uint64]*task{},
		credit: min(requests, s.cfg.HandlersMax), window: min(eventBytes, s.cfg.EventBytes), missed: map[string]uint64{},
		confirms: map[uint64]*confirm{},
	}
	s.apps = append(s.apps, a)
	return a, nil
}

// Register replaces what the application serves, hears and belongs to.
func (a *App) Register(methods, topics, groups []string) *Error {
	s := a.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.gone != nil {
		return a.gone
	}
	for _, l := range []struct {
		what  string
		names []string
	}{{"methods", methods}, {"topics", topics}, {"groups", groups}} {
		if len(l.names) > namesMax {
			return s.refuse(TooManyHandlers, "%d %s: want at most %d", len(l.names), l.what, namesMax)
		}
		for _, n := range l.names {
			if bad := badName(n); bad != "" {
				return s.refuse(BadRequest, "%s: %.40q: %s", l.what, n, bad)
			}
			if l.what == "methods" && builtIn(n) {
				return s.refuse(BadRequest, "methods: %q: names with %q are built in", n, builtInPrefix)
			}
		}
	}
	oldMethods, oldTopics, oldGroups := a.methods, a.topics, a.groups
	a.set(unique(methods), unique(topics), unique(groups))
	if n, g := len(s.methods), s.groupCount(); n > proto.MaxHandlers || g > proto.MaxGroups {
		a.set(oldMethods, oldTopics, oldGroups)
		return s.refuse(TooManyHandlers, "the applications of this node would serve %d methods and join %d groups: want at most %d and %d",
			n, g, proto.MaxHandlers, proto.MaxGroups)
	}
	s.announce()
	return nil
}

func unique(names []string) []string {
	names = slices.Sorted(slices.Values(names))
	return slices.Compact(names)
}

func (a *App) set(methods, topics, groups []string) {
	reindex(a.svc.methods, a, a.methods, methods)
	reindex(a.svc.topics, a, a.topics, topics)
	a.methods, a.topics, a.groups = methods, topics, groups
}

// reindex moves the application from the old names to the new ones. Lists are
// copied: they are ranged over elsewhere while applications end.
func reindex(index map[string][]*App, a *App, old, names []string) {
	for _, n := range old {
		rest := slices.DeleteFunc(slices.Clone(index[n]), func(b *App) bool { return b == a })
		if len(rest) == 0 {
			delete(index, n)
		} else {
			index[n] = rest
		}
	}
	for _, n := range names {
		index[n] = append(slices.Clip(index[n]), a)
	}
}

func (s *Service) groupCount() int {
	all := map[string]bool{}
	for _, a := range s.apps {
		for _, g := range a.groups {
			all[g] = true
		}
	}
	return len(all)
}

// Start makes a call for the application. Its id comes back in items; it must
// not be that of an open call.
func (a *App) Start(id uint64, ask *Ask) *Error {
	s := a.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.gone != nil {
		return a.gone
	}
	if len(a.calls) >= s.cfg.AppCallsMax {
		return s.refuse(TooManyCalls, "%d calls are open in this session (api.app_calls_max): wait for answers; nothing was sent", len(a.calls))
	}
	if a.calls[id] != nil {
		return s.refuse(BadFrame, "call id %d is that of an open call", id)
	}
	c, err := s.start(ask, a, id, &a.box)
	if err != nil {
		return err
	}
	if c.app != nil { // not ended already
		a.calls[id] = c
	}
	return nil
}

// Cancel gives up a call; its end still comes.
func (a *App) Cancel(id uint64) {
	s := a.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := a.calls[id]; c != nil {
		s.mesh.Submit(proto.CancelCall{Ref: c.ref})
	}
}

// Ready has a value when Take may have something.
func (a *App) Ready() <-chan struct{} { return a.box.ready }

// Ended is closed when the application has been detached, by whomever.
func (a *App) Ended() <-chan struct{} { return a.ended }

// takeBytes bounds what one Take hands out; one large item goes alone.
const takeBytes = 512 << 10

// Take appends up to n items to dst: ends of calls first, then requests as far
// as credit goes, then events as far as their window goes. When the application
// has been ended it returns why.
func (a *App) Take(dst []Item, n int) ([]Item, *Error) {
	s := a.svc
	s.mu.Lock()
	first, bytes := len(dst), 0
	more := func() bool { return len(dst)-first < n && bytes < takeBytes }
	taken := 0
	for ; more() && taken < len(a.box.items); taken++ {
		dst = append(dst, a.box.items[taken])
		bytes += itemSize(a.box.items[taken])
	}
	a.box.bytes -= bytes
	clear(a.box.items[:taken])
	if a.box.items = a.box.items[taken:]; len(a.box.items) == 0 {
		a.box.items, a.box.bytes = nil, 0
	}
	for more() && a.open < a.credit && len(a.waiting) > 0 {
		if t := a.hand(); t != nil {
			dst = append(dst, t.item)
			bytes += t.size
		}
	}
	for more() {
		e, ok := a.nextEvent()
		if !ok {
			break
		}
		dst = append(dst, e)
		bytes += len(e.Payload.Data)
	}
	if len(dst)-first > 0 && !more() {
		a.box.wake() // there may be more
	}
	gone := a.gone
	s.mu.Unlock()
	for _, it := range dst[first:] {
		if d, ok := it.(DoneItem); ok {
			d.Answer.sort()
		}
	}
	return dst, gone
}

func itemSize(it Item) int {
	switch it := it.(type) {
	case VerdictItem:
		return len(it.Verdict.Payload.Data) + itemBytes
	case DoneItem:
		n := itemBytes
		for i := range it.Answer.Verdicts {
			n += len(it.Answer.Verdicts[i].Payload.Data)
		}
		for i := range it.Answer.Extra {
			n += len(it.Answer.Extra[i].Payload.Data)
		}
		return n
	default:
		return itemBytes
	}
}

// Reply answers a request or confirms an event. late tells that nobody waited
// for it: the request was answered, or is not one of this application's.
func (a *App) Reply(id uint64, r Reply) (late bool) {
	s := a.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := a.confirms[id]; c != nil {
		delete(a.confirms, id)
		s.confirmed(c, s.result(r))
		return false
	}
	t := a.tasks[id]
	if t == nil || !t.taken {
		s.count("dropped", "reply_to_nothing")
		return true
	}
	late = t.silent
	result := s.result(r)
	if r.Failed && (late || !time.Now().Before(t.deadline)) {
		result = gaveUp(r.Message)
	}
	s.end(t)
	if t.item.OneWay {
		return false
	}
	if late {
		s.count("dropped", "late_reply")
	}
	s.answer(t.call, result) // owed to the overlay, late or not
	return late
}

// gaveUp is what becomes of a handler's error after its time: mostly it is the news that the time is over ("context
// canceled"), which is no answer of the application's. What the handler did until then nobody knows.
func gaveUp(message string) proto.Result {
	reason := "the handler ran until the time was over, then gave up"
	if message != "" {
		reason += ": " + message
	}
	return proto.Result{Outcome: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted, Reason: reason}
}

// Consumed gives back the bytes of events that the application has consumed.
func (a *App) Consumed(bytes int) {
	s := a.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	a.unacked = max(0, a.unacked-max(bytes, 0))
	if len(a.events) > 0 || len(a.missed) > 0 {
		a.box.wake()
	}
}

// Detach ends the application: what it had is handler_gone, what still waited
// goes to another application that serves it, or is refused.
func (a *App) Detach(why *Error) {
	a.svc.mu.Lock()
	defer a.svc.mu.Unlock()
	a.svc.detach(a, why)
}

func (s *Service) detach(a *App, why *Error) {
	if a.gone != nil {
		return
	}
	a.gone = why
	close(a.ended)
	s.apps = slices.DeleteFunc(s.apps, func(b *App) bool { return b == a })
	registered := len(a.methods)+len(a.topics)+len(a.groups) > 0
	a.set(nil, nil, nil)
	for _, c := range a.calls {
		s.mesh.Submit(proto.CancelCall{Ref: c.ref})
		c.app, c.box = nil, nil
	}
	a.calls = nil
	s.orphan(a)
	a.events, a.eventsBytes, a.missed = nil, 0, nil
	a.box.items, a.box.bytes = nil, 0
	if registered && !s.closed {
		s.announce()
	}
	a.box.wake()
}

// orphan gives a word on every request and event of an application that went.
func (s *Service) orphan(a *App) {
	waiting, tasks := a.waiting, a.tasks
	a.waiting, a.tasks, a.held, a.open = nil, map[uint64]*task{}, 0, 0
	for _, t := range waiting {
		delete(tasks, t.item.ID)
		delete(s.tasks, t.call)
		s.place(t)
	}
	for _, t := range tasks {
		delete(s.tasks, t.call)
		if !t.item.OneWay {
			s.answer(t.call, proto.Result{
				Outcome: proto.HandlerGone, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted,
				Reason: "the application " + a.name + " disconnected while it had the request",
			})
		}
	}
	for _, c := range a.confirms {
		s.confirmed(c, proto.Result{
			Outcome: proto.HandlerGone, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted,
			Reason: "the application " + a.name + " disconnected before it confirmed",
		})
	}
	a.confirms = nil
}

// AppInfo tells people about an application.
type AppInfo struct {
	Name                    string
	UID                     uint32
	Methods, Topics, Groups []string
	Open, Waiting, Bytes    int
}

// Apps lists the applications in the order they came.
func (s *Service) Apps() []AppInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]AppInfo, len(s.apps))
	for i, a := range s.apps {
		list[i] = AppInfo{
			Name: a.name, UID: a.uid, Methods: a.methods, Topics: a.topics, Groups: a.groups,
			Open: a.open, Waiting: len(a.waiting), Bytes: a.held + a.box.bytes + a.eventsBytes,
		}
	}
	return list
}
