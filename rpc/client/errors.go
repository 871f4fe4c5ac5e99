package client

import (
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// ErrClosed is what calls on a closed client return.
var ErrClosed = errors.New("the client is closed")

// ErrConnectionLost means that the connection to the sidecar broke while a call
// was open: what became of it is not known here.
var ErrConnectionLost = errors.New("the connection to the sidecar broke while the call was open; it may have run")

// Error is the sidecar's word that a call could not be made. `starling errors
// REASON` tells more.
type Error struct {
	Code    codes.Code // of gRPC
	Reason  string     // e.g. "PAYLOAD_TOO_LARGE"
	Message string     // what happened and what to do
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s (%s)", e.Message, e.Code)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Reason)
}

// tooLarge is the sidecar's own refusal, without asking it.
func tooLarge(what string, n, most int) *Error {
	return &Error{
		Code: codes.InvalidArgument, Reason: "PAYLOAD_TOO_LARGE",
		Message: fmt.Sprintf("%s has %d bytes, a message may have %d (api.message_max): send less, or a reference", what, n, most),
	}
}

func fromFailure(f *starlingv1.Failure) error {
	return &Error{Code: codes.Code(f.GetCode()), Reason: f.GetReason(), Message: f.GetMessage()}
}

// fromStatus makes an *Error of what gRPC returned.
func fromStatus(err error) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	e := &Error{Code: st.Code(), Message: st.Message()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			e.Reason = info.GetReason()
		}
	}
	return e
}
