// Package kube proves the kubernetes strategy against real servers: a kube-apiserver, the real controllers and etcd, built by
// ./build, run by ./plane, and then broken. It holds only tests; `make e2e` runs them.
package kube
