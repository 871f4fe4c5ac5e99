package wire

import (
	"fmt"

	"github.com/starlingmesh/starling/overlay/proto"
)

// code is the first byte of a frame: what it is. Codes are never used again for
// something else.
type code uint8

const (
	codeHello   code = 1
	codeRefusal code = 2

	codeJoin         code = 8
	codeForwardJoin  code = 9
	codeNeighbor     code = 10
	codeAccept       code = 11
	codeRefuse       code = 12
	codeBye          code = 13
	codeShuffle      code = 14
	codeShuffleReply code = 15

	codeGossip    code = 16
	codeIHave     code = 17
	codeGraft     code = 18
	codeGraftMiss code = 19
	codePrune     code = 20
	codeLast      code = 21

	codePing        code = 24
	codePong        code = 25
	codeSyncHashes  code = 26
	codeSyncRecords code = 27

	codeCall         code = 32
	codeTook         code = 33
	codeSeen         code = 34
	codeEcho         code = 35
	codeAdopt        code = 36
	codeCancel       code = 37
	codePull         code = 38
	codeCallBody     code = 39
	codeAsk          code = 40
	codeAnswer       code = 41
	codeStatusAsk    code = 42
	codeStatusAnswer code = 43
	codeHelp         code = 44
	codeHelpless     code = 45
	lastCode         code = 46

	firstMessage = codeJoin

	// firstOptional and above is what may be passed over by those who do not
	// know it; an unknown code below ends the link.
	firstOptional code = 128
)

var names = [lastCode]string{
	codeHello: "hello", codeRefusal: "refusal",
	codeJoin: "join", codeForwardJoin: "forward_join", codeNeighbor: "neighbor", codeAccept: "accept",
	codeRefuse: "refuse", codeBye: "bye", codeShuffle: "shuffle", codeShuffleReply: "shuffle_reply",
	codeGossip: "gossip", codeIHave: "ihave", codeGraft: "graft", codeGraftMiss: "graft_miss",
	codePrune: "prune", codeLast: "last",
	codePing: "ping", codePong: "pong", codeSyncHashes: "sync_hashes", codeSyncRecords: "sync_records",
	codeCall: "call", codeTook: "took", codeSeen: "seen", codeEcho: "echo", codeAdopt: "adopt",
	codeCancel: "cancel", codePull: "pull", codeCallBody: "call_body", codeAsk: "ask", codeAnswer: "answer",
	codeStatusAsk: "status_ask", codeStatusAnswer: "status_answer", codeHelp: "help", codeHelpless: "helpless",
}

// String is the name; "unknown" for a code that this version does not know.
func (c code) String() string {
	if c >= lastCode || names[c] == "" {
		return "unknown"
	}
	return names[c]
}

func codeOf(m proto.Message) code {
	switch m.(type) {
	case proto.Join:
		return codeJoin
	case proto.ForwardJoin:
		return codeForwardJoin
	case proto.Neighbor:
		return codeNeighbor
	case proto.Accept:
		return codeAccept
	case proto.Refuse:
		return codeRefuse
	case proto.Bye:
		return codeBye
	case proto.Shuffle:
		return codeShuffle
	case proto.ShuffleReply:
		return codeShuffleReply
	case proto.Gossip:
		return codeGossip
	case proto.IHave:
		return codeIHave
	case proto.Graft:
		return codeGraft
	case proto.GraftMiss:
		return codeGraftMiss
	case proto.Prune:
		return codePrune
	case proto.Last:
		return codeLast
	case proto.Ping:
		return codePing
	case proto.Pong:
		return codePong
	case proto.SyncHashes:
		return codeSyncHashes
	case proto.SyncRecords:
		return codeSyncRecords
	case proto.Call:
		return codeCall
	case proto.Took:
		return codeTook
	case proto.Seen:
		return codeSeen
	case proto.Echo:
		return codeEcho
	case proto.Adopt:
		return codeAdopt
	case proto.Cancel:
		return codeCancel
	case proto.Pull:
		return codePull
	case proto.CallBody:
		return codeCallBody
	case proto.Ask:
		return codeAsk
	case proto.Answer:
		return codeAnswer
	case proto.StatusAsk:
		return codeStatusAsk
	case proto.StatusAnswer:
		return codeStatusAnswer
	case proto.Help:
		return codeHelp
	case proto.Helpless:
		return codeHelpless
	default:
		panic(fmt.Sprintf("wire: no code for %T", m))
	}
}
