// Package charttest holds the chart to its promises without a cluster: rendered by Helm's own library, decoded strictly into
// Kubernetes' own types, judged by Kubernetes' own Pod Security checks, and compared with what it was yesterday. It writes what
// is generated from the chart: its README, the schema of its values, and the pod that `starling inject` knows. It installs nothing.
package charttest

//go:generate go test . -run "IsCurrent|Golden" -update
