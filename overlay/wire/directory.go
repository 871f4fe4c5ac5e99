package wire

import (
	"encoding/binary"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Messages of the directory, and the records that they and broadcasts carry.

func (c *codec) ping(m *proto.Ping) {
	number(c, 1, &m.Seq)
	c.duration(2, &m.Sent)
	c.fixed8(3, &m.Digest)
	c.id(4, &m.Component)
	number(c, 5, &m.Size)
	number(c, 6, &m.Load)
}

func (c *codec) pong(m *proto.Pong) {
	number(c, 1, &m.Seq)
	c.duration(2, &m.Sent)
	c.fixed8(3, &m.Digest)
	c.id(4, &m.Component)
	number(c, 5, &m.Size)
	number(c, 6, &m.Load)
	c.duration(7, &m.Echo)
	c.duration(8, &m.Received)
}

// syncHashes has all hashes in one field, 8 bytes each, none missing.
func (c *codec) syncHashes(m *proto.SyncHashes) {
	if c.writing {
		if len(m.Buckets) != proto.Buckets {
			c.mistake("%d hashes, must be %d", len(m.Buckets), proto.Buckets)
		}
		at, room := c.open(1, proto.Buckets*fixed8Len)
		for _, h := range m.Buckets {
			c.out = binary.BigEndian.AppendUint64(c.out, h)
		}
		c.close(at, room)
		return
	}
	c.must(1, c.at(1, kindBytes))
	b := c.view()
	if len(b) != proto.Buckets*fixed8Len {
		c.fail(BadCount)
		return
	}
	m.Buckets = make([]uint64, proto.Buckets)
	for i := range m.Buckets {
		m.Buckets[i] = binary.BigEndian.Uint64(b[i*fixed8Len:])
	}
}

func (c *codec) syncRecords(m *proto.SyncRecords) {
	if c.writing {
		c.bounded(1, len(m.Buckets), proto.Buckets)
	}
	if c.bytes(1, &m.Buckets); len(m.Buckets) > proto.Buckets {
		c.fail(BadCount)
	}
	c.records(2, &m.Records)
	c.flag(3, &m.Reply)
	c.flag(4, &m.More)
}

func (c *codec) records(field uint8, p *[]proto.Record) {
	for i := range list(c, field, p, proto.MaxRecords) {
		s := c.begin(field, 0)
		c.record(&(*p)[i])
		c.end(s)
	}
}

func (c *codec) record(m *proto.Record) {
	if c.optional(1, m.Entry != nil) {
		if !c.writing {
			m.Entry = new(proto.Entry)
		}
		c.entry(1, m.Entry)
	}
	number(c, 2, &m.Down)
	for i := range list(c, 3, &m.Opinions, proto.MaxOpinions) {
		c.opinion(3, &m.Opinions[i])
	}
	if c.optional(4, m.Tomb != nil) {
		if !c.writing {
			m.Tomb = new(proto.Tombstone)
		}
		c.tombstone(4, m.Tomb)
	}
}

func (c *codec) entry(field uint8, e *proto.Entry) {
	s := c.begin(field, 0)
	c.share(sharedMax)
	c.mustID(1, &e.ID)
	c.text(2, &e.Name, proto.MaxName)
	number(c, 3, &e.Birth)
	number(c, 4, &e.Incarnation)
	number(c, 5, &e.Version)
	c.texts(6, &e.Addrs, proto.MaxAddrs)
	c.text(7, &e.Zone, proto.MaxName)
	c.tags(8, &e.Tags, proto.MaxTags)
	c.texts(9, &e.Handlers, proto.MaxHandlers)
	c.texts(10, &e.Groups, proto.MaxGroups)
	number(c, 11, &e.Streams)
	number(c, 12, &e.VersionMin)
	number(c, 13, &e.VersionMax)
	c.flag(14, &e.Left)
	c.flag(15, &e.Draining)
	c.unshare()
	c.end(s)
}

func (c *codec) opinion(field uint8, o *proto.Opinion) {
	s := c.begin(field, 0)
	c.mustID(1, &o.Accused)
	number(c, 2, &o.Incarnation)
	number(c, 3, &o.Version)
	c.mustID(4, &o.Author)
	number(c, 5, &o.Counter)
	c.flag(6, &o.Accuse)
	c.flag(7, &o.HalfWeight)
	c.end(s)
}

func (c *codec) tombstone(field uint8, t *proto.Tombstone) {
	s := c.begin(field, 0)
	c.mustID(1, &t.ID)
	c.text(2, &t.Name, proto.MaxName)
	number(c, 3, &t.Birth)
	number(c, 4, &t.Incarnation)
	c.end(s)
}
