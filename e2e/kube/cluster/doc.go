// Package cluster proves Starling on a real Kubernetes cluster: nodes that run pods, with the chart and the image as they are
// shipped. It holds only tests.
package cluster
