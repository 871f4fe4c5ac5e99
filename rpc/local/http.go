package local

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/starlingmesh/starling/rpc"
)

// route is one service's handler.
type route struct {
	path    string
	handler http.Handler
}

// bodyMax is the largest request: base64 takes a third more than the payload,
// and a payload a little over the limit gets an error that says so.
func bodyMax(messageMax int) int { return 2*messageMax + 1<<20 }

// bodyTime is how long a request may take to arrive; its handler may work for
// longer.
const bodyTime = 30 * time.Second

// bodiesMax is how many bytes of requests may be here at once, of all
// connections: they count from their arrival to their answer.
const bodiesMax = 128 << 20

func handle(path string, h http.Handler) route { return route{path, h} }

func options(messageMax int) []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithCodec(strictJSON{"json"}), connect.WithCodec(strictJSON{"json; charset=utf-8"}),
		connect.WithInterceptors(connectErrors{}),
		connect.WithReadMaxBytes(bodyMax(messageMax)),
	}
}

// httpHandler routes, and helps people who are nearly right.
func httpHandler(messageMax int, within time.Duration, routes []route) http.Handler {
	refuse := connect.NewErrorWriter()
	mux := http.NewServeMux()
	var paths []string
	for _, r := range routes {
		mux.Handle(r.path, r.handler)
		paths = append(paths, r.path)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, fmt.Sprintf("no service at %s; POST JSON to %sMETHOD", r.URL.Path, strings.Join(paths, "METHOD or ")), http.StatusNotFound)
	})
	var here atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// curl -d without a header: what else than JSON could it be.
		if ct := r.Header.Get("Content-Type"); ct == "" || ct == "application/x-www-form-urlencoded" {
			r.Header.Set("Content-Type", "application/json")
		}
		if r.ContentLength > int64(bodyMax(messageMax)) {
			err := rpc.Errorf(rpc.PayloadTooLarge, "the request has %d bytes, a payload may have %d (api.message_max): send less, or a reference", r.ContentLength, messageMax)
			// Who is still writing does not read: take what is sent, up to a point.
			_, _ = io.CopyN(io.Discard, r.Body, int64(8*bodyMax(messageMax)))
			_ = refuse.Write(w, r, toConnect(err)) // or whoever asked has gone
			return
		}
		b := &body{ReadCloser: r.Body, left: bodyMax(messageMax), messageMax: messageMax, here: &here, conn: http.NewResponseController(w)}
		defer b.forget()
		_ = b.conn.SetReadDeadline(time.Now().Add(within))
		r.Body = b
		mux.ServeHTTP(&helpful{ResponseWriter: w, r: r}, r)
	})
}

// body is a request that arrives: not for ever, not without end, and not
// beside more of its kind than there is room for.
type body struct {
	io.ReadCloser
	left, messageMax int
	here             *atomic.Int64 // bytes of all requests
	mine             int64
	conn             *http.ResponseController
	refused          error // for good
}

func (b *body) Read(p []byte) (int, error) {
	if b.refused != nil {
		return 0, b.refused
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	b.mine += int64(n)
	total := b.here.Add(int64(n))
	switch {
	case b.left < 0:
		return b.refuse(rpc.Errorf(rpc.PayloadTooLarge, "a payload may have %d bytes (api.message_max), and the request goes on: send less, or a reference", b.messageMax))
	case total > bodiesMax:
		return b.refuse(rpc.Errorf(rpc.TooManyCalls, "requests of more than %d bytes are open on this socket: try again, or send less at once", bodiesMax))
	case errors.Is(err, io.EOF):
		_ = b.conn.SetReadDeadline(time.Time{}) // the connection is read on, to see whether it ends
	}
	return n, err
}

// refuse ends the arrival. The server takes a little of what is still sent
// before it answers, for who is writing does not read; not for long.
func (b *body) refuse(err *rpc.Error) (int, error) {
	b.refused = toConnect(err)
	_ = b.conn.SetReadDeadline(time.Now().Add(time.Second))
	return 0, b.refused
}

func (b *body) forget() { b.here.Add(-b.mine) }

// helpful puts words into the answers of connect that have none: to a wrong HTTP
// method, a path that is no method, a content type it cannot read.
type helpful struct {
	http.ResponseWriter
	r    *http.Request
	said bool // the words; what comes after them is dropped
}

// WriteHeader writes the words with the header.
func (h *helpful) WriteHeader(code int) {
	if words := h.words(code); words != "" && h.Header().Get("Content-Type") != "application/json" {
		http.Error(h.ResponseWriter, words, code)
		h.said = true
		return
	}
	h.ResponseWriter.WriteHeader(code)
}

func (h *helpful) words(code int) string {
	path, kind := h.r.URL.Path, h.r.Header.Get("Content-Type")
	switch code {
	case http.StatusNotFound:
		return noMethod(path)
	case http.StatusMethodNotAllowed:
		return fmt.Sprintf("%s is no way to call %s: POST JSON, as curl -d does", h.r.Method, path)
	case http.StatusUnsupportedMediaType:
		return fmt.Sprintf("%s does not take %s here; a method takes application/json, one that answers with a stream gRPC or application/connect+json", path, kind)
	case http.StatusHTTPVersionNotSupported:
		return fmt.Sprintf("%s needs gRPC, for it is a stream in both directions; over HTTP/1.1 use Poll and Respond", path)
	default:
		return ""
	}
}

// noMethod names the methods there are; empty if there is no such service either.
func noMethod(path string) string {
	service, method, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	s, ok := d.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return ""
	}
	var names []string
	for i := range s.Methods().Len() {
		names = append(names, string(s.Methods().Get(i).Name()))
	}
	return fmt.Sprintf("%s has no method %q; there are %s", service, method, strings.Join(names, ", "))
}

func (h *helpful) Write(p []byte) (int, error) {
	if h.said {
		return len(p), nil
	}
	return h.ResponseWriter.Write(p)
}

// Unwrap and Flush let a stream's messages out one by one.
func (h *helpful) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Flush sends what was written.
func (h *helpful) Flush() { _ = http.NewResponseController(h.ResponseWriter).Flush() }
