package main

import (
	"fmt"
	"log/slog"

	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/dns"
	"github.com/starlingmesh/starling/strategies/file"
	"github.com/starlingmesh/starling/strategies/kubernetes"
	"github.com/starlingmesh/starling/strategies/static"
)

// newSources makes the strategies. A new one is a folder, its options in config/source_KIND.go, and a case in newSource.
func newSources(blocks []config.Source, log *slog.Logger) ([]discovery.Source, error) {
	sources := make([]discovery.Source, 0, len(blocks))
	for _, b := range blocks {
		s, err := newSource(b, log.With("source", b.Label()))
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", b.Label(), err)
		}
		s.Name, s.Removal = b.Label(), discovery.Removal(b.Removal)
		sources = append(sources, s)
	}
	return sources, nil
}

func newSource(b config.Source, log *slog.Logger) (discovery.Source, error) {
	switch o := b.Options.(type) {
	case *config.Kubernetes:
		return newKubernetes(o, log)
	case *config.Static:
		return newStatic(o)
	case *config.DNS:
		return newDNS(o, log)
	case *config.File:
		return newFile(o)
	default:
		panic(fmt.Sprintf("no strategy for %T", o))
	}
}

func newKubernetes(o *config.Kubernetes, log *slog.Logger) (discovery.Source, error) {
	s, err := kubernetes.New(kubernetes.Config(*o), log)
	if err != nil {
		return discovery.Source{}, err
	}
	return discovery.Source{Strategy: s, Refresh: s.Refresh, Describe: s.Describe}, nil
}

func newStatic(o *config.Static) (discovery.Source, error) {
	s, err := static.New(static.Config(*o), nil)
	if err != nil {
		return discovery.Source{}, err
	}
	return discovery.Source{Strategy: s, SelfOptional: true, Refresh: s.Refresh, Describe: s.Describe}, nil
}

func newDNS(o *config.DNS, log *slog.Logger) (discovery.Source, error) {
	s, err := dns.New(dns.Config(*o), log)
	if err != nil {
		return discovery.Source{}, err
	}
	return discovery.Source{Strategy: s, Refresh: s.Refresh, Describe: s.Describe}, nil
}

func newFile(o *config.File) (discovery.Source, error) {
	s, err := file.New(file.Config(*o), nil)
	if err != nil {
		return discovery.Source{}, err
	}
	return discovery.Source{Strategy: s, SelfOptional: !o.Complete, Refresh: s.Refresh, Describe: s.Describe}, nil
}
