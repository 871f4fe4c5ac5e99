module github.com/starlingmesh/starling/e2e/kube

go 1.26.0

require github.com/starlingmesh/starling v0.0.0

replace github.com/starlingmesh/starling => ../../
