package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"starling": main, "fetch": fetch})
}

// TestScripts are the command line as people use it: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			port, err := freePort()
			env.Setenv("PROBES", port)
			return err
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "shows": shows, "listening": listening, "serving": serving, "empty": empty, "gone": gone,
		},
	})
}

// freePort is an address that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// fetch is a program of the scripts: it shows what is at each URL.
func fetch() {
	for _, url := range os.Args[1:] {
		r, err := http.Get(url)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		fmt.Println(r.Request.URL.Path, r.StatusCode, strings.TrimSpace(string(body)))
	}
}

// patience is how long a script waits for what should come at once.
const patience = 10 * time.Second

// until asks again and again until it is so.
func until(ts *testscript.TestScript, what string, so func() bool) {
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for end := time.After(patience); !so(); {
		select {
		case <-ticks.C:
		case <-end:
			ts.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// listening waits until somebody accepts at a socket.
func listening(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "listening at "+args[0], func() bool {
		path := ts.MkAbs(args[0])
		if found, err := filepath.Glob(path); err == nil && len(found) == 1 {
			path = found[0]
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// serving waits until a method is announced.
func serving(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "serving "+args[0], func() bool {
		return ts.Exec("starling", "members", "--serving", args[0]) == nil && strings.Contains(ts.ReadFile("stdout"), args[0])
	})
}

// shows runs a command until it prints what matches: shows REGEXP COMMAND ARG...
func shows(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	until(ts, args[0], func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && want.MatchString(ts.ReadFile("stdout"))
	})
}

// empty wants a directory without entries.
func empty(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, e := range entries {
		ts.Fatalf("%s was left behind in %s", e.Name(), args[0])
	}
}

// gone waits until no process has the argument in its command line.
func gone(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "no process with "+args[0], func() bool {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, l := range lines {
			if text, err := os.ReadFile(l); err == nil && strings.Contains(string(text), args[0]) {
				return false
			}
		}
		return true
	})
}

// exits runs a command and wants an exit code: exits 2 starling frobnicate.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = exitCode(err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func exitCode(err error) string {
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return strconv.Itoa(failed.ExitCode())
	}
	return err.Error()
}
