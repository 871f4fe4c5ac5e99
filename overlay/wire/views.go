package wire

import "github.com/starlingmesh/starling/overlay/proto"

// What messages of several kinds are made of, and the messages of the views.

func (c *codec) peerInfo(field uint8, p *proto.PeerInfo) {
	s := c.begin(field, 0)
	c.aboutPeer(p)
	c.end(s)
}

// aboutPeer is what a peerInfo holds. Reading, it returns the copy that its
// strings share.
func (c *codec) aboutPeer(p *proto.PeerInfo) string {
	copied := c.share(sharedMax)
	c.mustID(1, &p.ID)
	c.text(2, &p.Name, proto.MaxName)
	c.texts(3, &p.Addrs, proto.MaxAddrs)
	number(c, 4, &p.Incarnation)
	c.unshare()
	return copied
}

func (c *codec) peers(field uint8, p *[]proto.PeerInfo) {
	for i := range list(c, field, p, proto.MaxPeers) {
		c.peerInfo(field, &(*p)[i])
	}
}

func (c *codec) tags(field uint8, p *[]proto.Tag, limit int) {
	for i := range list(c, field, p, limit) {
		s := c.begin(field, 0)
		c.text(1, &(*p)[i].Key, proto.MaxName)
		c.text(2, &(*p)[i].Value, proto.MaxValue)
		c.end(s)
	}
}

func (c *codec) join(m *proto.Join) { c.peerInfo(1, &m.Self) }

func (c *codec) forwardJoin(m *proto.ForwardJoin) {
	c.peerInfo(1, &m.Joiner)
	number(c, 2, &m.TTL)
}

func (c *codec) neighbor(m *proto.Neighbor) {
	c.peerInfo(1, &m.Self)
	c.flag(2, &m.High)
	c.flag(3, &m.Bridge)
}

func (c *codec) accept(m *proto.Accept) { c.peerInfo(1, &m.Self) }

func (c *codec) refuse(m *proto.Refuse) {
	mustEnum(c, 1, &m.Why, proto.RefuseSuperseded)
	c.peers(2, &m.Peers)
}

func (c *codec) bye(m *proto.Bye) {
	mustEnum(c, 1, &m.Why, proto.ByeTrimmed)
	c.peers(2, &m.Peers)
}

func (c *codec) shuffle(m *proto.Shuffle) {
	c.peerInfo(1, &m.Origin)
	number(c, 2, &m.TTL)
	c.peers(3, &m.Peers)
}

func (c *codec) shuffleReply(m *proto.ShuffleReply) { c.peers(1, &m.Peers) }
