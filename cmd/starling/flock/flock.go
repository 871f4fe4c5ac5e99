// Package flock runs a whole cluster on this machine: real sidecar processes, each with a small application process on its
// unix socket, in a temporary directory. `starling demo` and `starling dev` are made of it. It speaks to them as any
// application would and reaches into none; when it ends, no process and no file is left.
package flock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
)

// A Flock is some birds and the directory they live in. Its methods are for one goroutine.
type Flock struct {
	Options

	dir     string
	cluster string
	birds   []*Bird
	spawn   *spawner
}

// Options say what a flock is like.
type Options struct {
	Birds  int
	Key    string // a pre-shared key
	Faults bool   // whether links may be made to misbehave
	Binary string // the starling program; empty means this one
	NoApps bool   // only sidecars, without an application beside each

	// Wrap gives the words before a sidecar's command line, e.g. to enter a network namespace; it may be nil.
	Wrap func(name string) []string
	// Change has the last word about a bird's configuration; it may be nil.
	Change func(name string, s *Settings)
}

// Settings are a bird's configuration, each in YAML.
type Settings struct {
	Cluster, Name, Listen, Security, Sources string
	Rest                                     string // further keys, a line each
}

// New makes a flock's directory; nothing runs yet. Close it in any case.
func New(o Options) (*Flock, error) {
	if o.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		o.Binary = self
	}
	dir, err := shortTempDir()
	if err != nil {
		return nil, err
	}
	f := &Flock{Options: o, dir: dir, cluster: "flock-" + strings.ToLower(rand.Text()[:8]), spawn: newSpawner()}
	for i := range o.Birds {
		f.birds = append(f.birds, &Bird{Name: fmt.Sprintf("bird-%d", i+1), dir: dir})
	}
	return f, nil
}

// shortTempDir is a private directory whose sockets' paths are short enough for the kernel (107 bytes).
func shortTempDir() (string, error) {
	const longest = 70
	dir, err := os.MkdirTemp("", "starling-")
	if err == nil && len(dir) > longest {
		_ = os.Remove(dir) // it is empty
		dir, err = os.MkdirTemp("/tmp", "starling-")
	}
	if err != nil {
		return "", fmt.Errorf("make a temporary directory: %w", err)
	}
	return dir, nil
}

// Birds are the members in the order of their names.
func (f *Flock) Birds() []*Bird { return f.birds }

// Close kills every process and removes every file.
func (f *Flock) Close() error {
	for _, b := range f.birds {
		b.stop()
	}
	f.spawn.close()
	return os.RemoveAll(f.dir)
}

// contactsFile is what the birds find each other by: addresses are known only after the kernel chose the ports.
func (f *Flock) contactsFile() string { return filepath.Join(f.dir, "contacts") }

// Start starts all birds at once and tells each of the others. It returns when all applications are served.
func (f *Flock) Start(ctx context.Context) error {
	if err := os.WriteFile(f.contactsFile(), nil, 0o600); err != nil {
		return fmt.Errorf("write the contacts: %w", err)
	}
	for _, b := range f.birds {
		if err := f.StartSidecar(b); err != nil {
			return err
		}
	}
	failed := make([]error, len(f.birds))
	var wg sync.WaitGroup
	for i, b := range f.birds {
		wg.Go(func() { failed[i] = b.connect(ctx) })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := f.tellContacts(); err != nil {
		return err
	}
	for _, b := range f.birds {
		if err := f.StartApp(b); err != nil {
			return err
		}
	}
	return nil
}

// tellContacts writes where the birds are; a rename, so that nobody reads half of it.
func (f *Flock) tellContacts() error {
	var lines strings.Builder
	for _, b := range f.birds {
		if b.address != "" {
			fmt.Fprintln(&lines, b.address)
		}
	}
	next := f.contactsFile() + ".next"
	if err := os.WriteFile(next, []byte(lines.String()), 0o600); err != nil {
		return fmt.Errorf("write the contacts: %w", err)
	}
	return os.Rename(next, f.contactsFile())
}

// StartSidecar starts a bird's sidecar, anew if it was killed. Its application connects again by itself.
func (f *Flock) StartSidecar(b *Bird) error {
	if err := os.WriteFile(b.file("yaml"), []byte(f.config(b)), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	words := []string{f.Binary, "agent", "--config", b.file("yaml")}
	if f.Wrap != nil {
		words = append(f.Wrap(b.Name), words...)
	}
	p, err := f.spawn.start(b.file("log"), words[0], words[1:]...)
	if err != nil {
		return fmt.Errorf("start %s: %w", b.Name, err)
	}
	b.sidecar = p
	return nil
}

// Restart starts a bird's sidecar anew, under the same name, and returns when it can be asked.
func (f *Flock) Restart(ctx context.Context, b *Bird) error {
	if b.sidecar.gone.Err() == nil {
		return fmt.Errorf("%s runs", b.Name)
	}
	return errors.Join(f.StartSidecar(b), b.connect(ctx), f.tellContacts())
}

// StartApp starts the application of a bird, anew if it was killed, unless the flock has none.
func (f *Flock) StartApp(b *Bird) error {
	if f.NoApps {
		return nil
	}
	p, err := f.spawn.start(b.file("app.log"), f.Binary, AppCommand, "--socket", b.Socket())
	if err != nil {
		return fmt.Errorf("start the application of %s: %w", b.Name, err)
	}
	b.app = p
	return nil
}

func (f *Flock) config(b *Bird) string {
	s := Settings{
		Cluster: f.cluster, Name: b.Name, Listen: "127.0.0.1:0", Security: fmt.Sprintf("{key: %s}", f.Key),
		Sources: fmt.Sprintf("[{kind: file, path: %q, format: list, refresh: 100ms, complete: false}]", f.contactsFile()),
	}
	if f.Change != nil {
		f.Change(b.Name, &s)
	}
	return fmt.Sprintf(`cluster: %s
name: %s
listen: %s
security: %s
discovery: {sources: %s}
api: {socket: %q}
admin: {socket: %q}
faults: {allowed: %t}
%s`, s.Cluster, s.Name, s.Listen, s.Security, s.Sources, b.Socket(), b.AdminSocket(), f.Faults, s.Rest)
}

// AwaitAll waits until every bird but those excepted knows that so many live and that each of them serves the application.
func (f *Flock) AwaitAll(ctx context.Context, alive int, except ...*Bird) error {
	failed := make([]error, len(f.birds))
	var wg sync.WaitGroup
	for i, b := range f.birds {
		if b.client != nil && !slices.Contains(except, b) {
			wg.Go(func() { failed[i] = b.awaitServing(ctx, alive) })
		}
	}
	wg.Wait()
	return errors.Join(failed...)
}

// awaitServing waits for the directory of one bird to be complete.
func (b *Bird) awaitServing(ctx context.Context, alive int) error {
	for {
		members, _, err := b.client.Members(ctx, client.Serving(EchoMethod))
		serving := 0
		for _, m := range members {
			if m.Status == "alive" {
				serving++
			}
		}
		if err == nil && serving == alive {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s knows %d of %d members that serve %s: %w", b.Name, serving, alive, EchoMethod, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
