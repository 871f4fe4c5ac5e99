package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/ask"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/kubernetes"
)

// checkPatience bounds the look at one source.
const checkPatience = 5 * time.Second

// checkSources looks once through each source of a configuration, and asks whether it has its rights.
func checkSources(ctx context.Context, file string) ([]ask.Finding, error) {
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	me, err := selfOf(cfg, nil)
	if err != nil {
		return nil, err
	}
	sources, err := newSources(cfg.Discovery.Sources, me, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	var findings []ask.Finding
	for _, s := range sources {
		if k, ok := s.Strategy.(*kubernetes.Kubernetes); ok {
			findings = append(findings, checkRights(ctx, s.Name, k))
		}
		findings = append(findings, checkSource(ctx, s))
	}
	return findings, nil
}

func checkSource(ctx context.Context, s discovery.Source) ask.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	f := ask.Finding{What: "source " + s.Name + " answers"}
	found, err := discovery.Look(ctx, s.Strategy)
	if err != nil {
		f.Saw, f.Fix = err.Error(), "`starling discover -c FILE "+s.Name+"` tells more"
		return f
	}
	f.OK, f.Saw = true, fmt.Sprintf("%d addresses, %d not taken", len(found.Candidates), len(found.Skipped))
	return f
}

func checkRights(ctx context.Context, name string, k *kubernetes.Kubernetes) ask.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	f := ask.Finding{What: "source " + name + " has its rights"}
	rights, account, err := k.Review(ctx)
	if err != nil {
		f.Saw, f.Fix = err.Error(), "mend the way to the API server first"
		return f
	}
	var missing []string
	for _, r := range rights {
		if !r.Allowed {
			missing = append(missing, r.String())
		}
	}
	if f.OK = len(missing) == 0; f.OK {
		f.Saw = fmt.Sprintf("%d of %d", len(rights), len(rights))
		return f
	}
	f.Saw = "may not " + strings.Join(missing, ", ")
	f.Fix = "kubectl apply -f -"
	if account == "" {
		f.Fix += " (name this pod's ServiceAccount)"
	}
	f.Fix += ":\n" + k.MissingRoleOf(rights, account)
	return f
}
