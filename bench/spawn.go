package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// A nest is a temporary directory and the processes that live in it. None of them outlives this program, however it ends:
// each dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG), so all are started from one thread that stays.
type nest struct {
	dir  string
	jobs chan func()

	mu       sync.Mutex // guards children
	children []*child
}

// newNest makes the directory, with a path short enough for sockets (107 bytes).
func newNest() (*nest, error) {
	dir, err := os.MkdirTemp("/tmp", "starling-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	n := &nest{dir: dir, jobs: make(chan func())}
	go func() { // ends with close; it owns nothing but its thread
		runtime.LockOSThread()
		for job := range n.jobs {
			job()
		}
	}()
	return n, nil
}

func (n *nest) file(name string) string { return filepath.Join(n.dir, name) }

// close ends every process and removes every file, unless they are to be kept.
func (n *nest) close(keep bool) error {
	n.killAll()
	close(n.jobs)
	if keep {
		say("kept: %s", n.dir)
		return nil
	}
	return os.RemoveAll(n.dir)
}

// killAll ends every process that was started here.
func (n *nest) killAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.children {
		c.kill()
	}
	n.children = nil
}

// A child is a process that was started and will be waited for.
type child struct {
	pid int
	log string
	end context.Context // done when it has ended and was reaped
}

// start runs cmd in a process group of its own, so that a Ctrl-C at the terminal reaches only us. What it says to standard
// error is kept in a file until the end; so is its standard output, unless cmd has one.
func (n *nest) start(name string, cmd *exec.Cmd) (*child, error) {
	path := n.file(name + ".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // what a container with one core gives each
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	n.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	end, reaped := context.WithCancel(context.Background())
	go func() { // ends when the process does
		_ = cmd.Wait() // how it ended is in its log
		reaped()
	}()
	c := &child{pid: cmd.Process.Pid, log: path, end: end}
	n.mu.Lock()
	n.children = append(n.children, c)
	n.mu.Unlock()
	return c, nil
}

// kill ends the process and whatever it started.
func (c *child) kill() {
	if c.end.Err() == nil {
		_ = syscall.Kill(-c.pid, syscall.SIGKILL) // it may have ended this moment
	}
	<-c.end.Done()
}

// died is nil while the process lives, and then the end of its log.
func (c *child) died() error {
	if c.end.Err() == nil {
		return nil
	}
	const most = 2000
	text, _ := os.ReadFile(c.log) // without its log the error is still true
	return errors.New("it ended:\n" + strings.TrimSpace(string(text[max(0, len(text)-most):])))
}
