//go:build !linux

package sim

import "testing"

// hugePages is for Linux only.
func hugePages(*testing.B, int, bool) {}
