// Package config is Starling's configuration: its types, its strict loading, and everything that is said about it. The
// comments below are the documentation: `config explain`, `config init`, the JSON schema and config.example.yaml are
// made of them. It opens no socket and starts nothing.
package config

//go:generate go test -run TestTheExampleIsWrittenFromTheTypes . -update

import (
	"fmt"
	"time"
)

// Config is one sidecar's configuration. Durations are written 500ms, 10s, 2m; sizes 64KiB, 4MiB. ${NAME} and
// ${NAME:-default} take a value from the environment; a secret may also be file:/path. An unknown key is an error.
type Config struct {
	// The cluster's name; mandatory, without a default. Two sidecars talk only if theirs are equal: it is what keeps
	// another product's cluster out when it comes to bear an address that was ours.
	Cluster string `yaml:"cluster" eg:"shop-production"`
	// This node's name, unique in the cluster and the same after a restart. Empty means the host name.
	Name string `yaml:"name" eg:"cart-0"`
	// Where it runs, e.g. an availability zone: calls can select by it. May be empty.
	Zone string `yaml:"zone" eg:"eu-1a"`
	// What calls can select members by, beside zone, group and method. At most 64.
	Tags map[string]string `yaml:"tags" eg:"{role: cart}"`

	// Where other sidecars reach this one: one TCP port. Port 0 lets the kernel choose.
	Listen string `yaml:"listen"`
	// The host:port given to others. Empty means the listen address, or the machine's outgoing address if that names
	// none. Set it behind NAT or a load balancer.
	Advertise string `yaml:"advertise" eg:"10.1.2.3:7827"`

	// How many processor cores the sidecar uses at once at most (Go's GOMAXPROCS, which counts for more if it is in the
	// environment). One suffices: with more, each message wakes more threads, on cores that the application would have.
	// Give it two or more if it carries hundreds of megabytes a second. 0: as many as there are.
	Cores int `yaml:"cores" range:"0..1024"`

	// Who may join.
	Security Security `yaml:"security"`
	// Where other sidecars might be.
	Discovery Discovery `yaml:"discovery"`
	// When this node counts as ready.
	Bootstrap Bootstrap `yaml:"bootstrap"`
	// The links this node holds.
	Overlay Overlay `yaml:"overlay"`
	// When a silent node is called down.
	Detection Detection `yaml:"detection"`
	// The socket for applications on this machine.
	API API `yaml:"api"`
	// The socket for operators.
	Admin Admin `yaml:"admin"`
	// Probes and metrics.
	HTTP HTTP `yaml:"http"`
	// What a peer or a stranger may use up.
	Limits Limits `yaml:"limits"`
	// What is logged.
	Log Log `yaml:"log"`
	// Deliberate misbehaviour, for tests and game days.
	Faults Faults `yaml:"faults"`
}

// Security says how members recognise each other. Exactly one of key, certificate files and insecure.
type Security struct {
	// The pre-shared key, from `starling keygen`: at least 128 random bits. Whoever has it is a member, under any name.
	// Write ${STARLING_KEY} or file:/run/secrets/starling rather than the key itself.
	Key Secret `yaml:"key" eg:"${STARLING_KEY}"`
	// A second key that is accepted as well, while keys change: first give all members the new key here, then let the two
	// change places, then take the old one away.
	AcceptKey Secret `yaml:"accept_key"`
	// Certificate, key and authority in PEM files, in place of a pre-shared key. They are read again when they change.
	CertificateFile string `yaml:"certificate_file" eg:"/etc/starling/tls.crt"`
	// The certificate's private key.
	KeyFile string `yaml:"key_file" eg:"/etc/starling/tls.key"`
	// The authorities that members' certificates must come from.
	AuthorityFile string `yaml:"authority_file" eg:"/etc/starling/ca.crt"`
	// shared: all members may have the same certificate, and a node's name is its own claim. per_node: the name is the
	// certificate's only DNS name, and nobody else can bear it.
	Identity string `yaml:"identity" oneof:"shared,per_node"`
	// No encryption and no proof of membership. Refused unless listen is a loopback address.
	Insecure bool `yaml:"insecure"`
}

// Discovery finds addresses. It proposes; it never connects or disconnects anything, and nobody is removed because a
// source falls silent.
type Discovery struct {
	// Any number, also several of one kind. They are merged.
	Sources []Source `yaml:"sources"`
	// How long a source must have withdrawn an address before that counts, and over which a suspicious answer must be
	// confirmed. Shorter: a hiccup of DNS looks like a departure; longer: the addresses of the dead are tried for longer.
	Grace time.Duration `yaml:"grace" range:"1s..1h"`
	// How long changes are gathered before the overlay is told. Where one change chases the next, as in a rollout, it is
	// told less often, the more addresses there are: of 1,000 once a second, and every 2 s at least.
	Debounce time.Duration `yaml:"debounce" range:"0s..10s"`
	// The most that a node waits before its first contacts, so that a fleet started at once does not dial at once.
	StartJitter time.Duration `yaml:"start_jitter" range:"0s..1m"`
	// Most addresses remembered, of all sources together; about 1 KiB each.
	CandidatesMax int `yaml:"candidates_max" range:"1..1048576"`
	// Most contacts offered to the overlay at once. Each node has its own order, so together they try all.
	ContactsMax int `yaml:"contacts_max" range:"1..1048576"`
	// File that keeps up to 256 last good contacts over a restart, for the day on which no source answers. Empty means none.
	CacheFile string `yaml:"cache_file" eg:"/var/lib/starling/contacts"`
}

