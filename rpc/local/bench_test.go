package local

import (
	"context"
	"testing"

	"github.com/starlingmesh/starling/rpc/client"
)

// The whole local way, without a network: an application's multicall to itself
// and two members that answer at once, 32 bytes.
func BenchmarkMulticall(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(map[int]string{1: "one caller", 16: "16 callers"}[callers], func(b *testing.B) {
			w := newWorld(b)
			app, caller := w.dial("app"), w.dial("caller")
			if err := app.Handle(b.Context(), "m", func(_ context.Context, r *client.Request) (client.Payload, error) {
				return r.Payload, nil
			}); err != nil {
				b.Fatal(err)
			}
			body := client.Bytes(make([]byte, 32))
			b.ReportAllocs()
			b.SetParallelism(callers / 2)
			one := func() {
				a, err := caller.Multicall(b.Context(), "m", body)
				if err != nil || a.Summary.Replied != 3 {
					b.Fatalf("%+v, %v", a, err)
				}
			}
			if callers == 1 {
				for b.Loop() {
					one()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
}
