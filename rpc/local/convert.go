package local

import (
	"bytes"
	"encoding/json"
	"maps"
	"mime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

const (
	textType = "text/plain; charset=utf-8"
	jsonType = "application/json"
)

// fromPayload takes any arm.
func fromPayload(p *starlingv1.Payload) (rpc.Payload, *rpc.Error) {
	out := rpc.Payload{ContentType: p.GetContentType()}
	byDefault := func(ct string) {
		if out.ContentType == "" {
			out.ContentType = ct
		}
	}
	switch b := p.GetBody().(type) {
	case *starlingv1.Payload_Data:
		out.Data = b.Data
	case *starlingv1.Payload_Text:
		out.Data = []byte(b.Text)
		byDefault(textType)
	case *starlingv1.Payload_Json:
		// Not protojson: its spaces are random on purpose.
		var data bytes.Buffer
		enc := json.NewEncoder(&data)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(b.Json.AsInterface()); err != nil {
			return out, rpc.Errorf(rpc.BadRequest, "payload.json: %v", err)
		}
		out.Data = bytes.TrimRight(data.Bytes(), "\n")
		byDefault(jsonType)
	case nil:
	}
	return out, nil
}

// toPayload gives people text and JSON where it is that, and programs bytes.
func toPayload(p rpc.Payload, people bool) *starlingv1.Payload {
	out := &starlingv1.Payload{ContentType: p.ContentType}
	if people {
		kind, _, _ := mime.ParseMediaType(p.ContentType)
		switch {
		case strings.HasPrefix(kind, "text/") && utf8.Valid(p.Data):
			out.Body = &starlingv1.Payload_Text{Text: string(p.Data)}
			return out
		case kind == jsonType:
			var v structpb.Value
			if v.UnmarshalJSON(p.Data) == nil {
				out.Body = &starlingv1.Payload_Json{Json: &v}
				return out
			}
		}
	}
	out.Body = &starlingv1.Payload_Data{Data: p.Data}
	return out
}

func toTags(m map[string]string) []proto.Tag {
	if len(m) == 0 {
		return nil
	}
	tags := make([]proto.Tag, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		tags = append(tags, proto.Tag{Key: k, Value: m[k]})
	}
	return tags
}

func fromTags(tags []proto.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

func selector(s *starlingv1.Selector) rpc.Selector {
	return rpc.Selector{
		Nodes: s.GetNodes(), Tags: toTags(s.GetTags()), Zone: s.GetZone(), Group: s.GetGroup(), Handler: s.GetHandler(),
		Sample: int(s.GetSample()), ExcludeSelf: s.GetExcludeSelf(),
	}
}

func one(node string, key *starlingv1.Key) rpc.Selector {
	if key != nil {
		return rpc.Selector{ByKey: true, Key: key.GetKey(), KeyGroup: key.GetGroup()}
	}
	return rpc.Selector{Nodes: []string{node}}
}

// span reads a duration; nil is 0, and 0 said is refused.
func span(what string, d *durationpb.Duration, atMost time.Duration) (time.Duration, *rpc.Error) {
	if d == nil {
		return 0, nil
	}
	if v := d.AsDuration(); d.IsValid() && v > 0 && v <= atMost {
		return v, nil
	}
	return 0, rpc.Errorf(rpc.BadRequest, "%s is %v: want more than 0 and at most %v", what, d.AsDuration(), atMost)
}

// ask gathers what all calls have.
func ask(kind rpc.Kind, method string, p *starlingv1.Payload, timeout *durationpb.Duration, meta map[string]string) (*rpc.Ask, *rpc.Error) {
	payload, err := fromPayload(p)
	if err != nil {
		return nil, err
	}
	span, err := span("timeout", timeout, rpc.MaxTimeout)
	if err != nil {
		return nil, err
	}
	return &rpc.Ask{Kind: kind, Method: method, Payload: payload, Timeout: span, Meta: toTags(meta)}, nil
}

func askMulticall(r *starlingv1.MulticallRequest, kind rpc.Kind) (*rpc.Ask, *rpc.Error) {
	a, err := ask(kind, r.GetMethod(), r.GetPayload(), r.GetTimeout(), r.GetMetadata())
	if err != nil {
		return nil, err
	}
	a.Targets, a.MinReplies = selector(r.GetTargets()), int(r.GetMinReplies())
	return a, nil
}

func askCall(r *starlingv1.CallRequest) (*rpc.Ask, *rpc.Error) {
	a, err := ask(rpc.Call, r.GetMethod(), r.GetPayload(), r.GetTimeout(), r.GetMetadata())
	if err != nil {
		return nil, err
	}
	a.Targets = one(r.GetNode(), r.GetKey())
	return a, nil
}

func askCast(r *starlingv1.CastRequest) (*rpc.Ask, *rpc.Error) {
	a, err := ask(rpc.Cast, r.GetMethod(), r.GetPayload(), nil, r.GetMetadata())
	if err != nil {
		return nil, err
	}
	a.Targets = one(r.GetNode(), r.GetKey())
	return a, nil
}

func askAbcast(r *starlingv1.AbcastRequest) (*rpc.Ask, *rpc.Error) {
	a, err := ask(rpc.Abcast, r.GetMethod(), r.GetPayload(), r.GetTimeout(), r.GetMetadata())
	if err != nil {
		return nil, err
	}
	a.Topic, a.Targets = r.GetTopic(), selector(r.GetTargets())
	switch r.GetConfirm() {
	case starlingv1.Confirm_CONFIRM_UNSPECIFIED, starlingv1.Confirm_CONFIRM_NONE:
	case starlingv1.Confirm_CONFIRM_NODE:
		a.Confirm = rpc.ConfirmNode
	case starlingv1.Confirm_CONFIRM_HANDLER:
		a.Confirm = rpc.ConfirmHandler
	default:
		return nil, rpc.Errorf(rpc.BadRequest, "confirm is %v: want none, node or handler", r.GetConfirm())
	}
	return a, nil
}

// verdict relies on both enums counting alike; a test holds them together.
func verdict(v *rpc.NodeVerdict, people bool) *starlingv1.NodeVerdict {
	out := &starlingv1.NodeVerdict{
		NodeId: v.Node.String(), Name: v.Name, Verdict: starlingv1.Verdict(v.Verdict), Executed: starlingv1.Executed(v.Executed),
		Stage: starlingv1.Stage(v.Stage), Elapsed: durationpb.New(v.Elapsed), Attempts: uint32(v.Attempts), Reason: v.Reason,
	}
	switch v.Verdict {
	case proto.Replied:
		out.Payload = toPayload(v.Payload, people)
	case proto.AppError:
		out.Error = &starlingv1.AppError{Code: v.Code, Message: v.Message}
		if v.Payload.Data != nil || v.Payload.ContentType != "" {
			out.Error.Details = toPayload(v.Payload, people)
		}
	default:
	}
	return out
}

func verdicts(list []rpc.NodeVerdict, people bool) []*starlingv1.NodeVerdict {
	if len(list) == 0 {
		return nil
	}
	out := make([]*starlingv1.NodeVerdict, len(list))
	for i := range list {
		out[i] = verdict(&list[i], people)
	}
	return out
}

func snapshot(s *rpc.Snapshot) *starlingv1.Snapshot {
	view := starlingv1.DiscoveryView_DISCOVERY_VIEW_UNKNOWN
	switch {
	case s.Agrees():
		view = starlingv1.DiscoveryView_DISCOVERY_VIEW_AGREES
	case s.Known:
		view = starlingv1.DiscoveryView_DISCOVERY_VIEW_DIFFERS
	}
	return &starlingv1.Snapshot{
		Version: s.Version, Size: uint32(s.Size), Age: durationpb.New(s.Age), Discovery: view,
		Expected: uint32(s.Expected), Coverage: s.Coverage,
	}
}

func summary(s *rpc.Summary) *starlingv1.Summary {
	return &starlingv1.Summary{
		Asked: uint32(s.Asked), Replied: uint32(s.Replied), ExecutedYes: uint32(s.Yes), ExecutedNo: uint32(s.No),
		ExecutedMaybe: uint32(s.Maybe), Elapsed: durationpb.New(s.Elapsed),
	}
}

func multicallResponse(a *rpc.Answer, people bool) *starlingv1.MulticallResponse {
	return &starlingv1.MulticallResponse{
		Verdicts: verdicts(a.Verdicts, people), Extra: verdicts(a.Extra, people),
		Snapshot: snapshot(&a.Snapshot), Summary: summary(&a.Summary),
	}
}

func multicallEnd(a *rpc.Answer) *starlingv1.MulticallEnd {
	return &starlingv1.MulticallEnd{Snapshot: snapshot(&a.Snapshot), Summary: summary(&a.Summary)}
}

func callResponse(a *rpc.Answer, people bool) *starlingv1.CallResponse {
	if len(a.Verdicts) == 0 {
		return &starlingv1.CallResponse{}
	}
	return &starlingv1.CallResponse{Verdict: verdict(&a.Verdicts[0], people)}
}

func abcastResponse(a *rpc.Answer, people bool) *starlingv1.AbcastResponse {
	return &starlingv1.AbcastResponse{
		Verdicts: verdicts(a.Verdicts, people), Snapshot: snapshot(&a.Snapshot), Summary: summary(&a.Summary),
	}
}

func request(r *rpc.RequestItem, people bool) *starlingv1.Request {
	return &starlingv1.Request{
		Id: r.ID, Method: r.Request.Method,
		Payload:  toPayload(rpc.Payload{Data: r.Request.Payload, ContentType: r.Request.ContentType}, people),
		CallerId: r.Caller.ID.String(), Caller: r.Caller.Name, Remaining: durationpb.New(r.Remaining),
		OneWay: r.OneWay, Metadata: fromTags(r.Request.Meta),
	}
}

func event(e *rpc.EventItem, people bool) *starlingv1.Event {
	out := &starlingv1.Event{Topic: e.Topic, Origin: e.OriginName, Gap: e.Gap, Reason: e.Why, Metadata: fromTags(e.Meta), Id: e.ID}
	if !e.Origin.IsZero() {
		out.OriginId = e.Origin.String()
	}
	if e.Gap == 0 {
		out.Payload = toPayload(e.Payload, people)
	}
	return out
}

func reply(r *starlingv1.Reply) (rpc.Reply, *rpc.Error) {
	if e := r.GetError(); e != nil {
		details, err := fromPayload(e.GetDetails())
		return rpc.Reply{Failed: true, Code: e.GetCode(), Message: e.GetMessage(), Payload: details}, err
	}
	payload, err := fromPayload(r.GetPayload())
	return rpc.Reply{Payload: payload}, err
}
