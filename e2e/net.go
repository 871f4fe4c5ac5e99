// Package e2e holds the tests that need root: real sidecars in network namespaces, whose network is then broken as networks
// break. It runs only what `make e2e` runs; on a machine without iproute2 it installs that package and says so.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/cmd/starling/flock"
)

// prepare makes sure that namespaces can be made.
func prepare() error {
	if os.Getuid() != 0 {
		return errors.New("these tests make network namespaces: run them as root")
	}
	if _, err := exec.LookPath("ip"); err == nil {
		return removeLeftovers()
	}
	fmt.Println("there is no `ip`: installing the package iproute2")
	for _, words := range [][]string{{"apt-get", "update", "-q"}, {"apt-get", "install", "-qy", "--no-install-recommends", "iproute2"}} {
		c := exec.Command(words[0], words[1:]...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
		}
	}
	return removeLeftovers()
}

// tagPrefix begins the names of our namespaces; the process that made them follows.
const tagPrefix = "starling-e2e-"

// removeLeftovers removes the namespaces of runs that were killed before they could.
func removeLeftovers() error {
	list, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return fmt.Errorf("list the network namespaces: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		var pid int
		if _, err := fmt.Sscanf(line, tagPrefix+"%d-", &pid); err != nil {
			continue // not ours
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			continue // it runs
		}
		if out, err := exec.Command("ip", "netns", "del", strings.Fields(line)[0]).CombinedOutput(); err != nil {
			return fmt.Errorf("remove the left-over namespace %s: %w: %s", line, err, out)
		}
	}
	return nil
}

// A network is a namespace for each bird and one for what is between them: two switches and a trunk.
//
//	bird-1 ── left ═══ trunk ═══ right ── bird-5
//	bird-2 ──┘                     └──── bird-6
type network struct {
	t     *testing.T
	tag   string // makes names unique on the machine
	birds int
}

// newNetwork lays the cables: the first half of the birds is at the left switch. All of it goes with the test.
func newNetwork(t *testing.T, birds int) *network {
	t.Helper()
	n := &network{t: t, tag: fmt.Sprintf("%s%d-", tagPrefix, os.Getpid()), birds: birds}
	t.Cleanup(n.remove)
	hub := n.space("hub")
	n.ip("netns", "add", hub)
	for _, sw := range []string{"left", "right"} {
		n.ip("-n", hub, "link", "add", sw, "type", "bridge")
		n.ip("-n", hub, "link", "set", sw, "up")
	}
	n.ip("-n", hub, "link", "add", "trunk", "type", "veth", "peer", "name", "trunk2")
	n.ip("-n", hub, "link", "set", "trunk", "master", "left")
	n.ip("-n", hub, "link", "set", "trunk2", "master", "right", "up")
	n.ip("-n", hub, "link", "set", "trunk", "up")
	for i := 1; i <= birds; i++ {
		name := fmt.Sprintf("bird-%d", i)
		space, port, sw := n.space(name), "port-"+name, "left"
		if i > birds/2 {
			sw = "right"
		}
		n.ip("netns", "add", space)
		n.ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
		n.ip("-n", hub, "link", "set", port, "master", sw, "up")
		n.ip("-n", space, "addr", "add", n.address(i)+"/24", "dev", "eth0")
		n.ip("-n", space, "link", "set", "eth0", "up")
		n.ip("-n", space, "link", "set", "lo", "up")
	}
	return n
}

func (n *network) remove() {
	_ = exec.Command("ip", "netns", "del", n.space("hub")).Run() // the cables go with it; it may never have been made
	for i := 1; i <= n.birds; i++ {
		_ = exec.Command("ip", "netns", "del", n.space(fmt.Sprintf("bird-%d", i))).Run()
	}
}

// space is the namespace of a bird.
func (n *network) space(name string) string { return n.tag + name }

func (*network) address(i int) string { return fmt.Sprintf("10.77.0.%d", i) }

func (n *network) ip(words ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(words, " "), err, out)
	}
}

// set turns a cable in the hub up or down. The birds do not see their own cable go down: packets are lost, without a word.
func (n *network) set(cable, state string) {
	n.t.Helper()
	n.ip("-n", n.space("hub"), "link", "set", cable, state)
}

// port is the cable of a bird.
func port(b *flock.Bird) string { return "port-" + b.Name }

// options are those of a flock in this network. The contacts are one bird of the left and two of the right.
func (n *network) options() flock.Options {
	contacts := fmt.Sprintf("%s:7827, %s:7827, %s:7827", n.address(1), n.address(n.birds/2+1), n.address(n.birds))
	return flock.Options{
		Birds: n.birds, NoApps: true,
		Wrap: func(name string) []string { return []string{"ip", "netns", "exec", n.space(name)} },
		Change: func(name string, s *flock.Settings) {
			var i int
			if _, err := fmt.Sscanf(name, "bird-%d", &i); err != nil {
				n.t.Errorf("%s: %v", name, err)
			}
			s.Listen = n.address(i) + ":7827"
			s.Sources = "[{kind: static, refresh: 1s, contacts: [" + contacts + "]}]"
		},
	}
}
