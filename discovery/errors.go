package discovery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
)

// Class says what kind of trouble a source is in, for people and metrics.
type Class uint8

// The classes of errors.
const (
	// Unavailable: the source or the way to it is broken. The default.
	Unavailable   Class = iota
	Auth                // it refused us: credentials or rights
	NotFound            // what we asked for does not exist
	Timeout             // it did not answer in time
	Throttled           // it told us to slow down
	Misconfigured       // what we were told to ask makes no sense
	classes
)

func (c Class) String() string {
	switch c {
	case Unavailable:
		return "unavailable"
	case Auth:
		return "auth"
	case NotFound:
		return "not_found"
	case Timeout:
		return "timeout"
	case Throttled:
		return "throttled"
	case Misconfigured:
		return "config"
	default:
		panic("discovery: no such Class")
	}
}

// MarshalText writes the class as in String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

type classed struct {
	class Class
	err   error
}

func (e *classed) Error() string { return e.err.Error() }
func (e *classed) Unwrap() error { return e.err }

// Classed returns an error of the given class, formatted as by [fmt.Errorf].
func Classed(class Class, format string, args ...any) error {
	return &classed{class, fmt.Errorf(format, args...)}
}

// ClassOf returns the class given by [Classed], or guesses it from the errors of
// the standard library.
func ClassOf(err error) Class {
	var c *classed
	var netErr net.Error
	var dnsErr *net.DNSError
	switch {
	case errors.As(err, &c):
		return c.class
	case errors.As(err, &dnsErr) && dnsErr.IsNotFound, errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return Timeout
	case errors.Is(err, fs.ErrPermission):
		return Auth
	default:
		return Unavailable
	}
}
