package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// A sidecar is one process of Starling and the application beside it.
type sidecar struct {
	name       string
	agent, app *child
}

// A cluster is sidecars that all know all, an application on each, and this program's connection to the first.
type cluster struct {
	nest     *nest
	binary   string // starling
	name     string
	key      string
	self     string // this program, which is the application, too
	sidecars []sidecar
	caller   *client.Client
	tell     *os.File      // where the applications write
	done     chan complete // what they wrote: an application has all of a run
	Joined   time.Duration // from the first process's start until all know all
}

// complete is the moment at which one application had all messages of a run.
type complete struct {
	run uint64
	at  time.Time
}

// contacts is how many sidecars the others are told of.
const contacts = 3

// startTimeout bounds the start of all processes until all know all.
const startTimeout = 90 * time.Second

func startCluster(ctx context.Context, n *nest, binary string, size int) (*cluster, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	key, err := exec.CommandContext(ctx, binary, "keygen").Output()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	c := &cluster{
		nest: n, binary: binary, self: self, name: fmt.Sprintf("bench-%d", size), key: strings.TrimSpace(string(key)),
		done: make(chan complete, size),
	}
	if err := c.start(ctx, size); err != nil {
		c.stop()
		return nil, fmt.Errorf("start %d sidecars: %w", size, err)
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, size int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	began := time.Now()
	heard, tell, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	c.tell = tell
	go c.listen(heard) // ends when this program and all applications have closed the pipe
	var known []string
	for i := range size {
		address, err := c.add(ctx, i, known)
		if err != nil {
			return err
		}
		if i < contacts {
			known = append(known, address)
		}
	}
	if c.caller, err = client.Dial(ctx, client.Options{Socket: c.socket(0), Application: "bench-caller", Wait: true}); err != nil {
		return err
	}
	failed := make([]error, size)
	var wg sync.WaitGroup
	for i := range size {
		wg.Go(func() { failed[i] = c.await(ctx, i, size) })
	}
	wg.Wait()
	c.Joined = time.Since(began)
	return errors.Join(failed...)
}

// add starts a sidecar and its application; of the first few it waits for the address.
func (c *cluster) add(ctx context.Context, i int, known []string) (address string, err error) {
	s := sidecar{name: fmt.Sprintf("node-%d", i)}
	config := c.nest.file(s.name + ".yaml")
	if err := os.WriteFile(config, []byte(c.config(i, known)), 0o600); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	if s.agent, err = c.nest.start(s.name, exec.Command(c.binary, "agent", "--config", config)); err != nil { //nolint:noctx // the nest ends it
		return "", err
	}
	app := exec.Command(c.self, appRole, c.socket(i)) //nolint:noctx // the nest ends it
	app.Stdout = c.tell
	if s.app, err = c.nest.start(s.name+".app", app); err != nil {
		return "", err
	}
	c.sidecars = append(c.sidecars, s)
	if i >= contacts {
		return "", nil
	}
	status, err := c.status(ctx, i)
	if err != nil {
		return "", errors.Join(err, s.agent.died())
	}
	if list := status.GetSelf().GetAddresses(); len(list) > 0 {
		return list[0], nil
	}
	return "", fmt.Errorf("%s has no address", s.name)
}

// status asks a sidecar how it is, once it is there.
func (c *cluster) status(ctx context.Context, i int) (*starlingv1.GetStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	look, err := client.Dial(ctx, client.Options{Socket: c.socket(i), Application: "bench", Wait: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = look.Close() }()
	return look.Status(ctx)
}

// config leaves everything that matters at its default.
func (c *cluster) config(i int, known []string) string {
	text := fmt.Sprintf("cluster: %s\nname: node-%d\nlisten: 127.0.0.1:0\nsecurity: {key: %s}\napi: {socket: %q}\nadmin: {socket: %q}\n",
		c.name, i, c.key, c.socket(i), c.adminSocket(i))
	if len(known) > 0 {
		text += fmt.Sprintf("discovery:\n  sources:\n    - {kind: static, contacts: [%s]}\n", strings.Join(known, ", "))
	}
	return text
}

func (c *cluster) socket(i int) string      { return c.nest.file(fmt.Sprintf("node-%d.sock", i)) }
func (c *cluster) adminSocket(i int) string { return c.nest.file(fmt.Sprintf("node-%d.admin", i)) }

// await waits until a sidecar knows that so many live and serve.
func (c *cluster) await(ctx context.Context, i, size int) error {
	s := c.sidecars[i]
	look, err := client.Dial(ctx, client.Options{Socket: c.socket(i), Application: "bench", Wait: true})
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, errors.Join(err, s.agent.died()))
	}
	defer func() { _ = look.Close() }()
	peers, err := look.AwaitPeers(ctx, size, client.Serving(countMethod))
	if err == nil && !peers.Satisfied {
		err = fmt.Errorf("knows %d of %d members that serve", peers.Alive, size)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, errors.Join(err, s.agent.died()))
	}
	return nil
}

// listen takes what the applications write.
func (c *cluster) listen(heard *os.File) {
	defer func() { _ = heard.Close() }()
	for in := bufio.NewScanner(heard); in.Scan(); {
		var run uint64
		var at int64
		if _, err := fmt.Sscan(in.Text(), &run, &at); err == nil {
			c.done <- complete{run, time.Unix(0, at)}
		}
	}
}

func (c *cluster) agents() (pids []int) {
	for _, s := range c.sidecars {
		pids = append(pids, s.agent.pid)
	}
	return pids
}

func (c *cluster) apps() (pids []int) {
	for _, s := range c.sidecars {
		pids = append(pids, s.app.pid)
	}
	return pids
}

// stop ends all processes; the nest is empty then.
func (c *cluster) stop() {
	if c.caller != nil {
		_ = c.caller.Close()
	}
	c.nest.killAll()
	if c.tell != nil {
		_ = c.tell.Close()
	}
}
