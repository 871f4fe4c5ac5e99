package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Idle is what a cluster costs in which nobody calls.
type Idle struct {
	Nodes    int     `json:"nodes"`
	Seconds  float64 `json:"seconds"`
	Joined   float64 `json:"joined_s"`   // from the first process's start until all know all
	RSS      float64 `json:"rss_mb"`     // of a sidecar, in the middle
	RSSMax   float64 `json:"rss_max_mb"` //
	Anon     float64 `json:"anon_mb"`    // of it what it allocated; the rest are pages of the program's file that it uses
	AnonMax  float64 `json:"anon_max_mb"`
	RSSAfter float64 `json:"rss_after_mb"` // in the middle, after all other measurements
	CPU      float64 `json:"cpu_percent"`  // of a core, for a sidecar, in the middle
	CPUMax   float64 `json:"cpu_max_percent"`
	BytesIn  float64 `json:"bytes_in_per_second"` // of a sidecar, on the average, TLS included
	BytesOut float64 `json:"bytes_out_per_second"`
}

// settle is what a cluster is given to calm down after it was started.
const settle = 10 * time.Second

// idle lets the cluster be for a while and looks at what it used.
func (c *cluster) idle(ctx context.Context, during time.Duration) (*Idle, error) {
	if err := pause(ctx, min(settle, during)); err != nil {
		return nil, err
	}
	before, err := c.usage(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := pause(ctx, during); err != nil {
		return nil, err
	}
	resident, err := c.resident("VmRSS")
	if err != nil {
		return nil, err
	}
	anon, err := c.resident("RssAnon")
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	after, err := c.usage(ctx)
	if err != nil {
		return nil, err
	}
	i := &Idle{Nodes: len(c.sidecars), Seconds: took.Seconds(), Joined: c.Joined.Seconds(), RSS: median(resident), RSSMax: slices.Max(resident)}
	i.Anon, i.AnonMax = median(anon), slices.Max(anon)
	var cpu []float64
	for n := range after {
		cpu = append(cpu, 100*(after[n].cpu-before[n].cpu).Seconds()/took.Seconds())
		i.BytesIn += float64(after[n].in-before[n].in) / took.Seconds() / float64(len(after))
		i.BytesOut += float64(after[n].out-before[n].out) / took.Seconds() / float64(len(after))
	}
	i.CPU, i.CPUMax = median(cpu), slices.Max(cpu)
	return i, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (c *cluster) resident(which string) ([]float64, error) {
	var list []float64
	for _, pid := range c.agents() {
		mb, err := residentMB(pid, which)
		if err != nil {
			return nil, err
		}
		list = append(list, mb)
	}
	return list, nil
}

// usage is what one sidecar has used since its start.
type usage struct {
	cpu     time.Duration
	in, out uint64
}

func (c *cluster) usage(ctx context.Context) ([]usage, error) {
	var list []usage
	for i, s := range c.sidecars {
		u, err := counted(ctx, c.adminSocket(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		if u.cpu, err = cpuTime(s.agent.pid); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, nil
}

// counted are the sidecar's own counters: the loopback interface's are everybody's.
func counted(ctx context.Context, socket string) (usage, error) {
	conn, err := client.Connect(socket)
	if err != nil {
		return usage{}, err
	}
	defer func() { _ = conn.Close() }()
	dump, err := starlingv1.NewAdminServiceClient(conn).Dump(ctx, &starlingv1.DumpRequest{})
	if err != nil {
		return usage{}, fmt.Errorf("ask for its counters: %w", err)
	}
	var d struct {
		Overlay *struct{ BytesIn, BytesOut uint64 } `json:"overlay"`
	}
	if err := json.Unmarshal([]byte(dump.GetText()), &d); err != nil || d.Overlay == nil {
		return usage{}, fmt.Errorf("read its counters: %w", err)
	}
	return usage{in: d.Overlay.BytesIn, out: d.Overlay.BytesOut}, nil
}
