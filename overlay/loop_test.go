package overlay

import (
	"testing"
	"time"
)

func TestALongWaitIsMadeOfWholeMillisecondsAndALittle(t *testing.T) {
	for _, wait := range []time.Duration{5 * time.Millisecond, 31400 * time.Microsecond, time.Second - 1, time.Second} {
		got := whole(wait)
		if got < wait || got > wait+1100*time.Microsecond || got%time.Millisecond != 50*time.Microsecond {
			t.Errorf("%v became %v", wait, got)
		}
	}
	if short := 4900 * time.Microsecond; whole(short) != short {
		t.Errorf("%v became %v: a short wait is precise", short, whole(short))
	}
}
