// Package e2e holds the tests that need root: real sidecars in network namespaces, whose network is then broken as networks
// break. It runs only what `make e2e` runs; on a machine without iproute2 or nftables it installs them and says so.
package e2e

import (
	"fmt"
	"testing"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/e2e/netns"
)

// A network is a host for each bird and two switches with a trunk between.
//
//	bird-1 ── left ═══ trunk ═══ right ── bird-5
//	bird-2 ──┘                     └──── bird-6
type network struct {
	*netns.Net
	t     *testing.T
	hosts []*netns.Host // of the birds, in their order
}

// newNetwork lays the cables: the first half of the birds is at the left switch. All of it goes with the test.
func newNetwork(t *testing.T, birds int) *network {
	t.Helper()
	n := &network{Net: netns.New(t), t: t}
	n.Switch("left")
	n.Switch("right")
	n.Trunk("left", "right")
	for i := range birds {
		at := "left"
		if i >= birds/2 {
			at = "right"
		}
		n.hosts = append(n.hosts, n.Host(fmt.Sprintf("bird-%d", i+1), at, address(i+1)+"/24"))
	}
	return n
}

func address(bird int) string { return fmt.Sprintf("10.77.0.%d", bird) }

// number is the bird's, from 1.
func number(t *testing.T, name string) int {
	t.Helper()
	var i int
	if _, err := fmt.Sscanf(name, "bird-%d", &i); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return i
}

// host is where a bird lives.
func (n *network) host(name string) *netns.Host { return n.hosts[number(n.t, name)-1] }

// options are those of a flock in this network. The contacts are one bird of the left and two of the right.
func (n *network) options() flock.Options {
	birds := len(n.hosts)
	contacts := fmt.Sprintf("%s:7827, %s:7827, %s:7827", address(1), address(birds/2+1), address(birds))
	return flock.Options{
		Birds: birds, NoApps: true,
		Wrap: func(name string) []string { return n.host(name).Enter() },
		Change: func(name string, s *flock.Settings) {
			s.Listen = address(number(n.t, name)) + ":7827"
			s.Sources = "[{kind: static, refresh: 1s, contacts: [" + contacts + "]}]"
		},
	}
}
