package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const (
	snapshotMax  = 256
	snapshotHead = "# who gossips, for a restart; losing this file costs nothing\n"
)

// A snapshot is a file with addresses, one a line. Serf has one of its own; it
// forgets who failed, which after an outage of everybody is everybody, is tried
// only once, and drops events that the strategy needs.

// loadSnapshot returns the addresses in a file. One that is not there has none.
func loadSnapshot(path string) ([]netip.AddrPort, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, snapshotMax*64))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var addrs []netip.AddrPort
	for line := range strings.Lines(string(text)) {
		// A line that makes no sense is no address, and that is all.
		if ap, err := netip.ParseAddrPort(strings.TrimSpace(line)); err == nil && len(addrs) < snapshotMax {
			addrs = append(addrs, ap)
		}
	}
	return addrs, nil
}

// saveSnapshot replaces the file in one step, readable by its owner only.
func saveSnapshot(path string, addrs []netip.AddrPort) error {
	text := bytes.NewBufferString(snapshotHead)
	for _, a := range addrs[:min(len(addrs), snapshotMax)] {
		fmt.Fprintln(text, a)
	}
	next, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	_, err = next.Write(text.Bytes())
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the snapshot: %w", err), os.Remove(next.Name()))
	}
	return nil
}
