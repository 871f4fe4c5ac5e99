//go:build !linux

package main

import "time"

const startUp = 5 * time.Second

// dropStartUp does nothing: pages are the system's affair.
func dropStartUp() error { return nil }
