package directory

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestWhenANeighbourWasLastHeardIsKnownAndStaysKnownWithoutItsLink(t *testing.T) {
	c := newCourt(t, 4, nil)
	c.up(1)
	c.now = c.now.Add(time.Second)
	c.d.Heard(c.now, idOf(1))
	heard := c.now
	c.want("a neighbour heard now", c.d.Member(idOf(1)).Heard.Equal(heard))
	c.want("others never", c.d.Member(idOf(2)).Heard.IsZero())
	c.now = c.now.Add(time.Second)
	c.d.NeighborDown(c.now, 1, idOf(1), proto.DownHungUp, &c.out)
	c.want("it heard then, though its link is gone", c.d.Member(idOf(1)).Heard.Equal(heard))
	c.d.Heard(c.now, idOf(1))
	c.want("and heard now, over a link of another kind", c.d.Member(idOf(1)).Heard.Equal(c.now))
}

func TestWhoIsDownOrHasLeftHasEndedAndNobodyElse(t *testing.T) {
	c := newCourt(t, 4, nil)
	for i := range 4 {
		_, over := c.d.Ended(idOf(i))
		c.want("nobody ended", !over)
	}
	_, over := c.d.Ended(idOf(99))
	c.want("nobody unknown ended", !over)
	left := *c.d.Member(idOf(1)).Entry
	left.Left, left.Version = true, left.Version+1
	c.tell(proto.Record{Entry: &left})
	last, over := c.d.Ended(idOf(1))
	c.want("who left ended", over && last == left.Incarnation)
	down := c.d.Member(idOf(2)).Entry
	c.tell(proto.Record{Entry: down, Down: down.Incarnation})
	last, over = c.d.Ended(idOf(2))
	c.want("who is certified down ended", over && last == down.Incarnation)
}
