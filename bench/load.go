package main

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"
)

// A Load is what one round of calls came to, or the median of rounds.
type Load struct {
	Callers   int     `json:"callers"`
	Calls     int     `json:"calls"`
	Complete  float64 `json:"complete"`             // share of the calls that were answered by everybody
	P50       float64 `json:"p50_ms"`               //
	P99       float64 `json:"p99_ms"`               //
	PerSecond float64 `json:"per_second"`           //
	CPU       float64 `json:"cpu_us_per_node_call"` // of the sidecar, or of serf with its application
	AppCPU    float64 `json:"app_us_per_node_call"` // of the application; zero where it has no process of its own
	Slowest   float64 `json:"slowest_round_p50_ms"` // of medians only: the spread
	Fastest   float64 `json:"fastest_round_p50_ms"` //
}

// run calls do again and again from so many callers for a while. do tells whether everybody answered.
func run(callers int, during time.Duration, do func() (bool, error)) (Load, error) {
	took := make([][]time.Duration, callers)
	full := make([]int, callers)
	failed := make([]error, callers)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for failed[i] == nil && time.Since(began) < during {
				from := time.Now()
				complete, err := do()
				took[i] = append(took[i], time.Since(from))
				failed[i] = err
				if complete {
					full[i]++
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(began)
	if err := errors.Join(failed...); err != nil {
		return Load{}, err
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	sum := 0
	for _, n := range full {
		sum += n
	}
	return Load{
		Callers: callers, Calls: len(all), Complete: float64(sum) / float64(len(all)),
		P50: milliseconds(rank(all, 0.50)), P99: milliseconds(rank(all, 0.99)), PerSecond: float64(len(all)) / elapsed.Seconds(),
	}, nil
}

// rank is the value that a share q of the sorted values do not exceed.
func rank[T any](sorted []T, q float64) T {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// median is the value in the middle, the upper one of two; the zero value of none.
func median[T cmp.Ordered](values []T) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	return rank(slices.Sorted(slices.Values(values)), 0.5)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// overRounds is the median of every figure; calls are counted together, and so is the share that is complete.
func overRounds(rounds []Load) Load {
	of := func(figure func(Load) float64) []float64 {
		list := make([]float64, len(rounds))
		for i, r := range rounds {
			list[i] = figure(r)
		}
		return list
	}
	p50s := of(func(l Load) float64 { return l.P50 })
	all := Load{
		Callers: rounds[0].Callers, P50: median(p50s), Fastest: slices.Min(p50s), Slowest: slices.Max(p50s),
		P99:       median(of(func(l Load) float64 { return l.P99 })),
		PerSecond: median(of(func(l Load) float64 { return l.PerSecond })),
		CPU:       median(of(func(l Load) float64 { return l.CPU })),
		AppCPU:    median(of(func(l Load) float64 { return l.AppCPU })),
	}
	for _, r := range rounds {
		all.Calls += r.Calls
		all.Complete += r.Complete * float64(r.Calls)
	}
	all.Complete /= float64(all.Calls)
	return all
}
