package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures prints how soon the sidecars of some pods were of use, and what they take. A pod's start is that of the process which
// holds its namespaces; the kernel knows it to 10 ms. Who has a first link has joined.
func (w *world) figures(selector string) {
	w.t.Helper()
	var open, joined []time.Duration
	var rss []int
	all := processes(w.t)
	for _, pod := range w.pods(selector) {
		began := w.podBegan(all, pod.Name)
		for _, p := range all {
			if p.host == pod.Name && p.program == "/starling" && p.args[1] == "agent" {
				rss = append(rss, p.rss)
			}
		}
		socket, first := w.milestones(pod.Name)
		open = append(open, socket.Sub(began))
		joined = append(joined, first.Sub(began))
	}
	w.t.Logf("pod start to socket open: %s", spread(open))
	w.t.Logf("pod start to joined:      %s", spread(joined))
	w.t.Logf("RSS of a sidecar:         %s", spreadKiB(rss))
}

// podBegan is when the first process of a pod began: of those in the network of its sidecar.
func (w *world) podBegan(all []process, pod string) time.Time {
	w.t.Helper()
	space := ""
	for _, p := range all {
		if p.host == pod && p.program == "/starling" {
			space, _ = os.Readlink("/proc/" + p.pid + "/ns/net")
		}
	}
	first := time.Now()
	for _, p := range all {
		if s, err := os.Readlink("/proc/" + p.pid + "/ns/net"); err == nil && s == space {
			if at, err := beganAt(p.pid); err == nil && at.Before(first) {
				first = at
			}
		}
	}
	return first
}

// beganAt is when a process began, by proc(5): field 22 of stat, in ticks since the machine's start.
func beganAt(pid string) (time.Time, error) {
	const tick = 10 * time.Millisecond
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return time.Time{}, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:])) // from field 3 on
	ticks, err := strconv.ParseInt(fields[22-3], 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	up, err := strconv.ParseFloat(strings.Fields(string(uptime))[0], 64)
	booted := time.Now().Add(-time.Duration(up * float64(time.Second)))
	return booted.Add(time.Duration(ticks) * tick), err
}

// milestones are when the sidecar of a pod says that its socket was open, and that it had its first link.
func (w *world) milestones(pod string) (socket, link time.Time) {
	w.t.Helper()
	for line := range strings.Lines(w.kubectl("logs", pod, "-c", "starling")) {
		var said struct {
			Time time.Time
			Msg  string
		}
		if json.Unmarshal([]byte(line), &said) != nil {
			continue
		}
		switch {
		case said.Msg == "ready for applications":
			socket = said.Time
		case said.Msg == "neighbour up" && link.IsZero():
			link = said.Time
		}
	}
	return socket, link
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	return fmt.Sprintf("%v median, %v to %v, of %d", round(all[len(all)/2]), round(all[0]), round(all[len(all)-1]), len(all))
}

func spreadKiB(all []int) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	mib := func(kib int) float64 { return float64(kib) / 1024 }
	return fmt.Sprintf("%.1f MiB median, %.1f to %.1f, of %d", mib(all[len(all)/2]), mib(all[0]), mib(all[len(all)-1]), len(all))
}
