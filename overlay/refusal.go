package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// refusedWhy says why a connection did not become a link. It labels a metric.
type refusedWhy uint8

const (
	whySilent    refusedWhy = iota + 1 // it said nothing: in time, or before others came
	whyClosed                          // it went away before it had said anything
	whyTimeout                         // it began, and did not come to its end in time
	whyPlaintext                       // its first bytes are not TLS
	whyTLS                             // TLS failed: key, certificate, or the connection broke
	whyGarbage                         // what came in place of a Hello is none
	whyCluster                         // another cluster ID
	whyVersion                         // no protocol version in common
	whyProof                           // the node ID does not belong to the key, or the key not to the connection
	whyName                            // the certificate is another node's
	whySelf                            // we dialled ourselves
	whyBusy                            // too many handshakes at once
	whyLinks                           // too many links
	whyLane                            // a lane of a link that is not there, or one too many
	whyExpect                          // the node that was dialled is another one
	whyFault                           // cut by fault injection
	whyEnd
)

var refusedNames = [whyEnd]string{
	"", "silent", "closed", "timeout", "plaintext", "tls", "garbage", "cluster", "version", "proof", "name", "self",
	"busy", "links", "lane", "expect", "fault",
}

func (w refusedWhy) String() string { return refusedNames[w] }

// refusal is the error of a handshake.
type refusal struct {
	why refusedWhy
	err error
	id  peer.ID // who answered, with whyExpect
}

// refuse makes a refusal. An error that comes of the time being over is a
// timeout, wherever it struck; and the other side's own word tells more than ours.
func refuse(why refusedWhy, err error) *refusal {
	var said *wire.Refusal
	var unread *wire.Error
	switch {
	case errors.As(err, &unread):
		why = whyGarbage
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		why = whyTimeout
	case errors.As(err, &said):
		switch said.Why {
		case wire.RefusedVersion:
			why = whyVersion
		case wire.RefusedCluster:
			why = whyCluster
		case wire.RefusedName:
			why = whyName
		case wire.RefusedBusy:
			why = whyLinks
		default:
			why = whyBusy
		}
	}
	return &refusal{why: why, err: err}
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %v", r.why, r.err) }
func (r *refusal) Unwrap() error { return r.err }

// dialWhy puts what went wrong with one address into the core's words.
func dialWhy(err error) (proto.DialWhy, peer.ID) {
	var r *refusal
	var timeout net.Error
	switch {
	case errors.As(err, &r):
		switch r.why {
		case whyTimeout:
			return proto.DialTimeout, peer.ID{}
		case whyCluster:
			return proto.DialCluster, peer.ID{}
		case whyVersion:
			return proto.DialVersion, peer.ID{}
		case whySelf:
			return proto.DialSelf, peer.ID{}
		case whyExpect:
			return proto.DialOtherNode, r.id
		case whyTLS, whyGarbage, whyProof, whyName:
			return proto.DialTLS, peer.ID{}
		default:
			return proto.DialNetwork, peer.ID{}
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		return proto.DialRefused, peer.ID{}
	case errors.Is(err, context.Canceled), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.ENOBUFS):
		return proto.DialLocal, peer.ID{}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return proto.DialTimeout, peer.ID{}
	default:
		return proto.DialNetwork, peer.ID{}
	}
}

// refusals counts refused connections, and tells which to log.
type refusals struct {
	count [whyEnd]atomic.Uint64
	said  [whyEnd]seldom
}

// add counts one and tells whether to log it.
func (r *refusals) add(why refusedWhy) bool {
	r.count[why].Add(1)
	return r.said[why].now()
}

// seldom lets the first line of its kind through and then one in ten seconds: a
// flood must not become a flood of lines. Its zero value is ready.
type seldom struct{ last atomic.Int64 } // Unix nanoseconds

const seldomEvery = 10 * time.Second

func (s *seldom) now() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return (last == 0 || now-last >= int64(seldomEvery)) && s.last.CompareAndSwap(last, now)
}

// failedDials tells which failed dials to log.
type failedDials struct{ foreign, contact seldom }

// log says once in a while what somebody must mend: that this node and another
// are strangers to each other, and, while it is alone, that nobody is where
// discovery said. The dead and the departed are dialled in vain as a matter of
// course, which is for debugging.
func (f *failedDials) log(log *slog.Logger, d *proto.Dial, addr string, why proto.DialWhy, err error, alone bool) {
	args := []any{"addr", addr, "why", why.String(), "err", err}
	contact := alone && d.Expect.IsZero() && why != proto.DialSelf && why != proto.DialLocal
	switch {
	case foreign(why, err):
		if f.foreign.now() {
			log.Warn("a node is none of ours; have both the same security.key, cluster and version?", args...)
			return
		}
	case contact && f.contact.now():
		log.Info("a contact cannot be reached", args...)
		return
	}
	log.Debug("dial failed", args...)
}

// foreign tells a stranger from a connection that broke in its handshake.
func foreign(why proto.DialWhy, err error) bool {
	switch why {
	case proto.DialCluster, proto.DialVersion:
		return true
	case proto.DialTLS:
		return !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE)
	default:
		return false
	}
}
