package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/gossip"
)

// Gossip finds sidecars by the gossip of HashiCorp's serf: everybody tells everybody who is there. Who leaves is withdrawn,
// who only fails is not. Needs one port, TCP and UDP, beside `listen`.
type Gossip struct {
	// host:port of some who gossip: their bind port, not listen. Not all are needed. Empty means to wait to be joined.
	Join []string `yaml:"join" eg:"[cart-0.example:7946, cart-1.example:7946]"`
	// Where to listen, TCP and UDP. Without an address: on all, of both families.
	Bind string `yaml:"bind"`
	// The ip:port that others gossip to. Empty means the host of this sidecar's own advertise, and bind's port.
	Advertise string `yaml:"advertise" eg:"10.1.2.3:7946"`
	// How soon failures are noticed, and how much is sent for it: lan within seconds; wan slower, for links of 100 ms and
	// more; local for one machine.
	Profile string `yaml:"profile" oneof:"lan,wan,local"`
	// auto encrypts with the keys of keyring_file, else with one made of security.key; off encrypts nothing, and anybody
	// can add addresses.
	Encryption string `yaml:"encryption" oneof:"auto,off"`
	// Keys of 32 bytes in base64, one a line, the sealing one first, all open; read again every 5 s. Empty means a key made
	// of security.key. Needed with certificates.
	KeyringFile string `yaml:"keyring_file" eg:"/etc/starling/gossip.keys"`
	// auto marks what is sent with the cluster's name, and hears nothing else; none gossips together with other users of
	// serf, such as its agent, and skips them.
	Label string `yaml:"label" oneof:"auto,none"`
	// File that remembers up to 256 who gossip, for a restart when nobody of join is there any more. Empty means none.
	SnapshotFile string `yaml:"snapshot_file" eg:"/var/lib/starling/gossip"`
	// How often those of join are tried again who are not known to live. Longer: the halves of a partition find each other
	// later; shorter: more in vain.
	RejoinEvery time.Duration `yaml:"rejoin_every" range:"1s..1h"`
	// converged leaves the gossip once nothing has changed for converged_for, for clusters too large for it. Those listed
	// in join stay, for newcomers to ask.
	LeaveAfter string `yaml:"leave_after" oneof:"never,converged"`
	// How long that is.
	ConvergedFor time.Duration `yaml:"converged_for" range:"1s..1h"`
	// How long one who failed, and did not leave, is offered and tried. Longer: the dead are dialled for longer; shorter:
	// a partition that lasts longer is not mended from here.
	ForgetAfter time.Duration `yaml:"forget_after" range:"1m..168h"`
}

// Validate is the strategy's own word.
func (o *Gossip) Validate() error { return gossip.Config(*o).Validate() }

func defaultGossip() Options {
	o := Gossip(gossip.Default())
	return &o
}
