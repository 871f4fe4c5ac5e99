package wire

import (
	"fmt"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Which message has which description, there and back.

// write writes what follows the code.
func (c *codec) write(m proto.Message) {
	switch m := m.(type) {
	case proto.Join:
		c.join(&m)
	case proto.ForwardJoin:
		c.forwardJoin(&m)
	case proto.Neighbor:
		c.neighbor(&m)
	case proto.Accept:
		c.accept(&m)
	case proto.Refuse:
		c.refuse(&m)
	case proto.Bye:
		c.bye(&m)
	case proto.Shuffle:
		c.shuffle(&m)
	case proto.ShuffleReply:
		c.shuffleReply(&m)
	case proto.Gossip:
		c.gossip(&m)
	case proto.IHave:
		c.announce(&m.Stream, &m.Ranges)
	case proto.Graft:
		c.announce(&m.Stream, &m.Ranges)
	case proto.GraftMiss:
		c.announce(&m.Stream, &m.Ranges)
	case proto.Prune:
		c.prune(&m)
	case proto.Last:
		c.last(&m)
	case proto.Ping:
		c.ping(&m)
	case proto.Pong:
		c.pong(&m)
	case proto.SyncHashes:
		c.syncHashes(&m)
	case proto.SyncRecords:
		c.syncRecords(&m)
	case proto.Call:
		c.call(&m)
	case proto.Took:
		c.receipt(&m.ID, &m.Round)
	case proto.Seen:
		c.receipt(&m.ID, &m.Round)
	case proto.Echo:
		c.echo(&m)
	case proto.Adopt:
		c.adopt(&m)
	case proto.Cancel:
		c.callID(&m.ID)
	case proto.Pull:
		c.callID(&m.ID)
	case proto.CallBody:
		c.callBody(&m)
	case proto.Ask:
		c.ask(&m)
	case proto.Answer:
		c.answer(&m)
	case proto.StatusAsk:
		c.callID(&m.ID)
	case proto.StatusAnswer:
		c.statusAnswer(&m)
	case proto.Help:
		c.help(&m)
	case proto.Helpless:
		c.helpless(&m)
	default:
		panic(fmt.Sprintf("wire: no frame for %T", m))
	}
}

// read reads what follows the code; nil for a message to pass over.
func (c *codec) read(code code) proto.Message {
	switch code {
	case codeJoin:
		var m proto.Join
		c.join(&m)
		return m
	case codeForwardJoin:
		var m proto.ForwardJoin
		c.forwardJoin(&m)
		return m
	case codeNeighbor:
		var m proto.Neighbor
		c.neighbor(&m)
		return m
	case codeAccept:
		var m proto.Accept
		c.accept(&m)
		return m
	case codeRefuse:
		var m proto.Refuse
		c.refuse(&m)
		return m
	case codeBye:
		var m proto.Bye
		c.bye(&m)
		return m
	case codeShuffle:
		var m proto.Shuffle
		c.shuffle(&m)
		return m
	case codeShuffleReply:
		var m proto.ShuffleReply
		c.shuffleReply(&m)
		return m
	case codeGossip:
		var m proto.Gossip
		c.gossip(&m)
		return m
	case codeIHave:
		var m proto.IHave
		c.announce(&m.Stream, &m.Ranges)
		return m
	case codeGraft:
		var m proto.Graft
		c.announce(&m.Stream, &m.Ranges)
		return m
	case codeGraftMiss:
		var m proto.GraftMiss
		c.announce(&m.Stream, &m.Ranges)
		return m
	case codePrune:
		var m proto.Prune
		c.prune(&m)
		return m
	case codeLast:
		var m proto.Last
		c.last(&m)
		return m
	default:
		return c.readDirectory(code)
	}
}

func (c *codec) readDirectory(code code) proto.Message {
	switch code {
	case codePing:
		var m proto.Ping
		c.ping(&m)
		return m
	case codePong:
		var m proto.Pong
		c.pong(&m)
		return m
	case codeSyncHashes:
		var m proto.SyncHashes
		c.syncHashes(&m)
		return m
	case codeSyncRecords:
		var m proto.SyncRecords
		c.syncRecords(&m)
		return m
	default:
		return c.readWave(code)
	}
}

func (c *codec) readWave(code code) proto.Message {
	switch code {
	case codeCall:
		var m proto.Call
		c.call(&m)
		return m
	case codeTook:
		var m proto.Took
		c.receipt(&m.ID, &m.Round)
		return m
	case codeSeen:
		var m proto.Seen
		c.receipt(&m.ID, &m.Round)
		return m
	case codeEcho:
		var m proto.Echo
		c.echo(&m)
		return m
	case codeAdopt:
		var m proto.Adopt
		c.adopt(&m)
		return m
	case codeCancel:
		var m proto.Cancel
		c.callID(&m.ID)
		return m
	case codePull:
		var m proto.Pull
		c.callID(&m.ID)
		return m
	case codeCallBody:
		var m proto.CallBody
		c.callBody(&m)
		return m
	default:
		return c.readDirect(code)
	}
}

func (c *codec) readDirect(code code) proto.Message {
	switch code {
	case codeAsk:
		var m proto.Ask
		c.ask(&m)
		return m
	case codeAnswer:
		var m proto.Answer
		c.answer(&m)
		return m
	case codeStatusAsk:
		var m proto.StatusAsk
		c.callID(&m.ID)
		return m
	case codeStatusAnswer:
		var m proto.StatusAnswer
		c.statusAnswer(&m)
		return m
	case codeHelp:
		var m proto.Help
		c.help(&m)
		return m
	case codeHelpless:
		var m proto.Helpless
		c.helpless(&m)
		return m
	default:
		if code < firstOptional {
			c.fail(UnknownType)
		}
		return nil
	}
}
