// Package keyring holds the secret keys of a strategy that seals what it sends:
// the first key seals, every key opens. Keys are given or are in a file, which is
// read again when told. It never writes, prints or logs a key.
package keyring

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// KeyLen is the length of a key in bytes: 256 bits.
const KeyLen = 32

const (
	keysMax  = 16      // each unknown packet is tried with every key
	bytesMax = 4 << 10 // of the file
)

// Ring is some keys. Its methods may be called from any goroutine.
type Ring struct {
	path string // empty: the keys never change

	mu   sync.Mutex // guards keys
	keys [][]byte   // never empty; replaced, never changed
}

// Fixed makes a ring of given keys.
func Fixed(keys ...[]byte) (*Ring, error) {
	if err := check(keys); err != nil {
		return nil, err
	}
	return &Ring{keys: keys}, nil
}

// File makes a ring of the keys in a file: one a line in base64, # begins a
// comment; or a JSON list of such keys, as serf writes it. To change a key: old;
// old, new; new, old; new; each step on all nodes before the next.
func File(path string) (*Ring, error) {
	r := &Ring{path: path}
	_, err := r.Reload()
	return r, err
}

// Keys returns the keys, the sealing one first. Nobody may change them.
func (r *Ring) Keys() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

// Reload reads the file again and tells whether the keys changed. On an error the
// keys stay as they were.
func (r *Ring) Reload() (changed bool, err error) {
	if r.path == "" {
		return false, nil
	}
	keys, err := read(r.path)
	if err != nil {
		return false, fmt.Errorf("read the keys in %s: %w", r.path, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.EqualFunc(keys, r.keys, bytes.Equal) {
		return false, nil
	}
	r.keys = keys
	return true, nil
}

func read(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(text) > bytesMax {
		return nil, fmt.Errorf("the file is longer than %d bytes", bytesMax)
	}
	return parse(text)
}

// parse reads the text of a file. Its errors name lines, never what is in them.
func parse(text []byte) ([][]byte, error) {
	var words []string
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		if err := json.Unmarshal(text, &words); err != nil {
			return nil, errors.New("it begins like JSON and is no list of text")
		}
	} else {
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line != "" {
				words = append(words, line)
			}
		}
	}
	keys := make([][]byte, 0, len(words))
	for i, w := range words {
		key, err := base64.StdEncoding.DecodeString(w)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64; `head -c 32 /dev/urandom | base64` makes one", i+1)
		}
		keys = append(keys, key)
	}
	return keys, check(keys)
}

func check(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > keysMax {
		return fmt.Errorf("there are %d keys, want 1 to %d", len(keys), keysMax)
	}
	for i, k := range keys {
		if len(k) != KeyLen {
			return fmt.Errorf("key %d has %d bytes, want %d", i+1, len(k), KeyLen)
		}
	}
	return nil
}
