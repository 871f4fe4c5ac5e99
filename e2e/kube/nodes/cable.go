package nodes

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// A Cable is what connects a node, or a pod at a node. Its methods wait for nothing.
type Cable struct {
	end string   // the device at the other side
	at  []string // the words that run a program there
}

// Cut pulls it out: packets both ways are lost without a word.
func (c Cable) Cut(ctx context.Context) error { return c.set(ctx, "down") }

// Mend plugs it in again.
func (c Cable) Mend(ctx context.Context) error { return c.set(ctx, "up") }

func (c Cable) set(ctx context.Context, state string) error {
	words := slices.Concat(c.at, []string{"ip", "link", "set", c.end, state})
	return run(ctx, words[0], words[1:]...)
}

// Cable is the node's own, to all others.
func (n *Node) Cable() Cable { return Cable{end: n.Name} }

// PodCable is that of one pod at the node, in which the process with this ID is.
func (n *Node) PodCable(ctx context.Context, pid string) (Cable, error) {
	eth0, err := devices(ctx, "nsenter", "-t", pid, "-n", "--")
	if err != nil {
		return Cable{}, err
	}
	here, err := devices(ctx, n.at()...)
	if err != nil {
		return Cable{}, err
	}
	for _, mine := range eth0 {
		if mine.name != "eth0" {
			continue
		}
		for _, d := range here {
			if d.number == mine.peer {
				return Cable{end: d.name, at: n.at()}, nil
			}
		}
	}
	return Cable{}, errors.New("the process has no eth0 whose other end is at node " + n.Name)
}

// A device has a number in its namespace; those of a pair know each other's.
type device struct{ number, name, peer string }

// devices are those that programs run by these words see.
func devices(ctx context.Context, words ...string) (all []device, err error) {
	words = append(words, "ip", "-o", "link")
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(words, " "), err)
	}
	for line := range strings.Lines(string(out)) { // 2: eth0@if7: <...
		number, rest, _ := strings.Cut(line, ": ")
		name, _, _ := strings.Cut(rest, ":")
		name, peer, _ := strings.Cut(name, "@if")
		all = append(all, device{number, name, peer})
	}
	return all, nil
}
