package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is what a process has used, user and system (proc(5), fields 14 and 15), exact to 20 ms.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // a process that we started
	if err != nil {
		return 0, fmt.Errorf("read a process's times: %w", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name before may hold anything
	var sum time.Duration
	for _, field := range fields[11:13] { // the first field after the name is number 3
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("read a process's times: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// cpuTimes is the sum over processes.
func cpuTimes(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		d, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// residentMB is a process's resident memory in units of 1,000,000 bytes: all of it (VmRSS), or what it allocated (RssAnon).
func residentMB(pid int, which string) (float64, error) {
	kib, err := procLine(fmt.Sprintf("/proc/%d/status", pid), which)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(kib, " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	return n * 1024 / 1e6, nil
}

// procLine is the value of the first line "key : value" of a file.
func procLine(file, key string) (string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // one of /proc
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", key, err)
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("%s: no %s", file, key)
}

// machine describes where the figures come from; what cannot be read is left out.
func machine() string {
	words := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if model, err := procLine("/proc/cpuinfo", "model name"); err == nil {
		words = append(words, model)
	}
	if kib, err := procLine("/proc/meminfo", "MemTotal"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSuffix(kib, " kB")); err == nil {
			words = append(words, fmt.Sprintf("%d GiB", (n+1<<19)>>20))
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		words = append(words, "Linux "+strings.TrimSpace(string(release)))
	}
	return strings.Join(append(words, runtime.Version()), ", ")
}

// loadAverage is how many processes wanted to run over the last minute: what else the machine was doing.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	if err != nil {
		return "unknown"
	}
	return first
}
