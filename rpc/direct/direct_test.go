package direct

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const most = 1 << 20

// pair is a session between an application and a server that takes all requests for Path.
func pair(t *testing.T) (app, sidecar *Conn) {
	t.Helper()
	accepted := make(chan *Conn, 1)
	raw := dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Asked(r) {
			t.Errorf("asked for %v %v", r.URL, r.Header)
		}
		c, err := Accept(w, most)
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}))
	app, err := Ask(t.Context(), raw, most)
	if err != nil {
		t.Fatal(err)
	}
	sidecar = <-accepted
	t.Cleanup(func() { _, _ = app.Close(), sidecar.Close() })
	return app, sidecar
}

// dial connects to a server of HTTP on a unix socket.
func dial(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = srv.Close() })
	var d net.Dialer
	raw, err := d.DialContext(t.Context(), "unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestMessagesArriveInBothDirectionsAsTheyWereSent(t *testing.T) {
	app, sidecar := pair(t)
	for _, d := range []struct{ from, to *Conn }{{app, sidecar}, {sidecar, app}} {
		sizes := []int{0, 1, 100, bufferMin - 10, bufferMin, bufferMax + 1, 3, most - 100, 5}
		go func() {
			for i, size := range sizes {
				if err := d.from.Send(wrapperspb.Bytes(bytes.Repeat([]byte{byte(i)}, size))); err != nil {
					t.Error(err)
				}
			}
		}()
		for i, size := range sizes {
			var got wrapperspb.BytesValue
			if err := d.to.Recv(&got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.GetValue(), bytes.Repeat([]byte{byte(i)}, size)) {
				t.Errorf("message %d of %d bytes: got %d", i, size, len(got.GetValue()))
			}
		}
	}
}

func TestWhatWasReceivedStaysAsItWas(t *testing.T) {
	app, sidecar := pair(t)
	var got [2]wrapperspb.BytesValue
	for i := range got {
		if err := app.Send(wrapperspb.Bytes(bytes.Repeat([]byte{byte(i)}, 100))); err != nil {
			t.Fatal(err)
		}
		if err := sidecar.Recv(&got[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got[0].GetValue(), make([]byte, 100)) {
		t.Error("the second message changed the first")
	}
}

func TestManyMessagesThatComeAtOnceAreTakenOneByOne(t *testing.T) {
	app, sidecar := pair(t)
	var all bytes.Buffer
	whole := &Conn{Conn: writer{Conn: app, to: &all}}
	const n = 1000
	for i := range n {
		if err := whole.Send(wrapperspb.UInt32(uint32(i))); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = app.Write(all.Bytes()) }()
	for i := range n {
		var got wrapperspb.UInt32Value
		if err := sidecar.Recv(&got); err != nil || got.GetValue() != uint32(i) {
			t.Fatalf("message %d: %d, %v", i, got.GetValue(), err)
		}
	}
}

// writer keeps what is written.
type writer struct {
	net.Conn
	to io.Writer
}

func (w writer) Write(p []byte) (int, error) { return w.to.Write(p) }

func TestAMessageBeyondTheBoundIsRefusedByItsLength(t *testing.T) {
	app, sidecar := pair(t)
	_, _ = app.Write(binary.BigEndian.AppendUint32(nil, most+1))
	if err := sidecar.Recv(&wrapperspb.BytesValue{}); !errors.Is(err, ErrBadMessage) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoMessageIsNamedSo(t *testing.T) {
	app, sidecar := pair(t)
	_, _ = app.Write([]byte("\x00\x00\x00\x01\xff"))
	if err := sidecar.Recv(&wrapperspb.BytesValue{}); !errors.Is(err, ErrBadMessage) {
		t.Errorf("got %v", err)
	}
}

func TestMemoryIsForWhatArrivedNotForWhatWasAnnounced(t *testing.T) {
	app, sidecar := pair(t)
	_, _ = app.Write(append(binary.BigEndian.AppendUint32(nil, most), "a little"...))
	_ = app.Close()
	if err := sidecar.Recv(&wrapperspb.BytesValue{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want that it ended too early", err)
	}
	if len(sidecar.buf) > bufferMin {
		t.Errorf("%d bytes were taken for 12 that came", len(sidecar.buf))
	}
}

func TestALargeMessageDoesNotKeepItsMemory(t *testing.T) {
	app, sidecar := pair(t)
	go func() {
		_ = app.Send(wrapperspb.Bytes(make([]byte, most/2)))
		_ = app.Send(wrapperspb.Bytes(nil))
	}()
	for range 2 {
		if err := sidecar.Recv(&wrapperspb.BytesValue{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(sidecar.buf) > bufferMax {
		t.Errorf("%d bytes are kept to receive", len(sidecar.buf))
	}
	if cap(app.out) > bufferMax {
		t.Errorf("%d bytes are kept to send", cap(app.out))
	}
}

func TestTheEndBetweenMessagesIsNoErrorWithinOneItIs(t *testing.T) {
	app, sidecar := pair(t)
	_ = app.Close()
	if err := sidecar.Recv(&wrapperspb.BytesValue{}); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	for _, part := range []string{"\x00\x00", "\x00\x00\x00\x05", "\x00\x00\x00\x05ab"} {
		app, sidecar := pair(t)
		_, _ = app.Write([]byte(part))
		_ = app.Close()
		if err := sidecar.Recv(&wrapperspb.BytesValue{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %q: got %v, want that it ended too early", part, err)
		}
	}
}

func TestWhoIsNoSidecarIsToldApart(t *testing.T) {
	raw := dial(t, http.NotFoundHandler())
	if _, err := Ask(t.Context(), raw, most); err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "version") {
		t.Errorf("got %v", err)
	}
}

func TestAskingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	raw := dial(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	if _, err := Ask(ctx, raw, most); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
