package client

import (
	"strings"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// word makes the SDK's word of a protobuf enum's name.
func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

func toPayload(p Payload) *starlingv1.Payload {
	if p.Data == nil && p.ContentType == "" {
		return nil
	}
	return &starlingv1.Payload{Body: &starlingv1.Payload_Data{Data: p.Data}, ContentType: p.ContentType}
}

func fromPayload(p *starlingv1.Payload) Payload {
	if text, ok := p.GetBody().(*starlingv1.Payload_Text); ok {
		return Payload{Data: []byte(text.Text), ContentType: p.GetContentType()}
	}
	return Payload{Data: p.GetData(), ContentType: p.GetContentType()}
}

func verdicts(list []*starlingv1.NodeVerdict, extra bool) []NodeVerdict {
	out := make([]NodeVerdict, len(list))
	for i, v := range list {
		out[i] = verdict(v, extra)
	}
	return out
}

// The names of enums, once: String and ToLower on each verdict would show.
var (
	verdictWords  = words(starlingv1.Verdict_name, "VERDICT_")
	executedWords = words(starlingv1.Executed_name, "EXECUTED_")
	stageWords    = words(starlingv1.Stage_name, "STAGE_")
)

func words(names map[int32]string, prefix string) map[int32]string {
	out := make(map[int32]string, len(names))
	for n, name := range names {
		out[n] = word(name, prefix)
	}
	return out
}

func verdict(v *starlingv1.NodeVerdict, extra bool) NodeVerdict {
	out := NodeVerdict{
		NodeID: v.GetNodeId(), Name: v.GetName(),
		Verdict: Verdict(verdictWords[int32(v.GetVerdict())]), Executed: Executed(executedWords[int32(v.GetExecuted())]),
		Stage: Stage(stageWords[int32(v.GetStage())]), Elapsed: v.GetElapsed().AsDuration(), Attempts: int(v.GetAttempts()),
		Reason: v.GetReason(), Payload: fromPayload(v.GetPayload()), Extra: extra,
	}
	if e := v.GetError(); e != nil {
		out.Err = &AppError{Code: e.GetCode(), Message: e.GetMessage(), Details: fromPayload(e.GetDetails())}
	}
	return out
}

func snapshot(s *starlingv1.Snapshot) Snapshot {
	return Snapshot{
		Version: s.GetVersion(), Size: int(s.GetSize()), Age: s.GetAge().AsDuration(),
		Discovery: word(s.GetDiscovery().String(), "DISCOVERY_VIEW_"), Expected: int(s.GetExpected()), Coverage: s.GetCoverage(),
	}
}

func summary(s *starlingv1.Summary) Summary {
	return Summary{
		Asked: int(s.GetAsked()), Replied: int(s.GetReplied()), ExecutedYes: int(s.GetExecutedYes()),
		ExecutedNo: int(s.GetExecutedNo()), ExecutedMaybe: int(s.GetExecutedMaybe()), Elapsed: s.GetElapsed().AsDuration(),
	}
}

func membersOf(list []*starlingv1.Member) []Member {
	out := make([]Member, len(list))
	for i, m := range list {
		out[i] = member(m)
	}
	return out
}

func member(m *starlingv1.Member) Member {
	return Member{
		NodeID: m.GetNodeId(), Name: m.GetName(), Status: word(m.GetStatus().String(), "MEMBER_STATUS_"),
		Incarnation: m.GetIncarnation(), Addresses: m.GetAddresses(), Zone: m.GetZone(), Tags: m.GetTags(),
		Groups: m.GetGroups(), Handlers: m.GetHandlers(), Self: m.GetSelf(), Linked: m.GetLinked(),
	}
}
