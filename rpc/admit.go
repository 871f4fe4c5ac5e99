package rpc

import (
	"unicode"
	"unicode/utf8"

	"github.com/starlingmesh/starling/overlay/proto"
)

// admit checks a call against all bounds that need no other node.
func (s *Service) admit(ask *Ask) *Error {
	if s.closed {
		return s.refuse(ShuttingDown, "the sidecar is shutting down")
	}
	if err := s.admitName(ask); err != nil {
		return err
	}
	if n := len(ask.Payload.Data); n > s.cfg.MessageMax {
		return s.refuse(PayloadTooLarge, "the payload has %d bytes, a message may have %d (api.message_max): send less, or a reference", n, s.cfg.MessageMax)
	}
	if len(ask.Payload.ContentType) > proto.MaxName {
		return s.refuse(BadRequest, "content_type has %d bytes: want at most %d", len(ask.Payload.ContentType), proto.MaxName)
	}
	if len(ask.Meta) > proto.MaxMeta {
		return s.refuse(BadRequest, "metadata has %d pairs: want at most %d", len(ask.Meta), proto.MaxMeta)
	}
	for _, m := range ask.Meta {
		if m.Key == "" || len(m.Key) > proto.MaxName || len(m.Value) > proto.MaxValue {
			return s.refuse(BadRequest, "metadata %.40q: want a key of 1 to %d bytes and a value of at most %d", m.Key, proto.MaxName, proto.MaxValue)
		}
	}
	switch {
	case ask.Timeout == 0:
		ask.Timeout = DefaultTimeout
	case ask.Timeout < 0:
		return s.refuse(BadRequest, "timeout is %v: want more than 0", ask.Timeout)
	case ask.Timeout > MaxTimeout:
		return s.refuse(BadRequest, "timeout is %v: want at most %v", ask.Timeout, MaxTimeout)
	}
	if len(s.calls) >= s.cfg.CallsMax {
		return s.refuse(TooManyCalls, "%d calls are open at this sidecar (api.calls_max): wait for answers; nothing was sent", len(s.calls))
	}
	return nil
}

func (s *Service) admitName(ask *Ask) *Error {
	what, name := "method", ask.Method
	if ask.Kind == Abcast && ask.Topic != "" {
		if ask.Method != "" {
			return s.refuse(BadRequest, "both method and topic are set: an abcast goes to one of them")
		}
		what, name = "topic", ask.Topic
	}
	if bad := badName(name); bad != "" {
		return s.refuse(BadRequest, "%s %.40q: %s", what, name, bad)
	}
	return nil
}

// badName tells what is wrong with the name of a method, topic or group.
func badName(name string) string {
	switch {
	case name == "":
		return "want a name, it is empty"
	case len(name) > proto.MaxName-1: // one byte is ours, see methodTopic
		return "want at most 254 bytes"
	case !utf8.ValidString(name):
		return "want UTF-8"
	case name[0] == '/':
		return "want a name that does not begin with /"
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return "want no control characters"
		}
	}
	return ""
}
