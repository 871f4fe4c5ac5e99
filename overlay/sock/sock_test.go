package sock_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/sock"
)

// pair is two ends of one connection, the first of them wrapped.
func pair(t *testing.T, network string) (wrapped, plain net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var d net.Dialer
	a, err := d.DialContext(t.Context(), network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return sock.New(a), b
}

func both(t *testing.T, test func(t *testing.T, wrapped, plain net.Conn)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			a, b := pair(t, network)
			test(t, a, b)
		})
	}
}

func TestWhatIsWrittenArrivesHoweverLongItTakes(t *testing.T) {
	both(t, func(t *testing.T, wrapped, plain net.Conn) {
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB: more than the kernel holds
		done := make(chan error, 1)
		go func() {
			n, err := wrapped.Write(sent)
			if err == nil && n != len(sent) {
				err = io.ErrShortWrite
			}
			done <- errors.Join(err, wrapped.(interface{ Close() error }).Close())
		}()
		got, err := io.ReadAll(plain)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d of %d bytes arrived, err %v", len(got), len(sent), err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAReadWaitsForBytesAndThenTakesWhatIsThere(t *testing.T) {
	both(t, func(t *testing.T, wrapped, plain net.Conn) {
		got := make(chan string, 1)
		go func() {
			p := make([]byte, 100)
			n, _ := wrapped.Read(p)
			got <- string(p[:n])
		}()
		if _, err := plain.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != "hello" {
			t.Fatalf("read %q", s)
		}
	})
}

func TestTheOtherSidesEndIsEOF(t *testing.T) {
	both(t, func(t *testing.T, wrapped, plain net.Conn) {
		_ = plain.Close()
		if n, err := wrapped.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("read %d, %v; want the end", n, err)
		}
	})
}

func TestAReadEndsAtItsDeadlineAndWhenTheConnectionIsClosed(t *testing.T) {
	both(t, func(t *testing.T, wrapped, _ net.Conn) {
		_ = wrapped.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := wrapped.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v; want its deadline", err)
		}
		_ = wrapped.SetReadDeadline(time.Time{})
		ended := make(chan error, 1)
		go func() { _, err := wrapped.Read(make([]byte, 1)); ended <- err }()
		_ = wrapped.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("read: %v; want that it is closed", err)
		}
	})
}

func TestABlockedWriteEndsAtItsDeadlineAndOneThatNeedNotWaitDoesNot(t *testing.T) {
	both(t, func(t *testing.T, wrapped, plain net.Conn) {
		_ = wrapped.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		big := make([]byte, 16<<20)
		if n, err := wrapped.Write(big); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(big) {
			t.Fatalf("wrote %d, %v; want a part and its deadline", n, err)
		}
		go func() { _, _ = io.Copy(io.Discard, plain) }()
		_ = wrapped.SetWriteDeadline(time.Now().Add(time.Minute))
		if n, err := wrapped.Write(big); err != nil || n != len(big) { // the deadline before is forgotten
			t.Fatalf("wrote %d, %v after the other side read again", n, err)
		}
	})
}

func TestAWriteToAClosedConnectionIsAnError(t *testing.T) {
	both(t, func(t *testing.T, wrapped, plain net.Conn) {
		_ = plain.Close()
		var err error
		for range 1000 { // TCP says so when the reset has come
			if _, err = wrapped.Write([]byte("x")); err != nil {
				break
			}
		}
		if err == nil {
			t.Fatal("1000 writes to nobody, and no error")
		}
	})
}

func TestWhatIsNoSocketStaysAsItIs(t *testing.T) {
	a, _ := net.Pipe()
	if got := sock.New(a); got != a {
		t.Fatalf("a pipe became a %T", got)
	}
}

// The reason of the package: to read and to write makes no garbage.
func TestTransfersAllocateNothing(t *testing.T) {
	both(t, func(t *testing.T, wrapped, plain net.Conn) {
		p := make([]byte, 64)
		if n := testing.AllocsPerRun(100, func() {
			_, _ = wrapped.Write(p)
			_, _ = io.ReadFull(plain, p)
			_, _ = plain.Write(p)
			_, _ = io.ReadFull(wrapped, p)
		}); n > 0 {
			t.Errorf("%v allocations for a round trip; want none", n)
		}
	})
}
