package main

import (
	"sync"

	"github.com/starlingmesh/starling/overlay"
	"github.com/starlingmesh/starling/overlay/proto"
)

// relayPrefix begins the topics of the sidecars themselves. Applications cannot say such a name: theirs never begin with
// a slash, and the topic of a method has one only.
const relayPrefix = "//discovery/"

// A relay carries what nodes with one source tell each other, by broadcasts. Discovery thus uses the links that it helped
// to make; what it says may be lost, and nothing depends on it.
type relay struct {
	mesh *overlay.Overlay

	mu    sync.Mutex // guards hears; held while they are called
	hears map[string]func(from string, data []byte)
}

func newRelay(mesh *overlay.Overlay) *relay {
	return &relay{mesh: mesh, hears: map[string]func(string, []byte){}}
}

// Self is this node's ID.
func (r *relay) Self() string { return r.mesh.Self().ID.String() }

// Members are the IDs of who lives.
func (r *relay) Members() []string {
	var ids []string
	for _, m := range r.mesh.Roster().Members {
		if m.Status == proto.StatusAlive || m.Status == proto.StatusSuspect {
			ids = append(ids, m.Entry.ID.String())
		}
	}
	return ids
}

// Join opens a channel; one of a name at a time.
func (r *relay) Join(channel string, hear func(from string, data []byte)) (say func(data []byte), leave func()) {
	topic := relayPrefix + channel
	r.mu.Lock()
	r.hears[topic] = hear
	r.mu.Unlock()
	say = func(data []byte) {
		// Ref 0 is nobody's: whether it was taken does not matter.
		r.mesh.Submit(proto.Publish{Body: proto.CastBody{Topic: topic, Payload: data}})
	}
	return say, func() {
		r.mu.Lock()
		delete(r.hears, topic)
		r.mu.Unlock()
	}
}

// deliver takes a broadcast if it is a sidecar's own.
func (r *relay) deliver(d *proto.Deliver) bool {
	if len(d.Body.Topic) < len(relayPrefix) || d.Body.Topic[:len(relayPrefix)] != relayPrefix {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if hear := r.hears[d.Body.Topic]; hear != nil && !d.Local {
		hear(d.ID.Origin.String(), d.Body.Payload)
	}
	return true
}
