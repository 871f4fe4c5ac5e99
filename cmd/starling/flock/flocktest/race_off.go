//go:build !race

package flocktest

const race = false
