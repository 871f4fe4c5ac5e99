package delegate

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"

	"github.com/starlingmesh/starling/discovery"
)

const (
	statementsMax = 128     // candidates in a message
	entriesMax    = 16384   // candidates in all
	bytesMax      = 1 << 20 // of a message, inflated
	format        = 1       // the first byte of a message; others are not understood
)

// Message is what nodes tell all others. Every message but a Want is a watcher's
// heartbeat.
type Message struct {
	Version uint64 `json:"v,omitempty"` // of the API server; all below is true at it
	Stale   string `json:"stale,omitempty"`
	Digest  digest `json:"d,omitempty"` // of the sender's whole picture
	Want    bool   `json:"want,omitempty"`

	Upserts []discovery.Candidate `json:"-"`
	Gone    []string              `json:"gone,omitempty"` // keys

	// A whole picture comes in Parts; Whole tells one from the next, 0: this is none.
	Whole uint64 `json:"whole,omitempty"`
	Part  int    `json:"part,omitempty"`
	Parts int    `json:"parts,omitempty"`
}

// packed is a candidate in short.
type packed struct {
	Key    string            `json:"k"`
	Addrs  []string          `json:"a"`
	Host   string            `json:"h,omitempty"`
	Bits   uint8             `json:"c"` // ready, serving, terminating, two bits each
	Labels map[string]string `json:"l,omitempty"`
}

type envelope struct {
	Message

	Cands []packed `json:"u,omitempty"`
}

// Encode writes a message.
func (m *Message) Encode() ([]byte, error) {
	e := envelope{Message: *m}
	for _, c := range m.Upserts {
		e.Cands = append(e.Cands, packed{
			Key: c.Key, Addrs: c.Addrs, Host: c.Host, Labels: c.Labels,
			Bits: uint8(c.Ready) | uint8(c.Serving)<<2 | uint8(c.Terminating)<<4,
		})
	}
	var b bytes.Buffer
	b.WriteByte(format)
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := json.NewEncoder(z).Encode(&e); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return b.Bytes(), nil
}

// Decode reads a message.
func Decode(data []byte) (Message, error) {
	if len(data) == 0 || data[0] != format {
		return Message{}, fmt.Errorf("message of another format")
	}
	z := flate.NewReader(bytes.NewReader(data[1:]))
	var e envelope
	if err := json.NewDecoder(io.LimitReader(z, bytesMax)).Decode(&e); err != nil {
		return Message{}, fmt.Errorf("decode: %w", err)
	}
	m := e.Message
	if len(e.Cands) > statementsMax || len(m.Gone) > 4*statementsMax || m.Part < 0 || m.Part >= max(m.Parts, 1) || m.Parts > entriesMax {
		return Message{}, fmt.Errorf("message beyond its bounds")
	}
	for _, p := range e.Cands {
		if p.Bits >= 3<<4 || p.Bits&3 == 3 || p.Bits>>2&3 == 3 {
			return Message{}, fmt.Errorf("candidate with unknown conditions")
		}
		m.Upserts = append(m.Upserts, discovery.Candidate{
			Key: p.Key, Addrs: p.Addrs, Host: p.Host, Labels: p.Labels,
			Ready: discovery.Tri(p.Bits & 3), Serving: discovery.Tri(p.Bits >> 2 & 3), Terminating: discovery.Tri(p.Bits >> 4),
		})
	}
	return m, nil
}
