package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/announce"
)

// Announce finds the sidecars of the same network segment without any contact: each says where it is, encrypted, by UDP
// multicast or broadcast, and all together at most 50 packets a second. Clocks may differ by five minutes.
type Announce struct {
	// multicast, or broadcast where switches or clouds do not carry that.
	Mode string `yaml:"mode" oneof:"multicast,broadcast"`
	// Names of network interfaces. Empty means all that are up and can, but loopback; they are looked at again and again.
	Interfaces []string `yaml:"interfaces" eg:"[eth1]"`
	// Which families to announce by; auto means both.
	Family string `yaml:"family" oneof:"auto,ipv4,ipv6"`
	// The UDP port, the same for all.
	Port int `yaml:"port" range:"1..65535"`
	// The IPv4 group of multicast.
	Group4 string `yaml:"group4"`
	// The IPv6 group of multicast.
	Group6 string `yaml:"group6"`
	// Segments that multicast reaches; more than 1 needs multicast routing.
	Hops int `yaml:"hops" range:"1..32"`
	// How often each announces itself while there are few. With more than 125 (62 with both families) less often, so that
	// the segment sees no more packets. Who was not heard for three intervals is withdrawn.
	Every time.Duration `yaml:"every" range:"1s..1m"`
	// Keys of 32 bytes in base64, one a line, the sealing one first, all open; read again every 5 s. Empty means a key made
	// of security.key. Needed with certificates.
	KeyringFile string `yaml:"keyring_file" eg:"/etc/starling/announce.keys"`
}

// Validate is the strategy's own word.
func (o *Announce) Validate() error { return announce.Config(*o).Validate() }

func defaultAnnounce() Options {
	o := Announce(announce.Default())
	o.Port = defaultPort
	return &o
}
