// Package netns lays networks for tests: hosts, switches and cables between them, each host a network namespace, and breaks
// them as networks break, a cable pulled or packets dropped without a word. It needs root, iproute2 and nftables, touches
// nothing outside of the namespaces it made, and takes them away with the test.
package netns

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A Net is some switches, which share a namespace called the hub, and the hosts at them. Its methods end the test when they
// cannot do what they are for. They are for one goroutine.
type Net struct {
	t     testing.TB
	tag   string // makes names unique on the machine
	hosts int
}

var nets atomic.Int32 // of this process

// New makes a net without any host. It goes with the test.
func New(t testing.TB) *Net {
	t.Helper()
	n := &Net{t: t, tag: fmt.Sprintf("%s%d-%d-", tagPrefix, os.Getpid(), nets.Add(1))}
	n.space("hub")
	return n
}

// Switch adds a switch (a bridge). Multicast passes it like everything else.
func (n *Net) Switch(name string) {
	n.t.Helper()
	n.hub("link", "add", name, "type", "bridge", "mcast_snooping", "0")
	n.hub("link", "set", name, "up")
}

// Trunk lays a cable between two switches. Its ends are called a-b and b-a.
func (n *Net) Trunk(a, b string) {
	n.t.Helper()
	here, there := trunk(a, b), trunk(b, a)
	n.hub("link", "add", here, "type", "veth", "peer", "name", there)
	n.hub("link", "set", here, "master", a, "up")
	n.hub("link", "set", there, "master", b, "up")
}

func trunk(from, to string) string { return from + "-" + to }

// A Host is a namespace with a loopback device and one cable, eth0.
type Host struct {
	Name  string
	net   *Net
	space string
	port  string // the other end of its cable, at the switch
}

// Host adds a host at a switch. Addresses have their prefix, as in 10.77.0.1/16 or fd77::1/64; none is fine.
func (n *Net) Host(name, at string, addresses ...string) *Host {
	n.t.Helper()
	n.hosts++
	h := &Host{Name: name, net: n, space: n.space(name), port: fmt.Sprintf("port-%d", n.hosts)}
	n.hub("link", "add", h.port, "type", "veth", "peer", "name", "eth0", "netns", h.space)
	n.hub("link", "set", h.port, "master", at, "up")
	for _, a := range addresses {
		words := []string{"-n", h.space, "addr", "add", a, "dev", "eth0"}
		if strings.Contains(a, ":") {
			words = append(words, "nodad") // or it could not be used for a second
		}
		n.run("ip", words...)
	}
	n.run("ip", "-n", h.space, "link", "set", "eth0", "up")
	return h
}

// space makes a namespace.
func (n *Net) space(name string) string {
	n.t.Helper()
	space := n.tag + name
	n.run("ip", "netns", "add", space)
	n.t.Cleanup(func() { n.run("ip", "netns", "del", space) }) // cables go with it
	n.run("ip", "-n", space, "link", "set", "lo", "up")
	return space
}

// Enter is the words before a command that is to run at the host.
func (h *Host) Enter() []string { return []string{"ip", "netns", "exec", h.space} }

// Command is a program that runs at the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	words := append(append(h.Enter(), name), args...)
	return exec.CommandContext(ctx, words[0], words[1:]...)
}

// Do runs f on a thread that is at the host: sockets that f opens are there and stay there, whoever uses them. What f starts
// in other goroutines is not.
func (h *Host) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends with this goroutine
		done <- func() error {
			space, err := os.Open("/var/run/netns/" + h.space)
			if err != nil {
				return err
			}
			defer func() { _ = space.Close() }()
			if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", h.space, err)
			}
			return f()
		}()
	}()
	return <-done
}

// Pull pulls the host's cable at the switch: the host does not see its own end go down, packets are lost without a word.
func (h *Host) Pull() { h.net.t.Helper(); h.net.hub("link", "set", h.port, "down") }

// Plug plugs it in again.
func (h *Host) Plug() { h.net.t.Helper(); h.net.hub("link", "set", h.port, "up") }

// Cut drops by nftables whatever passes the trunk between two switches, in both directions, until Mend.
func (n *Net) Cut(a, b string) {
	n.t.Helper()
	n.nft(fmt.Sprintf("table bridge cut {\n chain forward {\n  type filter hook forward priority 0\n"+
		"  iifname { %[1]s, %[2]s } drop\n  oifname { %[1]s, %[2]s } drop\n }\n}\n", trunk(a, b), trunk(b, a)))
}

// CutOneWay drops only what goes from a to b.
func (n *Net) CutOneWay(a, b string) {
	n.t.Helper()
	n.nft(fmt.Sprintf("table bridge cut {\n chain forward {\n  type filter hook forward priority 0\n  oifname %s drop\n }\n}\n", trunk(a, b)))
}

// Mend undoes every cut.
func (n *Net) Mend() { n.t.Helper(); n.nft("delete table bridge cut\n") }

// nft gives the hub's packet filter its rules.
func (n *Net) nft(rules string) {
	n.t.Helper()
	c := exec.Command("ip", "netns", "exec", n.tag+"hub", "nft", "-f", "-")
	c.Stdin = strings.NewReader(rules)
	if out, err := c.CombinedOutput(); err != nil {
		n.t.Fatalf("nft: %v: %s\n%s", err, out, rules)
	}
}

// hub gives ip(8) a command about the hub.
func (n *Net) hub(words ...string) {
	n.t.Helper()
	n.run("ip", append([]string{"-n", n.tag + "hub"}, words...)...)
}

func (n *Net) run(name string, words ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, words...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v: %s", name, strings.Join(words, " "), err, out)
	}
}
