package core

import (
	"errors"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/directory"
	"github.com/starlingmesh/starling/overlay/hyparview"
	"github.com/starlingmesh/starling/overlay/plumtree"
	"github.com/starlingmesh/starling/overlay/wave"
)

// Config is that of all machines. Start from Default.
type Config struct {
	Views     hyparview.Config
	Broadcast plumtree.Config
	Directory directory.Config
	Wave      wave.Config

	// PoolMax bounds the links to nodes that are no neighbours. Each costs
	// about 100 KB on both sides; too few, and direct asks wait or fail.
	PoolMax int
	// PoolIdle closes a pooled link over which nothing went for so long.
	PoolIdle time.Duration
	// PoolQueue bounds the messages that wait for one pooled link to open.
	PoolQueue int
	// DialTimeout bounds a dial of a pooled link.
	DialTimeout time.Duration
	// Drain is how long a leaving node waits for the calls it still runs.
	Drain time.Duration
}

// Default is the configuration for clusters of up to some thousands.
func Default() Config {
	return Config{
		Views: hyparview.Default(), Broadcast: plumtree.Default(), Directory: directory.Default(), Wave: wave.Default(),
		PoolMax: 512, PoolIdle: 30 * time.Second, PoolQueue: 256, DialTimeout: time.Second, Drain: 5 * time.Second,
	}
}

// Validate names what makes no sense, all of it.
func (c *Config) Validate() error {
	errs := []error{c.Views.Validate(), c.Broadcast.Validate(), c.Directory.Validate(), c.Wave.Validate()}
	if c.PoolMax < 8 {
		errs = append(errs, fmt.Errorf("core: pool_max must be at least 8, not %d", c.PoolMax))
	}
	if c.PoolQueue < 1 {
		errs = append(errs, fmt.Errorf("core: pool_queue must be positive, not %d", c.PoolQueue))
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"pool_idle", c.PoolIdle},
		{"dial_timeout", c.DialTimeout},
		{"drain", c.Drain},
	} {
		if d.v <= 0 {
			errs = append(errs, fmt.Errorf("core: %s must be positive, not %v", d.name, d.v))
		}
	}
	return errors.Join(errs...)
}
