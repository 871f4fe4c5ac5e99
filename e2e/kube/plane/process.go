package plane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A Process is one server. Its methods are for one goroutine.
type Process struct {
	name string
	argv []string
	log  string // file
	jobs chan<- func()

	pid  int
	gone context.Context // done when it has ended and was reaped
}

// spawner returns a channel whose jobs run on one thread that stays until it is closed: what they start is killed by the
// kernel when that thread ends (prctl(2), PR_SET_PDEATHSIG), so no server outlives a test that was killed.
func spawner() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
}

// Start starts it, anew if it was stopped or killed, in a process group of its own.
func (p *Process) Start() error {
	if p.gone != nil && p.gone.Err() == nil {
		return fmt.Errorf("%s runs", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	c := exec.Command(p.argv[0], p.argv[1:]...)
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	p.jobs <- func() { started <- c.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	gone, reaped := context.WithCancel(context.Background())
	go func() { // ends when the process does
		_ = c.Wait() // how it ended is in its log
		reaped()
	}()
	p.pid, p.gone = c.Process.Pid, gone
	return nil
}

// Kill ends it as kill -9 does, and waits for the end.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop asks it to end, and kills it after five seconds.
func (p *Process) Stop() {
	p.signal(syscall.SIGCONT) // a paused one hears nothing
	p.signal(syscall.SIGTERM)
	if p.gone == nil {
		return
	}
	select {
	case <-p.gone.Done():
	case <-time.After(5 * time.Second):
		p.Kill()
	}
}

// Pause stops it where it stands: its connections stay open and nothing answers.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume ends a pause.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

// PID is its process ID.
func (p *Process) PID() int { return p.pid }

func (p *Process) end(sig syscall.Signal) {
	p.signal(sig)
	if p.gone != nil {
		<-p.gone.Done()
	}
}

func (p *Process) signal(sig syscall.Signal) {
	if p.gone != nil && p.gone.Err() == nil {
		_ = syscall.Kill(-p.pid, sig) // it may have ended this moment
	}
}

// await waits until ready says nil. A server that ends before it is ready is an error at once, with its last words.
func (p *Process) await(ctx context.Context, most time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.gone.Done():
			return fmt.Errorf("%s ended before it was ready%s", p.name, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w%s", p.name, most, errors.Join(err, ctx.Err()), p.lastWords())
		case <-ticks.C:
		}
	}
}

// lastWords is the end of its log, for an error.
func (p *Process) lastWords() string {
	const most = 3000
	text, err := os.ReadFile(p.log)
	if err != nil || len(text) == 0 {
		return ""
	}
	return "; " + filepath.Base(p.log) + " ends with\n" + strings.TrimSpace(string(text[max(0, len(text)-most):]))
}
