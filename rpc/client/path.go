package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// EnvSocket is the environment variable that names the sidecar's socket.
const EnvSocket = "STARLING_SOCKET"

// DefaultSocket is where a sidecar listens if nobody said otherwise.
const DefaultSocket = "/run/starling/api.sock"

// A PathError tells which sockets were tried and what came of each.
type PathError struct {
	Tried []TriedPath
}

// TriedPath is one socket that was tried.
type TriedPath struct {
	Path string
	From string // why this one: "option", "STARLING_SOCKET", "default"
	Err  error
}

func (e *PathError) Error() string {
	var b strings.Builder
	if errors.Is(e, fs.ErrPermission) {
		b.WriteString("no sidecar lets this user in; see api.mode and api.group, and who may enter the socket's directory")
	} else {
		b.WriteString("no sidecar answers; is `starling agent` running?")
	}
	for _, t := range e.Tried {
		fmt.Fprintf(&b, "\n  %s (%s): %v", t.Path, t.From, cause(t.Err))
	}
	if len(e.Tried) > 1 {
		fmt.Fprintf(&b, "\nset %s to its socket if it is elsewhere", EnvSocket)
	}
	return b.String()
}

// Unwrap gives the errors of all paths.
func (e *PathError) Unwrap() []error {
	errs := make([]error, len(e.Tried))
	for i, t := range e.Tried {
		errs[i] = t.Err
	}
	return errs
}

// cause strips what the list of paths says already.
func cause(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// FindSocket returns the first socket at which somebody accepts connections:
// path if it is not empty, else $STARLING_SOCKET if it is set, else the first
// of /run/starling/api.sock and $XDG_RUNTIME_DIR/starling/api.sock. A path that
// was said is the only one tried: another sidecar is not what was meant. The
// error is a *PathError.
func FindSocket(ctx context.Context, path string) (string, error) {
	var tried []TriedPath
	for _, c := range candidates(path) {
		conn, err := dialUnix(ctx, c.Path)
		if err == nil {
			return c.Path, conn.Close()
		}
		c.Err = err
		tried = append(tried, c)
	}
	return "", &PathError{Tried: tried}
}

func candidates(path string) []TriedPath {
	if path != "" {
		return []TriedPath{{Path: path, From: "option"}}
	}
	if env := os.Getenv(EnvSocket); env != "" {
		return []TriedPath{{Path: env, From: EnvSocket}}
	}
	list := []TriedPath{{Path: DefaultSocket, From: "default"}}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		list = append(list, TriedPath{Path: filepath.Join(dir, "starling", "api.sock"), From: "XDG_RUNTIME_DIR"})
	}
	return list
}

func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", strings.TrimPrefix(path, "unix://"))
}
