package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"
)

// Results are all figures of one run.
type Results struct {
	Date       string      `json:"date"`
	Machine    string      `json:"machine"`
	Starling   string      `json:"starling"`
	Serf       string      `json:"serf"`
	LoadBefore string      `json:"load_before"` // what else the machine was doing: load average over a minute
	LoadAfter  string      `json:"load_after"`
	Multicall  []Multicall `json:"multicall"`
	Abcast     *Abcast     `json:"abcast,omitempty"`
	Idle       *Idle       `json:"idle,omitempty"`
}

// A Multicall is the same question to so many nodes of either kind, by number of callers.
type Multicall struct {
	Nodes    int    `json:"nodes"`
	Starling []Load `json:"starling"`
	Serf     []Load `json:"serf,omitempty"`
}

func newResults(ctx context.Context, root string) *Results {
	r := &Results{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(), LoadBefore: loadAverage(), Starling: "unknown", Serf: "unknown",
	}
	if commit, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty", "--tags").Output(); err == nil {
		r.Starling = strings.TrimSpace(string(commit))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/hashicorp/serf" {
				r.Serf = m.Version
			}
		}
	}
	return r
}

// An expectation is a figure that was expected, and what was reached.
type expectation struct {
	what              string
	expected, reached float64
	unit              string
	atLeast           bool // more is better
}

// expectations are those that this run has figures for.
func (r *Results) expectations() []expectation {
	var list []expectation
	for _, m := range r.Multicall {
		if m.Nodes == 5 {
			list = append(list, expectation{"multicall to 5, one caller, p50", 0.6, m.Starling[0].P50, "ms", false})
		}
	}
	for _, m := range r.Multicall {
		if len(m.Serf) > 0 {
			list = append(list, expectation{
				fmt.Sprintf("multicall to %d, p50 of serf's query over ours", m.Nodes), 50, m.Serf[0].P50 / m.Starling[0].P50, "×", true})
		}
	}
	for _, m := range r.Multicall {
		for _, l := range m.Starling {
			list = append(list, expectation{
				fmt.Sprintf("multicall to %d, callers %d, answered by all", m.Nodes, l.Callers), 100, 100 * l.Complete, "%", true})
		}
	}
	if a := r.Abcast; a != nil {
		list = append(list,
			expectation{fmt.Sprintf("abcast to %d, share delivered", a.Nodes), 1, a.Delivered, "", true},
			expectation{fmt.Sprintf("abcast to %d, delivered twice", a.Nodes), 0, float64(a.Twice), "", false})
	}
	if i := r.Idle; i != nil {
		list = append(list,
			expectation{fmt.Sprintf("idle at %d, RSS", i.Nodes), 30, i.RSS, "MB", false},
			expectation{fmt.Sprintf("idle at %d, CPU", i.Nodes), 0.5, i.CPU, "% of a core", false})
	}
	return list
}

// verdict is "reached", or MISSED and by how much.
func (e expectation) verdict() string {
	if e.atLeast && e.reached >= e.expected || !e.atLeast && e.reached <= e.expected {
		return "reached"
	}
	off := e.reached - e.expected
	if e.expected == 0 {
		return fmt.Sprintf("MISSED by %s", figure(off, e.unit))
	}
	return fmt.Sprintf("MISSED by %s (%.3g %%)", figure(max(off, -off), e.unit), 100*max(off, -off)/e.expected)
}

// bound is what was expected, in words.
func (e expectation) bound() string {
	if e.atLeast {
		return "≥ " + figure(e.expected, e.unit)
	}
	return "≤ " + figure(e.expected, e.unit)
}

func figure(v float64, unit string) string {
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, unit))
}
