// Package exec runs a program that prints addresses: the contract of HashiCorp's go-netaddrs (addresses between blanks on the
// standard output and exit code 0, or an error on the other and any other code), or Prometheus' target groups in JSON or
// YAML. The program gets no shell, no input and little environment, and nothing of it outlives its time.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/targets"
)

// Config is what to run.
type Config struct {
	// Command (command, required, 1 to 64 words) is the program and its words. It is
	// run as it is: for a shell write [sh, -c, "…"].
	Command []string `yaml:"command"`
	// Environment (environment, none, at most 64) is what the program finds beside
	// PATH, HOME, TMPDIR, LANG and TZ. Nothing else of our own is handed on: it may
	// hold keys.
	Environment map[string]string `yaml:"environment"`
	// Format (format, auto) is auto, json, yaml or list; auto is json if the output
	// begins like it, else list.
	Format string `yaml:"format"`
	// Port (port, 7827) is that of addresses without one.
	Port int `yaml:"port"`
	// Refresh (refresh, 30s, 1s to 1h) is how often it is run.
	Refresh time.Duration `yaml:"refresh"`
	// Timeout (timeout, 10s, 100ms to 5m): after it the program and all that it
	// started are killed.
	Timeout time.Duration `yaml:"timeout"`
	// Complete (complete, true): the output lists everybody, so that who is no longer
	// in it is withdrawn.
	Complete bool `yaml:"complete"`
}

const (
	wordsMax  = 64
	outputMax = 4 << 20
	complaint = 1024 // bytes of the error output that are kept; as go-netaddrs
	lastPipe  = time.Second
)

// handed are the variables that the program gets from us.
var handed = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ"}

// Default returns the defaults; Command has none.
func Default() Config {
	return Config{Format: targets.Auto, Port: 7827, Refresh: 30 * time.Second, Timeout: 10 * time.Second, Complete: true}
}

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	errs := []error{targets.CheckFormat(c.Format), targets.CheckPort(c.Port)}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(c.Command) >= 1 && len(c.Command) <= wordsMax, "command: %d words, want 1 to %d", len(c.Command), wordsMax)
	check(len(c.Command) == 0 || c.Command[0] != "", "command: the program's name is empty")
	check(len(c.Command) != 1 || !strings.Contains(c.Command[0], " "), "command: a list is wanted, as in [program, word], and no shell reads it")
	check(len(c.Environment) <= wordsMax, "environment: %d variables are more than %d", len(c.Environment), wordsMax)
	for name := range c.Environment {
		check(name != "" && !strings.ContainsAny(name, "=\x00"), "environment: %q cannot be a variable's name", name)
	}
	check(c.Refresh >= time.Second && c.Refresh <= time.Hour, "refresh: %v is not within 1s and 1h", c.Refresh)
	check(c.Timeout >= 100*time.Millisecond && c.Timeout <= 5*time.Minute, "timeout: %v is not within 100ms and 5m", c.Timeout)
	return errors.Join(errs...)
}

// Lookup resolves a host name to addresses of all families.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Exec is the strategy.
type Exec struct {
	*discovery.Poll

	cfg   Config
	names *discovery.Names
}

// New returns the strategy. lookup resolves host names in the output; nil is the system's resolver. The program need not
// exist yet.
func New(cfg Config, lookup Lookup) (*Exec, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	e := &Exec{cfg: cfg, names: discovery.NewNames(lookup)}
	e.Poll = discovery.NewPoll(cfg.Refresh, cfg.Refresh, cfg.Refresh, e.look)
	return e, nil
}

// Describe says how the strategy is set up; of the environment and the program's words nothing, they may be secret.
func (e *Exec) Describe() discovery.Description {
	return discovery.Description{
		Config: map[string]string{
			"command": e.cfg.Command[0], "format": e.cfg.Format, "refresh": e.cfg.Refresh.String(), "timeout": e.cfg.Timeout.String(),
		},
		Rights: []string{"run " + e.cfg.Command[0]},
	}
}

func (e *Exec) look(ctx context.Context) discovery.Round {
	out, err := e.run(ctx)
	if err != nil {
		return discovery.Round{Err: err}
	}
	format := e.cfg.Format
	if format == targets.Auto {
		format = sniff(out)
	}
	entries, err := targets.Parse("output of "+e.cfg.Command[0], format, e.cfg.Port, out)
	if err != nil {
		return discovery.Round{Err: discovery.Classed(discovery.Misconfigured, "%w", err)}
	}
	return e.names.Round(ctx, entries, e.cfg.Complete)
}

// sniff tells JSON from a list, which may begin with [fd00::1].
func sniff(out []byte) string {
	rest, bracket := bytes.CutPrefix(bytes.TrimSpace(out), []byte("["))
	rest = bytes.TrimSpace(rest)
	if bracket && (len(rest) == 0 || rest[0] == '{' || rest[0] == ']') {
		return targets.JSON
	}
	return targets.List
}

// run runs the program and returns what it printed.
func (e *Exec) run(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.Timeout, errSlow)
	defer cancel()
	name := e.cfg.Command[0]
	cmd := exec.CommandContext(ctx, name, e.cfg.Command[1:]...) // to run what the configuration says is its purpose
	out := &limited{most: outputMax, full: func() { killGroup(cmd) }}
	said := &limited{most: complaint}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.Env = e.environment()
	// A process group of its own, so that what the program starts can be killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { killGroup(cmd); return nil }
	cmd.WaitDelay = lastPipe
	err := cmd.Run()
	killGroup(cmd) // whoever is left: a look leaves nothing running
	switch {
	case out.over:
		return nil, discovery.Classed(discovery.Misconfigured, "%s printed more than %d bytes and was killed", name, outputMax)
	case errors.Is(context.Cause(ctx), errSlow):
		return nil, discovery.Classed(discovery.Timeout, "%s took longer than %v and was killed", name, e.cfg.Timeout)
	case errors.Is(err, exec.ErrWaitDelay): // it ended well; what it left in the background kept the pipe open
		return out.kept, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, discovery.Classed(discovery.NotFound, "%w", err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w%s", name, err, said.quote())
	}
	return out.kept, nil
}

var errSlow = errors.New("too slow")

func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there may be nobody left
	}
}

func (e *Exec) environment() []string {
	env := []string{}
	for _, name := range handed {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range e.cfg.Environment {
		env = append(env, name+"="+value)
	}
	slices.Sort(env[len(env)-len(e.cfg.Environment):])
	return env
}

// limited keeps the first bytes and swallows the rest. The buffer is no embedded one: its ReadFrom would know no limit.
type limited struct {
	kept []byte
	most int
	over bool
	full func() // told once when there is more; may be nil
}

func (l *limited) Write(p []byte) (int, error) {
	room := min(len(p), l.most-len(l.kept))
	l.kept = append(l.kept, p[:room]...)
	if room < len(p) && !l.over {
		l.over = true
		if l.full != nil {
			l.full()
		}
	}
	return len(p), nil
}

// quote is what was said, in one line, for an error.
func (l *limited) quote() string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(l.kept), "?")), " ")
	if text == "" {
		return ""
	}
	return ": " + text
}
