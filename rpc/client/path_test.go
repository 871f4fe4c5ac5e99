package client

import (
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWhoIsKeptOutIsNotToldToStartASidecar(t *testing.T) {
	tried := func(err syscall.Errno) error {
		return &PathError{Tried: []TriedPath{{"/run/x.sock", "option", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}}}}
	}
	for err, says := range map[syscall.Errno]string{syscall.EACCES: "api.mode", syscall.ENOENT: "is `starling agent` running?"} {
		if text := tried(err).Error(); !strings.Contains(text, says) || !strings.Contains(text, "/run/x.sock (option): connect: "+err.Error()) {
			t.Errorf("%v: %s", err, text)
		}
	}
	if err := tried(syscall.EACCES); !strings.Contains(err.Error(), fs.ErrPermission.Error()) {
		t.Errorf("it does not say that permission is denied: %v", err)
	}
}
