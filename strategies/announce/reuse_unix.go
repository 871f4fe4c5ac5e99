//go:build unix

package announce

import "syscall"

// reuse lets several sidecars of one machine listen on one port: each gets a copy
// of what is sent to a group or to everybody.
func reuse(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
	if err != nil {
		return err
	}
	return failed
}
