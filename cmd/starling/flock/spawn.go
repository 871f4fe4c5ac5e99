package flock

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A spawner starts processes that do not outlive this one, however it ends: each dies with the thread that started it
// (prctl(2), PR_SET_PDEATHSIG), so all are started from one thread that stays.
type spawner struct {
	jobs chan func()
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func())}
	go func() { // ends with close; it owns nothing but its thread
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// close lets the thread end; what it started must have ended before.
func (s *spawner) close() { close(s.jobs) }

// A process was started and will be waited for.
type process struct {
	pid  int
	gone context.Context // done when it has ended and was reaped
}

// start runs a program in a process group of its own, so that a Ctrl-C at the terminal reaches only us.
func (s *spawner) start(logFile, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(name, args...) //nolint:noctx // it is ended by its group, see signal
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = procAttr()
	started := make(chan error)
	s.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	gone, reaped := context.WithCancel(context.Background())
	go func() { // ends when the process does
		_ = cmd.Wait() // how it ended is in its log
		reaped()
	}()
	return &process{pid: cmd.Process.Pid, gone: gone}, nil
}

// signal reaches the process and whatever it started.
func (p *process) signal(sig syscall.Signal) {
	if p.gone.Err() == nil {
		_ = syscall.Kill(-p.pid, sig) // it may have ended this moment
	}
}

// awaitStopped waits until every thread of the process has taken note of SIGSTOP: for some milliseconds after kill(2) it may
// still answer. Where there is no /proc it returns at once.
func (p *process) awaitStopped() {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for range 1000 {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid)) // the pattern is good
		running := slices.ContainsFunc(threads, func(name string) bool {
			stat, err := os.ReadFile(name)
			return err == nil && !strings.Contains(string(stat), ") T ")
		})
		if !running {
			return
		}
		<-ticks.C
	}
}
