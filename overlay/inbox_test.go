package overlay

import (
	"testing"
	"testing/synctest"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestReadersWaitWhileTheInboxIsFullAndNobodyElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInbox(1000)
		frame := []proto.Input{proto.Received{Link: 1}}
		b.postFrames(frame, 2000)
		passed := 0
		go func() {
			b.postFrames(frame, 10)
			passed++
			b.postFrames(frame, 2000)
			b.postFrames(frame, 10) // turned away at the end
			passed++
		}()
		synctest.Wait()
		if passed != 0 {
			t.Fatal("a reader passed a full inbox")
		}
		b.post(proto.LinkDown{Link: 2})
		if got, _ := b.take(nil); len(got) != 2 {
			t.Errorf("took %d inputs", len(got))
		}
		synctest.Wait()
		if passed != 1 {
			t.Error("the reader was not let go")
		}
		b.close()
		synctest.Wait()
		if passed != 2 || b.post(proto.Leave{}) {
			t.Error("a closed inbox takes things, or holds readers")
		}
	})
}
