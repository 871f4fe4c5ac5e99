//go:build linux && !race

package sock

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Conn is a stream socket. One goroutine may read, one may write, and any may
// close it or set the deadline for reads, as with every net.Conn.
type Conn struct {
	net.Conn
	raw syscall.RawConn
	in  transfer
	out transfer

	writeBy time.Time // the deadline for writes, which holds once one has to wait
}

// transfer is one read, or one write. Its step is made once, so that a
// transfer allocates nothing.
type transfer struct {
	step  func(fd uintptr) bool
	rest  []byte
	done  int
	errno syscall.Errno
	waits bool
}

// New wraps a TCP or unix connection; any other is returned as it is. The
// deadline for writes is to be set by the writer only.
func New(c net.Conn) net.Conn {
	sys, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return c
	}
	s := &Conn{Conn: c, raw: raw}
	s.in.step, s.out.step = s.readSome, s.writeSome
	return s
}

// Read reads what is there, or waits for the first byte.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := &c.in
	t.rest, t.done, t.errno = p, 0, 0
	err := c.raw.Read(t.step)
	t.rest = nil
	switch {
	case err != nil:
		return 0, err //nolint:wrapcheck // a Reader's errors go through as they are
	case t.errno != 0:
		return 0, os.NewSyscallError("read", t.errno)
	case t.done == 0:
		return 0, io.EOF
	}
	return t.done, nil
}

// readSome reports whether the read is over.
func (c *Conn) readSome(fd uintptr) bool {
	t := &c.in
	n, errno := transferNow(syscall.SYS_READ, fd, t.rest)
	if errno == syscall.EAGAIN {
		return false
	}
	t.done, t.errno = n, errno
	return true
}

// Write writes all of p, or as much as it could when it failed.
func (c *Conn) Write(p []byte) (int, error) {
	t := &c.out
	t.rest, t.done, t.errno = p, 0, 0
	err := c.raw.Write(t.step)
	t.rest = nil
	if t.waits {
		t.waits = false
		_ = c.Conn.SetWriteDeadline(time.Time{})
	}
	if err == nil && t.errno != 0 {
		err = os.NewSyscallError("write", t.errno)
	}
	return t.done, err //nolint:wrapcheck // a Writer's errors go through as they are
}

func (c *Conn) writeSome(fd uintptr) bool {
	t := &c.out
	for len(t.rest) > 0 {
		n, errno := transferNow(syscall.SYS_WRITE, fd, t.rest)
		if errno == syscall.EAGAIN {
			if !t.waits {
				t.waits = true
				_ = c.Conn.SetWriteDeadline(c.writeBy)
			}
			return false
		}
		if errno != 0 {
			t.errno = errno
			return true
		}
		t.rest = t.rest[n:]
		t.done += n
	}
	return true
}

// SetWriteDeadline bounds the writes that have to wait. Setting one costs no
// timer until then.
func (c *Conn) SetWriteDeadline(at time.Time) error {
	c.writeBy = at
	return nil
}

// SetDeadline is both of them.
func (c *Conn) SetDeadline(at time.Time) error {
	c.writeBy = at
	return c.SetReadDeadline(at)
}

// transferNow reads or writes what can be without waiting. The scheduler is not
// told: the descriptor does not block.
func transferNow(call, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // G103: as package syscall does it; p lives until the call returns
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}
