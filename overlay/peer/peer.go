// Package peer names nodes. It holds the node ID and collections of IDs whose
// order never depends on chance, so that whoever ranges over them stays
// deterministic. It imports nothing of the project and knows no network.
package peer

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// IDLen is the length of a node ID in bytes.
const IDLen = 16

// ID names one process of the cluster: the first 16 bytes of the SHA-256 of
// the Ed25519 key it made at its start. It says who answered, never where.
// The zero ID names nobody.
type ID [IDLen]byte

// String is the ID in full, 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short is the first 8 hexadecimal digits, for people. It is not unique.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero tells whether the ID names nobody.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs bytewise: -1, 0 or 1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Less tells whether id orders before other.
func (id ID) Less(other ID) bool { return id.Compare(other) < 0 }

// MarshalText writes the ID in full.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Parse reads an ID of exactly 32 hexadecimal digits.
func Parse(text string) (ID, error) {
	var id ID
	if len(text) != 2*IDLen {
		return id, fmt.Errorf("node ID %q: want %d hexadecimal digits, got %d characters", text, 2*IDLen, len(text))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return ID{}, fmt.Errorf("node ID %q: %w", text, err)
	}
	return id, nil
}
