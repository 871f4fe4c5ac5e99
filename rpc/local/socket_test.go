package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"
)

func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", says)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

func TestASocketOfALiveOwnerIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	_, err := listen(t.Context(), &Socket{Path: w.socket})
	wantError(t, err, w.socket, fmt.Sprintf("uid %d", os.Getuid()), "stop it or choose another path")
	if code, _ := w.curl("Multicall", `{"method":"x"}`); code != 200 {
		t.Error("the owner was disturbed")
	}
}

func TestADeadSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	ln, err := listen(t.Context(), &Socket{Path: path, Mode: 0o640})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

func TestWhatIsNoSocketIsNeverRemoved(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, kind := range map[string]string{file: "a file", link: "a symbolic link", dir: "a directory"} {
		_, err := listen(t.Context(), &Socket{Path: path})
		wantError(t, err, path, kind, "left alone")
	}
	if text, err := os.ReadFile(file); string(text) != "precious" {
		t.Error("the file is gone", err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("temporary names are left: %v", left)
	}
}

func TestALongSocketPathIsRefusedInWords(t *testing.T) {
	_, err := listen(t.Context(), &Socket{Path: "/" + strings.Repeat("x", 107)})
	wantError(t, err, "108 bytes", "107", "shorter directory")
}

func TestASocketThatSomebodyElseNowHasIsNotRemovedAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	first, err := listen(t.Context(), &Socket{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := listen(t.Context(), &Socket{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error("the first one's end removed the second one's socket")
	}
	_ = second.Close()
}

func TestAUserWhoIsNotAllowedIsToldSo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("as an ordinary user only the decision itself can be tested")
	}
	s := &splitter{sock: &Socket{Path: "/s", AllowedUIDs: []uint32{7}, AllowedGIDs: []uint32{8}}}
	for _, c := range []struct {
		cred Cred
		ok   bool
	}{
		{Cred{UID: 7, GID: 1, Known: true}, true},
		{Cred{UID: 1, GID: 8, Known: true}, true},
		{Cred{UID: uint32(os.Getuid()), Known: true}, true},
		{Cred{UID: 6, GID: 6, Known: true}, false},
		{Cred{}, false},
	} {
		if got := s.denied(c.cred); (got == "") != c.ok {
			t.Errorf("%+v: %q", c.cred, got)
		}
	}
	err := toStatus(allowed(&conn{deny: "uid 6 may not"}))
	wantError(t, err, "PermissionDenied", "uid 6")
}

func TestConnectionsBeyondTheLimitAreClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	ln, err := listen(t.Context(), &Socket{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	counted := make(chan string, 8)
	s := newSplitter(ln, &Socket{Path: path}, 1, slog.New(slog.DiscardHandler), func(why string) { counted <- why })
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	silent, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	second, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes, want the end", n)
	}
	if why := <-counted; why != "too_many_connections" {
		t.Errorf("counted %s", why)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDialTellsEachPathItTried(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv(client.EnvSocket, "")
	_, err := client.FindSocket(t.Context(), "")
	wantError(t, err, client.DefaultSocket, dir+"/starling/api.sock", "no such file", client.EnvSocket)
	t.Setenv(client.EnvSocket, dir+"/other.sock")
	_, err = client.FindSocket(t.Context(), "")
	wantError(t, err, dir+"/other.sock (STARLING_SOCKET)")
	if strings.Contains(err.Error(), client.DefaultSocket) {
		t.Errorf("a path that was said is not the only one: %v", err)
	}
	w := newWorld(t)
	t.Setenv(client.EnvSocket, w.socket)
	if path, err := client.FindSocket(t.Context(), ""); path != w.socket {
		t.Errorf("found %s, %v", path, err)
	}
}

func TestTheServerLeavesNoFile(t *testing.T) {
	w := newWorld(t)
	w.stop()
	if _, err := os.Lstat(w.socket); err == nil {
		t.Error("the socket is still there")
	}
	if _, err := rpc.New(w.mesh, rpc.Config{}, nil); err == nil {
		t.Error("bounds of zero were accepted")
	}
}
