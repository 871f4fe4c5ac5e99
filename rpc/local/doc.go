// Package local is the sidecar's side of its unix sockets: it listens, tells
// gRPC from HTTP/1.1 by the first bytes, and turns the messages of starling.v1
// into calls of package rpc and back. It decides nothing about calls, keeps
// nothing but connections and leases, and never talks to other nodes.
package local