// Bootstrap says when this node has found its cluster.
type Bootstrap struct {
	// Ready once so many members are alive, self included. 1 means alone is fine.
	Expect int `yaml:"expect" range:"1..100000"`
	// And their number has not changed for so long.
	StableFor time.Duration `yaml:"stable_for" range:"0s..10m"`
}

// API is the unix socket for applications: gRPC, and HTTP with JSON for curl.
type API struct {
	// Path of the socket. Its folder is made if it is missing. At most 107 bytes, a limit of the kernel's.
	Socket string `yaml:"socket"`
	// Its permissions, octal. Without allowed_uids, who may open it may call.
	Mode string `yaml:"mode"`
	// The group it is given to, by name or number. Empty means the process's own.
	Group string `yaml:"group" eg:"apps"`
	// User IDs that may connect, as the kernel tells them. Empty means everybody whom the mode lets in.
	AllowedUIDs []int `yaml:"allowed_uids" eg:"[1000]"`
	// Group IDs that may connect, beside allowed_uids.
	AllowedGIDs []int `yaml:"allowed_gids" eg:"[1000]"`

	// Largest payload of a call, an answer or a broadcast. Larger: a few messages fill the queues. The same on all nodes.
	MessageMax Size `yaml:"message_max" range:"1KiB..4MiB"`
	// Calls that may be open on this node; the next is refused before anything is sent.
	CallsMax int `yaml:"calls_max" range:"1..100000"`
	// And in one application's session.
	AppCallsMax int `yaml:"app_calls_max" range:"1..100000"`
	// Casts and unconfirmed abcasts a second, so that one application does not flood the cluster.
	CastsPerSecond int `yaml:"casts_per_second" range:"1..1000000"`
	// Applications that may be connected.
	ApplicationsMax int `yaml:"applications_max" range:"1..10000"`
	// Requests that one application may work on at once.
	HandlersMax int `yaml:"handlers_max" range:"1..100000"`
	// Bytes of requests that may wait for one application; beyond it callers are told overloaded.
	QueueBytes Size `yaml:"queue_bytes" range:"1MiB..4GiB"`
	// Bytes of topics' messages that may wait for one application; beyond it they are dropped, and it is told by a gap.
	EventBytes Size `yaml:"event_bytes" range:"1KiB..4GiB"`
	// Bytes of replies gathered for one call; a reply beyond it is result_lost.
	AnswerBytes Size `yaml:"answer_bytes" range:"1MiB..4GiB"`
}

// Admin is the socket for operators: drain, leave, log level, faults. It is a file of its own, so that an application's
// bug cannot make its node leave.
type Admin struct {
	// Path of the socket, mode 0600. Empty means admin.sock beside the socket for applications.
	Socket string `yaml:"socket" eg:"/run/starling/admin.sock"`
}

// HTTP serves /livez, /readyz, /startupz and /metrics.
type HTTP struct {
	// Where. Empty means not at all; port 0 lets the kernel choose.
	Listen string `yaml:"listen" eg:"127.0.0.1:9100"`
}

// Log says what is written to standard error.
type Log struct {
	// debug logs every decision; info state changes only.
	Level string `yaml:"level" oneof:"debug,info,warn,error"`
	// text for people, json for collectors.
	Format string `yaml:"format" oneof:"text,json"`
}

// Faults are cuts, delays and stalls of links, for a bounded time.
type Faults struct {
	// Whether `starling fault` may cause any. Leave it off in production until the day of the exercise.
	Allowed bool `yaml:"allowed"`
}

// defaultPort is STAR on a telephone's keys, and nobody's at IANA.
const defaultPort = 7827

// Default is the configuration of somebody who wrote nothing. It lacks what has no default: a cluster and a key.
func Default() Config {
	return Config{
		Listen:    fmt.Sprintf(":%d", defaultPort),
		Cores:     1,
		Security:  Security{Identity: "shared"},
		Discovery: defaultDiscovery,
		Bootstrap: Bootstrap{Expect: 1, StableFor: time.Second},
		Overlay:   defaultOverlay,
		Detection: defaultDetection,
		API:       defaultAPI,
		Limits:    defaultLimits,
		Log:       Log{Level: "info", Format: "text"},
	}
}
