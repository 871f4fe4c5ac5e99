package discovery

// Self is what a strategy that makes this node known tells others of it.
type Self struct {
	Cluster string // the cluster's name: nobody of another one is heard
	// Node is the overlay's ID of this process. Empty: it only looks, and nobody
	// is to take it for a peer.
	Node  string
	Name  string   // for people
	Zone  string   // may be empty
	Addrs []string // where the overlay is reached, "host:port", best first
}
