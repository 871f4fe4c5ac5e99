// Package term is how all commands speak: tables for people, JSON for scripts, exit codes for both. It knows nothing of
// what is said.
package term

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes, so that scripts can tell what happened without reading.
const (
	OK       = 0
	Error    = 1
	Usage    = 2 // the command line or the configuration makes no sense
	Partial  = 3 // some nodes did not reply
	Failed   = 4 // no node replied
	NoAgent  = 5 // there is no sidecar to talk to
	Findings = 6 // check found something

	Interrupted = 130 // by Ctrl-C, as shells count it
)

// An Exit ends the command with a code of its own; without an error it has said all it had to say.
type Exit struct {
	Code int
	Err  error
}

func (e Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e Exit) Unwrap() error { return e.Err }

// Usagef is an error in the command line.
func Usagef(format string, args ...any) error {
	return Exit{Usage, fmt.Errorf(format, args...)}
}

// JSONVersion is raised when a field of the commands' JSON changes its meaning or goes; new fields may come at any time.
const JSONVersion = 1

// WriteJSON is what scripts read.
func WriteJSON(w io.Writer, kind string, data any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Version int    `json:"version"`
		Kind    string `json:"kind"`
		Data    any    `json:"data"`
	}{JSONVersion, kind, data})
}

// IsTerminal tells whether a person is likely to read what is written.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// DurationFlag gives a command a flag for a time above zero.
func DurationFlag(c *cobra.Command, name string, usual time.Duration, usage string) *time.Duration {
	d := positive(usual)
	c.Flags().Var(&d, name, usage)
	return (*time.Duration)(&d)
}

// positive is a duration above zero, as a flag.
type positive time.Duration

func (p *positive) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New("want a time above zero, such as 500ms or 5s")
	}
	*p = positive(d)
	return nil
}

func (p *positive) String() string { return time.Duration(*p).String() }

// Type is what help calls the flag's value.
func (*positive) Type() string { return "duration" }

// OutputFlag gives a command -o and checks it.
func OutputFlag(c *cobra.Command) *string {
	formats := []string{"table", "json"}
	o := c.Flags().StringP("output", "o", "table", "table for people, json for scripts")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	c.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, *o) {
			return Usagef("-o %s: there are table and json", *o)
		}
		return nil
	}
	return o
}
