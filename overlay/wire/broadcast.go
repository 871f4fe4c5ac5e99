package wire

import "github.com/starlingmesh/starling/overlay/proto"

// Messages of the broadcast.

func (c *codec) msgID(field uint8, id *proto.MsgID) {
	s := c.begin(field, 0)
	c.mustID(1, &id.Origin)
	c.stream(2, &id.Stream)
	number(c, 3, &id.Seq)
	c.end(s)
}

// The number of the field says which body a Gossip carries. Exactly one is there.
const (
	bodyDirectory = 3
	bodyBeacon    = 4
	bodyCast      = 5
)

func (c *codec) gossip(m *proto.Gossip) {
	c.msgID(1, &m.ID)
	number(c, 2, &m.Round)
	if c.writing {
		c.writeBody(m.Body)
	} else {
		m.Body = c.readBody()
	}
}

func (c *codec) writeBody(body proto.Body) {
	switch body := body.(type) {
	case proto.DirectoryBody:
		c.directoryBody(&body)
	case proto.BeaconBody:
		c.beaconBody()
	case proto.CastBody:
		c.castBody(&body)
	default:
		c.mistake("a body without a field: %T", body)
	}
}

func (c *codec) readBody() (body proto.Body) {
	bodies := 0
	if c.has(bodyDirectory) {
		var b proto.DirectoryBody
		c.directoryBody(&b)
		body, bodies = b, bodies+1
	}
	if c.has(bodyBeacon) {
		c.beaconBody()
		body, bodies = proto.BeaconBody{}, bodies+1
	}
	if c.has(bodyCast) {
		var b proto.CastBody
		c.castBody(&b)
		body, bodies = b, bodies+1
	}
	c.must(bodyCast, bodies > 0)
	if bodies > 1 {
		c.fail(BadField)
	}
	return body
}

func (c *codec) directoryBody(b *proto.DirectoryBody) {
	s := c.begin(bodyDirectory, 0)
	c.records(1, &b.Records)
	c.end(s)
}

func (c *codec) beaconBody() { c.end(c.begin(bodyBeacon, 0)) }

func (c *codec) castBody(b *proto.CastBody) {
	s := c.begin(bodyCast, len(b.Payload))
	c.text(1, &b.Topic, proto.MaxName)
	c.text(2, &b.ContentType, proto.MaxName)
	c.bytes(3, &b.Payload)
	c.tags(4, &b.Meta, proto.MaxMeta)
	c.end(s)
}

// announce is IHave, Graft and GraftMiss.
func (c *codec) announce(stream *uint8, p *[]proto.Range) {
	c.stream(1, stream)
	for i := range list(c, 2, p, proto.MaxRanges) {
		one := &(*p)[i]
		s := c.begin(2, 0)
		c.mustID(1, &one.Origin)
		number(c, 2, &one.From)
		number(c, 3, &one.To)
		number(c, 4, &one.Round)
		c.end(s)
	}
}

func (c *codec) prune(m *proto.Prune) { c.stream(1, &m.Stream) }

func (c *codec) last(m *proto.Last) {
	c.msgID(1, &m.ID)
	number(c, 2, &m.Repeat)
}
