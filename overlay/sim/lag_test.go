package sim

import (
	"testing"
	"time"
)

func TestAHostThatLagsIsFarFromAllOthersUntilItNoLongerDoes(t *testing.T) {
	w := New(Calm(1))
	a, b, c := w.Start(), w.Start(), w.Start()
	calm := w.cfg.Latency + w.cfg.Jitter
	w.Lag(b, time.Second)
	if there, back, other := w.latency(a, b), w.latency(b, a), w.latency(a, c); there < time.Second || back < time.Second || other > calm {
		t.Errorf("with a lag of a second a frame takes %v, back %v, and %v between others", there, back, other)
	}
	w.Lag(b, 0)
	if there := w.latency(a, b); there > calm {
		t.Errorf("with no lag any more a frame takes %v", there)
	}
}
