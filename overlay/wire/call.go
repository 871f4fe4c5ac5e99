package wire

import (
	"bytes"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Messages of calls: the wave, and what goes straight to one node.

// callID is the first field of all messages of calls.
func (c *codec) callID(id *proto.CallID) {
	s := c.begin(1, 0)
	c.mustID(1, &id.Caller)
	c.id(2, &id.Target)
	number(c, 3, &id.Seq)
	c.end(s)
}

func (c *codec) call(m *proto.Call) {
	c.callID(&m.ID)
	number(c, 2, &m.Round)
	number(c, 3, &m.Oldest)
	c.asked(m)
	number(c, 8, &m.Size)
	c.duration(9, &m.Elapsed)
	c.duration(10, &m.Remaining)
	c.duration(11, &m.Stamp)
}

// asked is fields 4 to 7, what all copies of a call have in common.
func (c *codec) asked(m *proto.Call) {
	if c.askedAgain(m) {
		return
	}
	began, a, request := c.i, m.Asked, proto.Request{}
	if c.writing {
		request = m.Whole()
	} else {
		a = new(proto.Asked)
	}
	c.caller(4, &a.From)
	if c.optional(5, !everybody(&a.Select)) {
		c.selector(5, &a.Select)
	}
	if c.optional(6, len(a.Excluded) > 0) {
		c.ids(6, &a.Excluded, proto.MaxExcluded)
	}
	c.request(7, &request)
	if !c.writing {
		m.Payload, request.Payload = request.Payload, nil
		a.Request, m.Asked = request, a
		c.rememberAsked(m, began)
	}
}

// caller is a peerInfo that is worth knowing again.
func (c *codec) caller(field uint8, p *proto.PeerInfo) {
	s := c.begin(field, 0)
	if c.callerAgain(p) {
		c.end(s)
		return
	}
	body := c.aboutPeer(p)
	c.end(s)
	c.rememberCaller(body, p)
}

// everybody tells whether it is the zero selector.
func everybody(s *proto.Selector) bool { return s.Everybody() && !s.NotSelf && !s.Draining }

func (c *codec) selector(field uint8, m *proto.Selector) {
	s := c.begin(field, 0)
	if c.optional(1, m.IDs != nil) { // an empty list selects nobody, none selects everybody
		c.ids(1, &m.IDs, proto.MaxSelectIDs)
	}
	c.text(2, &m.Zone, proto.MaxName)
	c.text(3, &m.Group, proto.MaxName)
	c.text(4, &m.Handler, proto.MaxName)
	c.tags(5, &m.Tags, proto.MaxTags)
	c.flag(6, &m.NotSelf)
	c.flag(7, &m.Draining)
	c.end(s)
}

func (c *codec) request(field uint8, m *proto.Request) {
	s := c.begin(field, len(m.Payload))
	c.share(memoryBytes)
	mustEnum(c, 1, &m.Mode, proto.ModeDeliverHandler)
	c.text(2, &m.Method, proto.MaxName)
	c.text(3, &m.ContentType, proto.MaxName)
	c.bytes(4, &m.Payload)
	c.tags(5, &m.Meta, proto.MaxMeta)
	c.unshare()
	c.end(s)
}

// receipt is Took and Seen.
func (c *codec) receipt(id *proto.CallID, round *uint8) {
	c.callID(id)
	number(c, 2, round)
}

func (c *codec) echo(m *proto.Echo) {
	c.callID(&m.ID)
	number(c, 2, &m.Round)
	c.flag(3, &m.Final)
	c.flag(4, &m.Spread)
	for i := range list(c, 5, &m.Results, proto.MaxResults) {
		c.nodeResult(5, &m.Results[i])
	}
	if !c.writing {
		ownPayloads(m.Results)
	}
	for i := range list(c, 6, &m.Receipts, proto.MaxResults) {
		one := &m.Receipts[i]
		s := c.begin(6, 0)
		c.mustID(1, &one.Node)
		c.id(2, &one.Parent)
		number(c, 3, &one.Round)
		c.end(s)
	}
	for i := range list(c, 7, &m.Testimony, proto.MaxResults) {
		one := &m.Testimony[i]
		s := c.begin(7, 0)
		c.mustID(1, &one.Witness)
		c.mustID(2, &one.Node)
		mustEnum(c, 3, &one.Kind, proto.TestifyPending)
		c.flag(4, &one.Received)
		c.duration(5, &one.Ago)
		c.end(s)
	}
}

// The verdicts that a target can give on itself stand first in their list; the
// others are conclusions of the caller and never travel.
const lastOutcome = proto.TimedOut

// nodeResult leaves the payload that it reads to the frame: see ownPayloads.
func (c *codec) nodeResult(field uint8, m *proto.NodeResult) {
	res := &m.Result
	s := c.begin(field, len(res.Payload))
	c.mustID(1, &m.Node)
	number(c, 2, &m.Incarnation)
	mustEnum(c, 3, &res.Outcome, lastOutcome)
	mustEnum(c, 4, &res.Executed, proto.ExecutedMaybe) // what was not said must never be read as "no"
	enum(c, 5, &res.Stage, proto.StageFinished)
	c.text(6, &res.Reason, proto.MaxValue)
	c.text(7, &res.Code, proto.MaxName)
	c.text(8, &res.ContentType, proto.MaxName)
	c.borrowed(9, &res.Payload)
	number(c, 10, &res.Size)
	c.end(s)
}

func (c *codec) maybeResult(field uint8, p **proto.NodeResult) {
	if c.optional(field, *p != nil) {
		if !c.writing {
			*p = new(proto.NodeResult)
		}
		if c.nodeResult(field, *p); !c.writing {
			(*p).Result.Payload = bytes.Clone((*p).Result.Payload)
		}
	}
}

// ownPayloads copies the payloads out of the frame. As long as they are not much
// together they share one copy, as strings do.
func ownPayloads(results []proto.NodeResult) {
	size := 0
	for i := range results {
		size += len(results[i].Result.Payload)
	}
	var all []byte
	if size <= sharedMax {
		all = make([]byte, 0, size)
	}
	for i := range results {
		p := &results[i].Result.Payload
		switch {
		case *p == nil:
		case all == nil:
			*p = bytes.Clone(*p)
		default:
			at := len(all)
			all = append(all, *p...)
			*p = all[at:len(all):len(all)]
		}
	}
}

func (c *codec) adopt(m *proto.Adopt) {
	s := c.begin(1, 0)
	c.echo(&m.Echo)
	c.end(s)
}

func (c *codec) callBody(m *proto.CallBody) {
	c.callID(&m.ID)
	c.bytes(2, &m.Payload)
	c.flag(3, &m.Gone)
}

func (c *codec) ask(m *proto.Ask) {
	s := c.begin(1, len(m.Call.Payload))
	c.call(&m.Call)
	c.end(s)
	c.id(2, &m.Via)
}

func (c *codec) answer(m *proto.Answer) {
	c.callID(&m.ID)
	c.mustID(2, &m.Node)
	c.maybeResult(3, &m.Result)
}

func (c *codec) statusAnswer(m *proto.StatusAnswer) {
	c.callID(&m.ID)
	c.mustID(2, &m.Node)
	enum(c, 3, &m.Stage, proto.StageFinished)
	c.maybeResult(4, &m.Result)
}

func (c *codec) help(m *proto.Help) {
	c.peerInfo(1, &m.Target)
	s := c.begin(2, len(m.Ask.Call.Payload))
	c.ask(&m.Ask)
	c.end(s)
}

func (c *codec) helpless(m *proto.Helpless) {
	c.callID(&m.ID)
	c.mustID(2, &m.Target)
	mustEnum(c, 3, &m.Why, proto.DialNetwork)
}
