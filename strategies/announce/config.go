package announce

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Config says where to announce, and how often.
type Config struct {
	// Mode (mode, multicast) is multicast or broadcast. IPv6 has no broadcast:
	// there it is the group of all nodes, ff02::1.
	Mode string `yaml:"mode"`
	// Interfaces (interfaces, empty = all that are up and can, but loopback) are
	// the names of network interfaces, at most 64.
	Interfaces []string `yaml:"interfaces"`
	// Family (family, auto) is auto (both), ipv4 or ipv6.
	Family string `yaml:"family"`
	// Port (port) is the UDP port of all.
	Port int `yaml:"port"`
	// Group4 and Group6 (group4, 239.255.78.27; group6, ff02::7827) are whom
	// multicast is sent to: site-local scope (RFC 2365, 6.1) and link-local
	// scope (RFC 4291, 2.7).
	Group4 string `yaml:"group4"`
	Group6 string `yaml:"group6"`
	// Hops (hops, 1, 1 to 32) is how many routers multicast may pass, less one.
	Hops int `yaml:"hops"`
	// Every (every, 5s, 1s to 1m) is how often this node announces itself while
	// there are few; with many, less often.
	Every time.Duration `yaml:"every"`
	// KeyringFile (keyring_file, empty = made of the cluster's key) has the keys,
	// the sealing one first; read again every 5 s.
	KeyringFile string `yaml:"keyring_file"`
}

const (
	interfacesMax = 64

	multicast = "multicast"
	broadcast = "broadcast"
	auto      = "auto"
	ipv4      = "ipv4"
	ipv6      = "ipv6"
)

// Default returns the defaults; Port has none.
func Default() Config {
	return Config{
		Mode: multicast, Family: auto, Group4: "239.255.78.27", Group6: "ff02::7827", Hops: 1, Every: 5 * time.Second,
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
	oneOf("mode", c.Mode, multicast, broadcast)
	check(len(c.Interfaces) <= interfacesMax, "interfaces: %d entries, want at most %d", len(c.Interfaces), interfacesMax)
	for i, name := range c.Interfaces {
		check(name != "" && !slices.Contains(c.Interfaces[:i], name), "interfaces[%d]: %q is empty or there already", i, name)
	}
	oneOf("family", c.Family, auto, ipv4, ipv6)
	check(c.Port >= 1 && c.Port <= 65535, "port: %d is not within 1 and 65535", c.Port)
	group4, err := netip.ParseAddr(c.Group4)
	check(err == nil && group4.Is4() && group4.IsMulticast(), "group4: %q is no IPv4 multicast address, such as 239.255.78.27", c.Group4)
	group6, err := netip.ParseAddr(c.Group6)
	check(err == nil && group6.Is6() && group6.IsMulticast() && group6.Zone() == "", "group6: %q is no IPv6 multicast address, such as ff02::7827", c.Group6)
	check(c.Hops >= 1 && c.Hops <= 32, "hops: %d is not within 1 and 32", c.Hops)
	check(c.Hops == 1 || c.Mode == multicast, "hops: broadcast passes no router")
	check(c.Every >= time.Second && c.Every <= time.Minute, "every: %v is not within 1s and 1m", c.Every)
	return errors.Join(errs...)
}

// copies is how many packets of an announcement a segment sees.
func (c Config) copies() int {
	if c.Family == auto {
		return 2
	}
	return 1
}
