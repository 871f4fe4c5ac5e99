package client

import (
	"log/slog"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Options configure a client. The zero value is good.
type Options struct {
	// Socket is the sidecar's socket; see FindSocket for what empty means.
	Socket string
	// Application names this process in the sidecar's logs. Default: the
	// program's name.
	Application string
	// Handlers is how many requests may run here at once. Default 64. More wait
	// in the sidecar, which refuses when too many bytes wait.
	Handlers int
	// Wait makes Dial wait for the sidecar until the context ends, for
	// applications that start beside it.
	Wait bool
	// Log hears of lost and regained connections. Default: nobody.
	Log *slog.Logger
}

// defaultTimeout bounds a call if neither the context nor an option does.
const defaultTimeout = 5 * time.Second

// CallOption says more about one call.
type CallOption func(*callOptions)

type callOptions struct {
	selector   *starlingv1.Selector
	timeout    time.Duration
	minReplies uint32
	confirm    starlingv1.Confirm
	metadata   map[string]string
	key        *starlingv1.Key
	gone       bool
	stableFor  time.Duration
}

func gather(opts []CallOption) callOptions {
	var o callOptions
	for _, set := range opts {
		set(&o)
	}
	return o
}

func (o *callOptions) sel() *starlingv1.Selector {
	if o.selector == nil {
		o.selector = &starlingv1.Selector{}
	}
	return o.selector
}

// To asks only these nodes, by name or ID.
func To(nodes ...string) CallOption {
	return func(o *callOptions) { o.sel().Nodes = append(o.sel().Nodes, nodes...) }
}

// Tagged asks only members that carry the tag with this value.
func Tagged(key, value string) CallOption {
	return func(o *callOptions) {
		tags := maps.Clone(o.sel().Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		tags[key] = value
		o.sel().Tags = tags
	}
}

// InZone asks only members of the zone.
func InZone(zone string) CallOption { return func(o *callOptions) { o.sel().Zone = zone } }

// InGroup asks only members of which an application has joined the group.
func InGroup(group string) CallOption { return func(o *callOptions) { o.sel().Group = group } }

// Serving asks only members that announce a handler for the method.
func Serving(method string) CallOption { return func(o *callOptions) { o.sel().Handler = method } }

// Sample asks so many of the selected members, drawn at random.
func Sample(n int) CallOption { return func(o *callOptions) { o.sel().Sample = uint32(max(n, 0)) } }

// ExceptSelf leaves the own node out.
func ExceptSelf() CallOption { return func(o *callOptions) { o.sel().ExcludeSelf = true } }

// Timeout bounds the call; the context's deadline still holds if it is nearer.
func Timeout(d time.Duration) CallOption { return func(o *callOptions) { o.timeout = d } }

// MinReplies ends the call after so many replies; the others are Abandoned.
func MinReplies(n int) CallOption {
	return func(o *callOptions) { o.minReplies = uint32(max(n, 0)) }
}

// ConfirmNode makes an abcast wait until each node has it.
func ConfirmNode() CallOption {
	return func(o *callOptions) { o.confirm = starlingv1.Confirm_CONFIRM_NODE }
}

// ConfirmHandler makes an abcast wait until each node's handler has answered.
func ConfirmHandler() CallOption {
	return func(o *callOptions) { o.confirm = starlingv1.Confirm_CONFIRM_HANDLER }
}

// Metadata gives the handlers a pair, e.g. traceparent.
func Metadata(key, value string) CallOption {
	return func(o *callOptions) {
		if o.metadata == nil {
			o.metadata = map[string]string{}
		}
		o.metadata[key] = value
	}
}

// OwnerOf makes Call and Cast choose the node: the owner of key among the
// members of the group, or among all if group is empty.
func OwnerOf(group, key string) CallOption {
	return func(o *callOptions) { o.key = &starlingv1.Key{Group: group, Key: key} }
}

// IncludeGone lists members that are down or have left, too.
func IncludeGone() CallOption { return func(o *callOptions) { o.gone = true } }

// StableFor makes AwaitPeers wait until the count has not changed for so long.
func StableFor(d time.Duration) CallOption { return func(o *callOptions) { o.stableFor = d } }

func seconds(d time.Duration) *durationpb.Duration {
	if d <= 0 {
		return nil
	}
	return durationpb.New(d)
}
