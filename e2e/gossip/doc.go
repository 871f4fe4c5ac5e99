// Package gossip holds tests of the gossip strategy with real sidecars, and beside Debian's serf agent, which it installs if
// it is missing. It has no code of its own.
package gossip
