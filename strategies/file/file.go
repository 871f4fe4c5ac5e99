// Package file offers the addresses in a file: Prometheus' file_sd format as
// JSON or YAML, or a plain list. The file is read again and again, by its name,
// so that an editor's rename and a ConfigMap's swap of symlinks are seen like any
// other change. A file that is missing or makes no sense changes nothing.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/targets"
)

// Config is where the file is.
type Config struct {
	// Path (path, required) is the file.
	Path string `yaml:"path"`
	// Format (format, auto) is auto, json, yaml or list; auto goes by the name:
	// .json, .yaml, .yml, else a list.
	Format string `yaml:"format"`
	// Port (port, 7827) is that of addresses without one.
	Port int `yaml:"port"`
	// Refresh (refresh, 5s, 100ms to 1h) is how often the file is read. It is a
	// local file of at most 4 MiB, so this is cheap.
	Refresh time.Duration `yaml:"refresh"`
	// Complete (complete, true): the file lists everybody, so that who is taken
	// out of it is withdrawn. Set it to false for a list of a few contacts.
	Complete bool `yaml:"complete"`
}

const bytesMax = 4 << 20

// Default returns the defaults; Path has none.
func Default() Config {
	return Config{Format: targets.Auto, Port: 7827, Refresh: 5 * time.Second, Complete: true}
}

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, errors.New("path: is empty, want the name of a file"))
	}
	errs = append(errs, targets.CheckFormat(c.Format), targets.CheckPort(c.Port))
	if c.Refresh < 100*time.Millisecond || c.Refresh > time.Hour {
		errs = append(errs, fmt.Errorf("refresh: %v is not within 100ms and 1h", c.Refresh))
	}
	return errors.Join(errs...)
}

// Lookup resolves a host name to addresses of all families.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// File is the strategy.
type File struct {
	*discovery.Poll

	cfg   Config
	names *discovery.Names
}

// New returns the strategy. lookup resolves host names in the file; nil is the
// system's resolver. The file need not exist yet.
func New(cfg Config, lookup Lookup) (*File, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	f := &File{cfg: cfg, names: discovery.NewNames(lookup)}
	f.Poll = discovery.NewPoll(cfg.Refresh, cfg.Refresh, cfg.Refresh, f.look)
	return f, nil
}

// Describe says how the strategy is set up.
func (f *File) Describe() discovery.Description {
	return discovery.Description{
		Config: map[string]string{"path": f.cfg.Path, "format": f.cfg.Format, "refresh": f.cfg.Refresh.String()},
		Rights: []string{"read " + f.cfg.Path},
	}
}

func (f *File) look(ctx context.Context) discovery.Round {
	data, err := read(f.cfg.Path)
	if err != nil {
		return discovery.Round{Err: err}
	}
	format := f.cfg.Format
	if format == targets.Auto {
		format = targets.OfName(f.cfg.Path)
	}
	entries, err := targets.Parse(f.cfg.Path, format, f.cfg.Port, data)
	if err != nil {
		return discovery.Round{Err: discovery.Classed(discovery.Misconfigured, "%w", err)}
	}
	return f.names.Round(ctx, entries, f.cfg.Complete)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > bytesMax {
		return nil, discovery.Classed(discovery.Misconfigured, "%s is longer than %d bytes", path, bytesMax)
	}
	return data, nil
}
