package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/rpc"
)

// sends puts bytes into the socket and reads one answer.
func (w *world) sends(t *testing.T, send func(io.Writer)) (int, string) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	send(conn)
	return answer(t, conn)
}

func answer(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const chunkedHead = "POST /starling.v1.RpcService/Multicall HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestARequestWithoutEndIsRefusedAtTheLimit(t *testing.T) {
	w := newWorld(t, func(c *rpc.Config, _ *Socket) { c.MessageMax, c.QueueBytes, c.AnswerBytes = 2048, 4096, 4096 })
	code, text := w.sends(t, func(conn io.Writer) {
		_, _ = io.WriteString(conn, chunkedHead)
		piece := strings.Repeat(" ", 1<<16)
		for sent := 0; sent < bodyMax(2048)+1<<16; sent += len(piece) {
			_, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(piece), piece)
		}
	})
	if code < 400 || !strings.Contains(text, "message_max") || !strings.Contains(text, "PAYLOAD_TOO_LARGE") {
		t.Errorf("HTTP %d: %s", code, text)
	}
}

func TestAnswersWithoutWordsGetSome(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		request string
		code    int
		says    string
	}{
		{"GET /starling.v1.RpcService/Multicall", 405, "POST JSON"},
		{"POST /starling.v1.RpcService/Multical", 404, `no method "Multical"; there are Multicall,`},
		{"POST /starling.v1.MembershipService/WatchMembers", 415, "application/connect+json"},
		{"POST /starling.v1.RpcService/Session", 505, "Poll and Respond"},
		{"POST /nothing", 404, "no service at /nothing"},
	} {
		code, text := w.sends(t, func(conn io.Writer) {
			_, _ = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", c.request)
		})
		if code != c.code || !strings.Contains(text, c.says) || strings.Contains(text, "page not found") {
			t.Errorf("%s: HTTP %d: %s", c.request, code, text)
		}
	}
}

// A connection is one of 1,024: who sends half a request must not keep it.
func TestHalfARequestDoesNotKeepItsConnection(t *testing.T) {
	read := make(chan error, 2)
	srv := httptest.NewServer(httpHandler(2048, 50*time.Millisecond, []route{{"/x/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
		select {
		case <-r.Context().Done(): // a whole request's handler may take longer than its arrival
			read <- r.Context().Err()
		case <-time.After(200 * time.Millisecond):
			read <- nil
		}
	})}}))
	defer srv.Close()
	dial := func(body string) net.Conn {
		var d net.Dialer
		conn, err := d.DialContext(context.WithoutCancel(t.Context()), "tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST /x/y HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%s", body)
		return conn
	}
	half := dial("{}")
	defer half.Close()
	if err := <-read; err == nil {
		t.Error("half a request was read")
	}
	<-read
	whole := dial("{  }")
	defer whole.Close()
	if err := <-read; err != nil {
		t.Errorf("a whole request: %v", err)
	}
	if err := <-read; err != nil {
		t.Errorf("its handler was cut short: %v", err)
	}
}

func TestRequestsTogetherHaveABound(t *testing.T) {
	var reading [2]chan error
	reading[0], reading[1] = make(chan error), make(chan error)
	n := 0
	h := httpHandler(bodiesMax, time.Minute, []route{{"/x/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mine := reading[n]
		n++
		_, err := io.Copy(io.Discard, r.Body)
		mine <- err // at once when there is nothing more to read
		mine <- nil // held open until then
	})}})
	send := func() *http.Request {
		return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/x/y", io.LimitReader(zeros{}, bodiesMax*2/3))
	}
	go h.ServeHTTP(httptest.NewRecorder(), send())
	if err := <-reading[0]; err != nil {
		t.Fatalf("the first: %v", err)
	}
	go h.ServeHTTP(httptest.NewRecorder(), send())
	if err := <-reading[1]; err == nil || !strings.Contains(err.Error(), "open on this socket") {
		t.Errorf("the second, beside it: %v", err)
	}
	<-reading[0]
	<-reading[1]
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
