package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/starlingmesh/starling/overlay/peer"
)

// Node is who this process is: an Ed25519 key made at its start. The node
// ID is the hash of the public key, so that claiming an ID takes its key.
type Node struct {
	ID      peer.ID
	Public  ed25519.PublicKey
	private ed25519.PrivateKey
}

// NewNode makes the key of a process.
func NewNode() (*Node, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the node's key: %w", err)
	}
	return &Node{ID: idOf(public), Public: public, private: private}, nil
}

func idOf(public ed25519.PublicKey) (id peer.ID) {
	sum := sha256.Sum256(public)
	copy(id[:], sum[:])
	return id
}

// spoken is what a side signs to bind its key to one connection: the exporter
// (RFC 8446, section 7.5), which both ends know and no other connection has,
// under a label of its own for each side, so that a proof cannot be sent back.
func spoken(conn *tls.ConnectionState, byDialler bool) ([]byte, error) {
	label := "EXPORTER-starling-accepted"
	if byDialler {
		label = "EXPORTER-starling-dialled"
	}
	text, err := conn.ExportKeyingMaterial(label, nil, 32)
	if err != nil {
		return nil, fmt.Errorf("bind the node's key to the connection: %w", err)
	}
	return append([]byte("starling node key 1 "), text...), nil
}

// Proof binds the node to a connection after its handshake. dialler says which
// side it is on.
func (n *Node) Proof(conn *tls.ConnectionState, dialler bool) ([]byte, error) {
	text, err := spoken(conn, dialler)
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(n.private, text), nil
}

// ErrProof is CheckProof's.
var ErrProof = errors.New("the node ID is not proven: the key or its signature does not belong to it")

// CheckProof tells whether the peer holds the key that its ID was made of.
func CheckProof(conn *tls.ConnectionState, id peer.ID, public, proof []byte, dialler bool) error {
	if len(public) != ed25519.PublicKeySize || idOf(public) != id {
		return ErrProof
	}
	text, err := spoken(conn, dialler)
	if err != nil {
		return err
	}
	if !ed25519.Verify(public, text, proof) {
		return ErrProof
	}
	return nil
}
