package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	cacheSource   = "cache" // its name in evidence
	cacheMax      = 256     // peers
	cacheBytesMax = 1 << 20
	cacheEvery    = 30 * time.Second
	cacheKeep     = 10 * time.Minute // after the first answer of a real source
)

// cached is the file: peers that lived when it was written, best for us first.
type cached struct {
	Version int        `json:"version"`
	Peers   [][]string `json:"peers"` // addresses of each
}

func (m *Manager) loadCache() {
	peers, err := readCache(m.cfg.CacheFile)
	if err != nil {
		// A broken memory is no memory; it will be written anew.
		m.log.Warn("cache of last-known peers is not used", "path", m.cfg.CacheFile, "why", err)
		return
	}
	var cands []Candidate
	for _, addrs := range peers {
		if len(addrs) > 0 {
			cands = append(cands, Candidate{Key: addrs[0], Addrs: addrs})
		}
	}
	if len(cands) == 0 {
		return
	}
	m.change(func(now time.Time) {
		m.ledger.observe(now, len(m.sources), Partial{Candidates: cands})
	})
}

func readCache(path string) ([][]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, cacheBytesMax))
	if err != nil {
		return nil, err
	}
	var c cached
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if c.Version != 1 {
		return nil, fmt.Errorf("version %d is not 1", c.Version)
	}
	return c.Peers[:min(len(c.Peers), cacheMax)], nil
}

// keepCache writes the living peers every now and then, and at the end.
func (m *Manager) keepCache(ctx context.Context) {
	ticker := time.NewTicker(cacheEvery)
	defer ticker.Stop()
	var written []byte
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		m.mu.Lock()
		peers := m.ledger.livingPeers(cacheMax)
		m.mu.Unlock()
		if len(peers) == 0 {
			continue // alone: the old memory is the better one
		}
		data, err := json.Marshal(cached{Version: 1, Peers: peers})
		if err != nil {
			panic(err) // strings always marshal
		}
		if slices.Equal(data, written) {
			continue
		}
		err = writeFile(m.cfg.CacheFile, data)
		if err == nil {
			written = data
		}
		m.cacheState(err)
	}
}

// cacheState notes whether the cache works; a full or read-only disk is no
// reason to stop, but somebody should know.
func (m *Manager) cacheState(err error) {
	m.mu.Lock()
	was := m.cacheErr
	m.cacheErr = ""
	if err != nil {
		m.cacheErr = err.Error()
	}
	m.mu.Unlock()
	switch {
	case err != nil && was == "":
		m.log.Warn("cache of last-known peers cannot be written; going on without it", "path", m.cfg.CacheFile, "why", err)
	case err == nil && was != "":
		m.log.Info("cache of last-known peers is written again", "path", m.cfg.CacheFile)
	}
}

// writeFile puts data at path so that a reader, or the next start after a
// crash, finds the old or the new file and never half of one.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	err = cmp.Or(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// livingPeers returns the addresses of up to n living nodes. Which n differs
// from node to node.
func (l *ledger) livingPeers(n int) [][]string {
	var ids []string
	for id, addrs := range l.nodes {
		if len(addrs) > 0 && id != l.cfg.Self {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(mix(l.cfg.Self, a), mix(l.cfg.Self, b)), cmp.Compare(a, b))
	})
	var peers [][]string
	for _, id := range ids[:min(len(ids), n)] {
		peers = append(peers, slices.Clone(l.nodes[id]))
	}
	return peers
}
