//go:build unix && !linux

package flock

import "syscall"

// procAttr: without Linux' parent-death signal, processes survive a kill -9 of this one, and nothing else.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
