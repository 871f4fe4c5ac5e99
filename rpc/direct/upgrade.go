package direct

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Ask makes a connection to a sidecar's socket one that carries messages. ctx
// bounds it; afterwards the connection ends with Close. If the error is not nil,
// it is closed.
func Ask(ctx context.Context, raw net.Conn, most int) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	in, err := ask(ctx, raw)
	if !stop() && ctx.Err() != nil { // it was closed here
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return after(raw, in, most), nil
}

func ask(ctx context.Context, raw net.Conn) (*bufio.Reader, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+Path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask for a session: %w", err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", Protocol)
	if err := r.Write(raw); err != nil {
		return nil, fmt.Errorf("ask for a session: %w", err)
	}
	in := bufio.NewReader(raw)
	resp, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, fmt.Errorf("ask for a session: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		const most = 1 << 10
		words, _ := io.ReadAll(io.LimitReader(resp.Body, most)) // the status says enough
		_ = resp.Body.Close()
		return nil, fmt.Errorf("ask for a session: %s: %s; is it a sidecar of this version?", resp.Status, strings.TrimSpace(string(words)))
	}
	return in, nil
}

// Asked tells whether a request wants a session without gRPC.
func Asked(r *http.Request) bool { return r.URL.Path == Path && r.Header.Get("Upgrade") == Protocol }

// Accept takes the connection from the HTTP server, which forgets it.
func Accept(w http.ResponseWriter, most int) (*Conn, error) {
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection of a session: %w", err)
	}
	_ = raw.SetDeadline(time.Time{}) // of the request
	_, err = io.WriteString(raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("begin a session: %w", err)
	}
	return after(raw, rw.Reader, most), nil
}

// after is a connection from where HTTP ended.
func after(raw net.Conn, in *bufio.Reader, most int) *Conn {
	c := New(raw, most)
	if n := in.Buffered(); n > 0 { // came with the last line of HTTP
		early, _ := in.Peek(n) // it is there
		c.buf = make([]byte, max(n, bufferMin))
		c.rest = c.buf[:copy(c.buf, early)]
	}
	return c
}
