// Package announce holds tests of the announce strategy with real sidecars in network namespaces at one switch, by multicast
// and broadcast, IPv4 and IPv6. It needs root and has no code of its own.
package announce
