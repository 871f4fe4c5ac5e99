package overlay

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tune sets what the kernel must know of a connection: when to give up on
// bytes that nobody acknowledges (RFC 5482), and how little to hold unsent.
func tune(conn *net.TCPConn, unacked time.Duration, notSent int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("tune a connection: %w", err)
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacked.Milliseconds()))
		if optErr == nil {
			optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSent)
		}
	})
	if err == nil {
		err = optErr
	}
	if err != nil {
		return fmt.Errorf("tune a connection: %w", err)
	}
	return nil
}
