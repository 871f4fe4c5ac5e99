// Package starlingv1 is the local API as protobuf messages and gRPC stubs,
// generated from the .proto files beside this one. Nothing in it is written by
// hand, and nothing in it decides anything.
package starlingv1

//go:generate sh -c "cd ../.. && go run github.com/bufbuild/buf/cmd/buf@v1.75.0 generate"
