package local

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerCred asks the kernel who connected (SO_PEERCRED, unix(7)).
func peerCred(conn net.Conn) (Cred, bool) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return Cred{}, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return Cred{}, false
	}
	var cred *unix.Ucred
	if ctl := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctl != nil || err != nil {
		return Cred{}, false
	}
	return Cred{UID: cred.Uid, GID: cred.Gid, Known: true}, true
}
