package main

import (
	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/keyring"
	"github.com/starlingmesh/starling/overlay"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/strategies/kubernetes"
)

// self is what strategies that make this node known need: who it is, and the keys of its cluster.
type self struct {
	discovery.Self
	keys  []keys.Key       // the sealing one first; empty with certificates
	relay kubernetes.Relay // to those with the same source; nil for a command that only looks
}

// selfOf is this node's. mesh is nil for a command that only looks.
func selfOf(c config.Config, mesh *overlay.Overlay) (self, error) {
	me := self{Self: discovery.Self{Cluster: c.Cluster, Zone: c.Zone}}
	if mesh != nil {
		info := mesh.Self()
		me.Node, me.Name, me.Addrs = info.ID.String(), info.Name, info.Addrs
	}
	var err error
	me.keys, err = clusterKeys(c.Security)
	return me, err
}

// clusterKeys are the pre-shared keys. Without any proof of membership it is the one that everybody knows.
func clusterKeys(s config.Security) ([]keys.Key, error) {
	if s.Insecure {
		return []keys.Key{{}}, nil
	}
	var list []keys.Key
	for _, secret := range []config.Secret{s.Key, s.AcceptKey} {
		if secret == "" {
			continue
		}
		k, err := keys.Parse(secret.Reveal())
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// ring are the keys in a file, or without one those made of the cluster's for a purpose. Without either it is nil.
func (me self) ring(file, purpose string) (*keyring.Ring, error) {
	if file != "" {
		return keyring.File(file)
	}
	derived := make([][]byte, 0, len(me.keys))
	for _, k := range me.keys {
		derived = append(derived, k.Derive(me.Cluster, purpose))
	}
	if len(derived) == 0 {
		return nil, nil //nolint:nilnil // no key is no error: the strategy says whether it needs one
	}
	return keyring.Fixed(derived...)
}
