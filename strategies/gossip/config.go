package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// Config says how this node takes part in the gossip.
type Config struct {
	// Join (join, up to 64) are "host:port" of some who gossip. Without any this
	// node waits to be joined.
	Join []string `yaml:"join"`
	// Bind (bind, ":7946") is where it listens, TCP and UDP.
	Bind string `yaml:"bind"`
	// Advertise (advertise, empty = the overlay's host with bind's port) is the
	// "ip:port" that others gossip to.
	Advertise string `yaml:"advertise"`
	// Profile (profile, lan) is lan, wan or local: how soon failures are noticed,
	// and how much is sent for it.
	Profile string `yaml:"profile"`
	// Encryption (encryption, auto) is auto, with the keys of keyring_file or of
	// the cluster; or off.
	Encryption string `yaml:"encryption"`
	// KeyringFile (keyring_file, empty = made of the cluster's key) has the keys,
	// the sealing one first; read again every 5 s.
	KeyringFile string `yaml:"keyring_file"`
	// Label (label, auto) is auto, made of the cluster's name, so that nobody else
	// is heard at all; or none, to gossip together with other users of serf.
	Label string `yaml:"label"`
	// SnapshotFile (snapshot_file, empty = none) remembers up to 256 who gossip,
	// for a restart when none of join is there any more.
	SnapshotFile string `yaml:"snapshot_file"`
	// RejoinEvery (rejoin_every, 30s, 1s to 1h) is how often those of join who are
	// not known to live are tried again. Longer: halves that a partition made
	// find each other later.
	RejoinEvery time.Duration `yaml:"rejoin_every"`
	// LeaveAfter (leave_after, never) is never or converged: gossip only to find
	// the first contacts. Those listed in join stay.
	LeaveAfter string `yaml:"leave_after"`
	// ConvergedFor (converged_for, 30s, 1s to 1h) is for how long nothing must have
	// changed before leave_after: converged counts.
	ConvergedFor time.Duration `yaml:"converged_for"`
	// ForgetAfter (forget_after, 24h, 1m to 168h) is how long one who failed, and
	// did not leave, is offered and tried.
	ForgetAfter time.Duration `yaml:"forget_after"`
}

const (
	joinMax = 64

	lan       = "lan"
	wan       = "wan"
	local     = "local"
	auto      = "auto"
	off       = "off"
	none      = "none"
	never     = "never"
	converged = "converged"
)

// Default returns the defaults.
func Default() Config {
	return Config{
		Bind: ":7946", Profile: lan, Encryption: auto, Label: auto,
		RejoinEvery: 30 * time.Second, LeaveAfter: never, ConvergedFor: 30 * time.Second, ForgetAfter: 24 * time.Hour,
	}
}

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(key, value string, values ...string) {
		check(slices.Contains(values, value), "%s: %q is none of %s", key, value, strings.Join(values, ", "))
	}
	within := func(key string, d, low, high time.Duration) {
		check(d >= low && d <= high, "%s: %v is not within %v and %v", key, d, low, high)
	}
	check(len(c.Join) <= joinMax, "join: %d entries, want at most %d; a few that are usually there suffice", len(c.Join), joinMax)
	for i, a := range c.Join {
		_, err := discovery.ParseAddr(a)
		check(err == nil, "join[%d]: %w", i, err)
	}
	_, err := parseBind(c.Bind)
	check(err == nil, "bind: %q is no ip:port or :port", c.Bind)
	if c.Advertise != "" {
		ap, err := netip.ParseAddrPort(c.Advertise)
		check(err == nil && ap.Port() != 0 && !ap.Addr().IsUnspecified() && !ap.Addr().IsMulticast(),
			"advertise: %q is no ip:port that others could reach", c.Advertise)
	}
	oneOf("profile", c.Profile, lan, wan, local)
	oneOf("encryption", c.Encryption, auto, off)
	check(c.KeyringFile == "" || c.Encryption == auto, "keyring_file: is for encryption auto only")
	oneOf("label", c.Label, auto, none)
	oneOf("leave_after", c.LeaveAfter, never, converged)
	check(c.LeaveAfter == never || len(c.Join) > 0, "leave_after: converged needs join: those listed there stay, and newcomers need somebody to ask")
	within("rejoin_every", c.RejoinEvery, time.Second, time.Hour)
	within("converged_for", c.ConvergedFor, time.Second, time.Hour)
	within("forget_after", c.ForgetAfter, time.Minute, 168*time.Hour)
	return errors.Join(errs...)
}

// parseBind reads "ip:port" or ":port"; port 0 lets the kernel choose. An empty
// host is all addresses of both families.
func parseBind(s string) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip := netip.IPv6Unspecified()
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}
