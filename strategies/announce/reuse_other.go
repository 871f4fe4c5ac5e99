//go:build !unix

package announce

import "syscall"

// reuse does nothing: one sidecar a machine.
func reuse(string, string, syscall.RawConn) error { return nil }
