package main

import (
	"fmt"
	"log/slog"

	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/announce"
	"github.com/starlingmesh/starling/strategies/dns"
	"github.com/starlingmesh/starling/strategies/exec"
	"github.com/starlingmesh/starling/strategies/file"
	"github.com/starlingmesh/starling/strategies/gossip"
	"github.com/starlingmesh/starling/strategies/http"
	"github.com/starlingmesh/starling/strategies/kubernetes"
	"github.com/starlingmesh/starling/strategies/static"
)

// newSources makes the strategies. A new one is a folder, its options in config/source_KIND.go, and a case in newSource.
func newSources(blocks []config.Source, me self, log *slog.Logger) ([]discovery.Source, error) {
	sources := make([]discovery.Source, 0, len(blocks))
	for _, b := range blocks {
		s, err := newSource(b, me, log.With("source", b.Label()))
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", b.Label(), err)
		}
		s.Name, s.Removal = b.Label(), discovery.Removal(b.Removal)
		sources = append(sources, s)
	}
	return sources, nil
}

func newSource(b config.Source, me self, log *slog.Logger) (discovery.Source, error) {
	switch o := b.Options.(type) {
	case *config.Kubernetes:
		return newKubernetes(o, me, log)
	case *config.Static:
		return newStatic(o)
	case *config.DNS:
		return newDNS(o, log)
	case *config.File:
		return newFile(o)
	case *config.Announce:
		return newAnnounce(o, me, log)
	case *config.Gossip:
		return newGossip(o, me, log)
	case *config.HTTPSource:
		return newHTTP(o)
	case *config.Exec:
		return newExec(o)
	default:
		panic(fmt.Sprintf("no strategy for %T", o))
	}
}

func newKubernetes(o *config.Kubernetes, me self, log *slog.Logger) (discovery.Source, error) {
	s, err := kubernetes.New(kubernetes.Config(*o), me.relay, log)
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

func newGossip(o *config.Gossip, me self, log *slog.Logger) (discovery.Source, error) {
	ring, err := me.ring(o.KeyringFile, "gossip 1")
	if err != nil {
		return discovery.Source{}, err
	}
	s, err := gossip.New(gossip.Config(*o), me.Self, ring, log)
	if err != nil {
		return discovery.Source{}, err
	}
	// How many there should be it cannot say: it lists the failed for long, and who has left it may live.
	return discovery.Source{Strategy: s, SelfOptional: true, Refresh: s.Refresh, Describe: s.Describe, Counters: s.Counters}, nil
}

func newHTTP(o *config.HTTPSource) (discovery.Source, error) {
	s, err := http.New(http.Config(*o), nil)
	if err != nil {
		return discovery.Source{}, err
	}
	return discovery.Source{Strategy: s, SelfOptional: !o.Complete, Refresh: s.Refresh, Describe: s.Describe}, nil
}

func newExec(o *config.Exec) (discovery.Source, error) {
	s, err := exec.New(exec.Config(*o), nil)
	if err != nil {
		return discovery.Source{}, err
	}
	return discovery.Source{Strategy: s, SelfOptional: !o.Complete, Refresh: s.Refresh, Describe: s.Describe}, nil
}

func newAnnounce(o *config.Announce, me self, log *slog.Logger) (discovery.Source, error) {
	ring, err := me.ring(o.KeyringFile, "announce 1")
	if err != nil {
		return discovery.Source{}, err
	}
	s, err := announce.New(announce.Config(*o), me.Self, ring, log)
	if err != nil {
		return discovery.Source{}, err
	}
	// It hears one segment, and a cluster may have several.
	return discovery.Source{Strategy: s, SelfOptional: true, Refresh: s.Refresh, Describe: s.Describe, Counters: s.Counters}, nil
}
