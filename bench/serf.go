package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A serfNode is one process of serf.
type serfNode struct {
	*child
	orders  io.WriteCloser
	results *bufio.Scanner
	address string
}

// A serfCluster is processes of serf that all know all.
type serfCluster struct {
	nest  *nest
	nodes []*serfNode
}

func startSerf(ctx context.Context, n *nest, size int) (*serfCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &serfCluster{nest: n}
	stop := context.AfterFunc(ctx, n.killAll) // whoever waits for a result then sees its end
	defer stop()
	if err := c.start(size); err != nil {
		c.stop()
		return nil, fmt.Errorf("start %d nodes of serf: %w", size, errors.Join(err, ctx.Err()))
	}
	return c, nil
}

func (c *serfCluster) start(size int) error {
	for i := range size {
		if err := c.add(fmt.Sprintf("serf-%d", i)); err != nil {
			return err
		}
	}
	for _, node := range c.nodes[1:] {
		if _, err := node.do(order{Join: c.nodes[0].address}); err != nil {
			return err
		}
	}
	failed := make([]error, size)
	var wg sync.WaitGroup
	for i, node := range c.nodes {
		wg.Go(func() { _, failed[i] = node.do(order{Await: size}) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

func (c *serfCluster) add(name string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, serfRole, name) //nolint:noctx // the nest ends it
	orders, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	results, tell, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	cmd.Stdout = tell
	node := &serfNode{orders: orders, results: bufio.NewScanner(results)}
	node.child, err = c.nest.start(name, cmd)
	_ = tell.Close() // the child has its own
	if err != nil {
		_ = results.Close()
		return err
	}
	c.nodes = append(c.nodes, node)
	first, err := node.next()
	node.address = first.Address
	return err
}

// do gives an order and waits for its result.
func (n *serfNode) do(o order) (result, error) {
	if err := json.NewEncoder(n.orders).Encode(o); err != nil {
		return result{}, fmt.Errorf("give an order: %w", errors.Join(err, n.died()))
	}
	return n.next()
}

func (n *serfNode) next() (result, error) {
	if !n.results.Scan() {
		<-n.end.Done()
		return result{}, n.died()
	}
	var r result
	if err := json.Unmarshal(n.results.Bytes(), &r); err != nil {
		return result{}, fmt.Errorf("read a result: %w", err)
	}
	if r.Error != "" {
		return result{}, errors.New(r.Error)
	}
	return r, nil
}

// queries asks everybody, round for round, as the sidecars' rounds do.
func (c *serfCluster) queries(ctx context.Context, o options) ([]Load, error) {
	stop := context.AfterFunc(ctx, c.nest.killAll)
	defer stop()
	var loads []Load
	for _, callers := range o.callers {
		var rounds []Load
		for i := range o.rounds + 1 {
			during := o.serfDuring
			if i == 0 {
				during = warmUp
			}
			l, err := c.round(callers, during)
			if err != nil {
				return nil, fmt.Errorf("query with %d callers: %w", callers, errors.Join(err, ctx.Err()))
			}
			if i > 0 {
				rounds = append(rounds, l)
			}
		}
		loads = append(loads, overRounds(rounds))
	}
	return loads, nil
}

func (c *serfCluster) round(callers int, during time.Duration) (Load, error) {
	var pids []int
	for _, node := range c.nodes {
		pids = append(pids, node.pid)
	}
	var l Load
	cpu, err := spent(pids, func() error {
		r, err := c.nodes[0].do(order{Query: len(c.nodes), Callers: callers, During: during})
		if err == nil {
			l = *r.Load
		}
		return err
	})
	if err != nil {
		return Load{}, err
	}
	l.CPU = microseconds(cpu) / float64(l.Calls*len(c.nodes))
	return l, nil
}

// stop ends all processes; the nest is empty then.
func (c *serfCluster) stop() {
	c.nest.killAll()
	for _, node := range c.nodes {
		_ = node.orders.Close()
	}
}
