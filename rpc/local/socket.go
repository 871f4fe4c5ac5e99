package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// pathMax is sun_path less its final zero (unix(7)).
const pathMax = 107

// Socket says where to listen and who may connect.
type Socket struct {
	// Path of the socket's file, at most 107 bytes. Its directory is made, for
	// this user only, if it does not exist.
	Path string
	// Mode of the file; 0 means 0666: who may enter the directory may connect.
	Mode fs.FileMode
	// GID that the file is given to; nil leaves it.
	GID *int
	// AllowedUIDs and AllowedGIDs, if any is set, are all that may call; the
	// sidecar's own user always may. GIDs are primary groups.
	AllowedUIDs, AllowedGIDs []uint32
}

// socketFile is a listener whose file is removed with it.
type socketFile struct {
	*net.UnixListener
	path string
	self fs.FileInfo
}

// Close stops listening and removes the file, if it is still ours.
func (f *socketFile) Close() error {
	if now, err := os.Lstat(f.path); err == nil && os.SameFile(now, f.self) {
		_ = os.Remove(f.path) // another start removes a dead socket, too
	}
	return f.UnixListener.Close()
}

// listen makes the socket so that no moment shows it half made, and takes
// nobody else's place: it binds a temporary name, sets mode and group, and links
// it to the real name, which fails if something stands there.
func listen(ctx context.Context, s *Socket) (*socketFile, error) {
	if err := checkPath(s.Path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the socket: %w", err)
	}
	var suffix [2]byte
	_, _ = rand.Read(suffix[:]) // never fails
	temp := filepath.Join(filepath.Dir(s.Path), "."+hex.EncodeToString(suffix[:]))
	if err := checkPath(temp); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", temp)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.Path, err)
	}
	unixLn, ok := ln.(*net.UnixListener)
	if !ok {
		panic("local: a unix listener that is none")
	}
	unixLn.SetUnlinkOnClose(false)
	defer func() { _ = os.Remove(temp) }() // it has its real name, or failed
	info, err := place(ctx, s, temp)
	if err != nil {
		_ = ln.Close() // the first error is the one that matters
		return nil, err
	}
	return &socketFile{UnixListener: unixLn, path: s.Path, self: info}, nil
}

func place(ctx context.Context, s *Socket, temp string) (fs.FileInfo, error) {
	mode := s.Mode
	if mode == 0 {
		mode = 0o666
	}
	if s.GID != nil {
		if err := os.Chown(temp, -1, *s.GID); err != nil {
			return nil, fmt.Errorf("give the socket %s to group %d: %w", s.Path, *s.GID, err)
		}
	}
	if err := os.Chmod(temp, mode); err != nil {
		return nil, fmt.Errorf("set the mode of the socket %s: %w", s.Path, err)
	}
	for range 3 {
		if err := makeRoom(ctx, s.Path); err != nil {
			return nil, err
		}
		err := os.Link(temp, s.Path)
		if err == nil {
			return os.Lstat(s.Path)
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("name the socket %s: %w", s.Path, err)
		}
	}
	return nil, fmt.Errorf("socket %s: others keep making it; is another sidecar starting at the same path?", s.Path)
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("the socket has no path: set api.socket")
	}
	if len(path) > pathMax {
		return fmt.Errorf("socket path %s has %d bytes, the kernel takes at most %d: choose a shorter directory", path, len(path), pathMax)
	}
	return nil
}

// makeRoom removes a dead socket. It never removes a file, nor a socket that
// somebody answers at.
func makeRoom(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket's path: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is %s, not a socket, and is left alone: remove it or choose another path", path, kindOf(info.Mode()))
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		defer func() { _ = conn.Close() }() // it was only a question
		owner := "somebody"
		if c, ok := peerCred(conn); ok {
			owner = fmt.Sprintf("a live process of uid %d", c.UID)
		}
		return fmt.Errorf("socket %s belongs to %s: stop it or choose another path", path, owner)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the dead socket %s: %w", path, err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("socket %s exists and cannot be asked whether somebody lives there: %w; choose another path", path, err)
	}
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a directory"
	case m.Type() == fs.ModeSymlink:
		return "a symbolic link"
	default:
		return "something else (" + m.Type().String() + ")"
	}
}

// Cred is who is at the other end, as the kernel told at connect. There is no
// pid in it: across containers it is 0.
type Cred struct {
	UID, GID uint32
	Known    bool
}
