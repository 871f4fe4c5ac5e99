// Package dns starts the name servers that people run (CoreDNS, BIND and PowerDNS) and tries the dns strategy on them, under a
// real discovery.Manager. The servers listen at loopback addresses of a network namespace that is the test's own, and end with it;
// no question leaves the machine. It is no name server and holds no rule of the strategy.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/e2e/netns"
)

// Where the servers listen. The last number tells them apart in logs.
const (
	port    = "5300"
	first   = "127.0.53.1"
	second  = "127.0.53.2"
	updater = "127.0.53.9" // where nsupdate speaks from
)

// origin is the zone that every server serves.
const origin = "mesh.example."

// coredns is the path of the program, set by prepare.
var coredns string

// prepare gets the servers: two from Debian, CoreDNS from its Go module, built by the module of the Kubernetes tests.
func prepare() error {
	var missing []string
	for program, pkg := range map[string]string{"ip": "iproute2", "named": "bind9", "nsupdate": "bind9-dnsutils", "pdns_server": "pdns-server"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if found, err := filepath.Glob("/usr/lib/*/pdns/libbindbackend.so"); err != nil || len(found) == 0 {
		missing = append(missing, "pdns-backend-bind")
	}
	if err := netns.Install(missing...); err != nil {
		return err
	}
	c := exec.Command("go", "run", "-C", "../kube", "./build/program", "coredns")
	c.Stderr = os.Stderr
	path, err := c.Output()
	if err != nil {
		return fmt.Errorf("build CoreDNS (%s): %w", strings.Join(c.Args, " "), err)
	}
	coredns = strings.TrimSpace(string(path))
	return nil
}

// alone runs this test program again in a network namespace of its own, where port 53 and the kernel's counters are ours and
// nobody is within reach, and returns its exit code. It needs root. In the namespace it returns at once, with done false.
func alone() (code int, done bool, err error) {
	const inside = "STARLING_E2E_DNS_COREDNS" // its value is what prepare found outside
	if path := os.Getenv(inside); path != "" {
		coredns = path
		return 0, false, layLoopback()
	}
	if os.Getuid() != 0 {
		return 1, true, errors.New("these tests make a network namespace: run them as root")
	}
	if err := prepare(); err != nil {
		return 1, true, err
	}
	// What the tests build, they build from modules that may have to be fetched: now or never.
	if err := run(context.Background(), "", "go", "build", "-C", "../..", "-o", os.DevNull, "./cmd/starling"); err != nil {
		return 1, true, err
	}
	runtime.LockOSThread() // the death of this thread is the child's
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), inside+"="+coredns)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := c.Run(); c.ProcessState == nil {
		return 1, true, fmt.Errorf("run the tests in a network namespace: %w", err)
	}
	return c.ProcessState.ExitCode(), true, nil
}

// layLoopback gives the namespace its only device. BIND listens only at addresses that somebody wrote down.
func layLoopback() error {
	for _, words := range []string{
		"link set lo up", "addr add " + first + "/32 dev lo", "addr add " + second + "/32 dev lo", "addr add " + updater + "/32 dev lo",
	} {
		if err := run(context.Background(), "", "ip", strings.Fields(words)...); err != nil {
			return err
		}
	}
	return nil
}

// A server is a process that answers at addr. Its methods end the test when they cannot do what they are for.
type server struct {
	addr string // ip:port

	t     testing.TB
	dir   string
	words []string
	from  func() *dns.Client // how to ask whether it is up; nil is by udp
	cmd   *exec.Cmd
	gone  chan struct{}
}

// newServer makes a server's directory.
func newServer(t testing.TB, addr string) *server {
	s := &server{addr: addr, t: t, dir: t.TempDir()}
	t.Cleanup(s.kill)
	return s
}

// write writes a file of the server's and returns its path.
func (s *server) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// start starts the process and returns when it answers. It dies with this process, however that ends.
func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.words[0], s.words[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, gone := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started it: not before the process does
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		_ = log.Close()
		close(gone)
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("start %s: %v", s.words[0], err)
	}
	s.cmd, s.gone = cmd, gone
	s.awaitAnswer()
}

func (s *server) logFile() string { return filepath.Join(s.dir, "log") }

// awaitAnswer waits until the server answers anything at all.
func (s *server) awaitAnswer() {
	s.t.Helper()
	const patience = 20 * time.Second
	end := time.After(patience)
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for {
		if _, err := s.ask("ready."+origin, dns.TypeTXT, ""); err == nil {
			return
		}
		select {
		case <-ticks.C:
		case <-s.gone:
			s.t.Fatalf("%s ended at once:\n%s", s.words[0], s.lastWords())
		case <-end:
			s.t.Fatalf("%s does not answer at %s within %v:\n%s", s.words[0], s.addr, patience, s.lastWords())
		}
	}
}

// ask asks as a person would with dig, by udp with 1232 bytes if net is empty.
func (s *server) ask(name string, kind uint16, net string) (*dns.Msg, error) {
	c := &dns.Client{Net: net, Timeout: time.Second, UDPSize: 1232}
	if s.from != nil {
		c = s.from()
	}
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	q.SetEdns0(1232, false)
	reply, _, err := c.Exchange(q, s.addr)
	return reply, err
}

// kill ends the server without a farewell; it may have ended.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.gone
	s.cmd = nil
}

// freeze lets packets lie as a hung server or a dead network does; thaw ends it.
func (s *server) freeze() { s.signal(syscall.SIGSTOP) }
func (s *server) thaw()   { s.signal(syscall.SIGCONT) }

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(-s.cmd.Process.Pid, sig); err != nil {
		s.t.Fatalf("signal %s: %v", s.words[0], err)
	}
}

func (s *server) lastWords() string {
	const most = 3000
	text, _ := os.ReadFile(s.logFile())
	return string(text[max(0, len(text)-most):])
}

// run runs a program to its end.
func run(ctx context.Context, stdin, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, out)
	}
	return nil
}

// zone is the text of a zone file: what lives for ttl seconds, and for how long "nobody" is good.
func zone(ttl, negative int, records ...string) string {
	return fmt.Sprintf("$ORIGIN %[1]s\n$TTL %[2]d\n@ %[3]d IN SOA ns.%[1]s root.%[1]s 1 3600 600 86400 %[3]d\n@ IN NS ns.%[1]s\nns IN A 127.0.53.1\n",
		origin, ttl, negative) + strings.Join(records, "\n") + "\n"
}

// hosts are the addresses of so many nodes that are never dialled, and pods the records that put some under a name.
func hosts(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("10.9.%d.%d", i/250, 1+i%250))
	}
	return list
}

func pods(addrs ...string) (records []string) {
	for _, a := range addrs {
		records = append(records, "pods IN A "+a)
	}
	return records
}

func split(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	return host, port
}
