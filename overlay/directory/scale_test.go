package directory

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/starlingmesh/starling/overlay/proto"
)

// BenchmarkSuspicion is one accusation heard, ranked and refuted among 10,000.
func BenchmarkSuspicion(b *testing.B) {
	d := lone(idOf(0), nil)
	for i := 1; i < 10_000; i++ {
		d.apply(noon, &proto.Record{Entry: entryOf(i, fmt.Sprint(i), 1000)}, idOf(1), &proto.Out{})
	}
	wait(d, noon, 0)
	b.ReportAllocs()
	for n := range b.N {
		r, _ := d.records.Get(idOf(1 + n%9000))
		rec := r.export()
		rec.Opinions = append(rec.Opinions, proto.Opinion{
			Accused: r.ID(), Incarnation: r.entry.Incarnation, Version: r.entry.Version, Author: idOf(9500), Counter: 1, Accuse: true,
		})
		var out proto.Out
		d.Delivered(noon, idOf(9500), proto.DirectoryBody{Records: []proto.Record{rec}}, &out)
		d.Wake(noon, &out)
		answer := *r.entry
		answer.Version++
		d.Delivered(noon, r.ID(), proto.DirectoryBody{Records: []proto.Record{{Entry: &answer}}}, &out)
	}
}

// BenchmarkMembers takes in 10,000 members one by one, and tells what each takes: their entries, and all else without and
// with somebody who asks for rosters.
func BenchmarkMembers(b *testing.B) {
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	const members = 10_000
	for range b.N {
		b.StopTimer()
		began := heap()
		records := make([]proto.Record, members)
		for i := range records {
			records[i].Entry = entryOf(i+1, fmt.Sprintf("a-name-of-some-length-%d", i), 1000)
		}
		entries := heap()
		d := lone(idOf(0), nil)
		b.StartTimer()
		for i := range records {
			d.apply(noon, &records[i], idOf(1), &proto.Out{})
		}
		b.StopTimer()
		wait(d, noon, time.Second)
		known := heap()
		roster := d.Roster()
		listed := heap()
		runtime.KeepAlive(d)
		runtime.KeepAlive(roster)
		runtime.KeepAlive(records)
		b.ReportMetric((entries-began)/members, "B/entry")
		b.ReportMetric((known-entries)/members, "B/record")
		b.ReportMetric((listed-known)/members, "B/listed")
		b.StartTimer()
	}
}

// TestARecordIsSmall: a cluster of N nodes keeps N times N of them.
func TestARecordIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size > 32 {
		t.Errorf("a record takes %d bytes, want 32 at most", size)
	}
}
