package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// BenchmarkWays measures the choice between preconditioning the rows of a gradient and the gradient itself: the time of a step without
// a refresh, by the choices for its batch size, over that by the choices for one example and for very many, whichever is
// faster. The three take turns.
//
//	go test ./cmd/asdlc -run '^$' -bench Ways -benchtime 1x
func BenchmarkWays(b *testing.B) {
	for _, network := range []struct {
		name    string
		options models.Options
		input   []int
		batches []int
	}{
		{"mlp", models.Options{}, []int{784}, []int{8, 32, 128, 256, 512, 1024}},
		{"resnet18", models.Options{Width: 32}, []int{3, 32, 32}, []int{1, 4, 16}},
		{"vit-tiny", models.Options{Depth: 2}, []int{3, 32, 32}, []int{1, 4, 16}},
	} {
		m, err := models.Build(network.name, network.options)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"kfac", "foof", "ekfac"} {
			for _, batch := range network.batches {
				b.Run(fmt.Sprintf("%s/%s/%d", network.name, name, batch), func(b *testing.B) {
					var sides []*runtime.Session
					for _, meant := range []int{batch, 1, 1 << 20} {
						sides = append(sides, waySession(b, m, name, meant, batch, network.input))
					}
					for b.Loop() {
						step, ratio := inTurn(b, sides, 15)
						b.ReportMetric(step*1e3, "ms")
						b.ReportMetric(ratio, "of-best")
					}
				})
			}
		}
	}
}

// waySession is a step compiled for one batch size, ready to run on another.
func waySession(b *testing.B, m *graph.Model, name string, meant, batch int, input []int) *runtime.Session {
	rec, _ := method.Lookup(name)
	for _, every := range []string{"accumulate.every", "solve.every"} {
		if err := method.Set(&rec, every, "1000000"); err != nil {
			b.Fatal(err)
		}
	}
	r, err := passes.Instrument(m, rec, pass.Options{Batch: int64(meant)}, "")
	if err != nil {
		b.Fatal(err)
	}
	s, err := runtime.NewSession(r.Step, runtime.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	x := kernel.New(graph.Float32, append([]int{batch}, input...)...)
	for i := range kernel.Data[float32](x) {
		kernel.Data[float32](x)[i] = float32(i%17)/8 - 1
	}
	target := kernel.New(graph.Int64, batch)
	for i := range kernel.Data[int64](target) {
		kernel.Data[int64](target)[i] = int64(i % 10)
	}
	for _, err := range []error{s.LoadInit(r.Init), s.Bind("input", x), s.Bind("target", target), s.Bind("lr", kernel.Of([]float32{1e-7})), s.Step(), s.Step()} {
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// inTurn is the median time of a step of the first session in seconds, and of its ratio to the fastest other, over rounds in
// which each has a window.
func inTurn(b *testing.B, sides []*runtime.Session, rounds int) (step, ratio float64) {
	const window = 50 * time.Millisecond
	var firsts, ratios []float64
	for range rounds {
		times := make([]float64, len(sides))
		for i, s := range sides {
			steps, start := 0, time.Now()
			for time.Since(start) < window {
				if err := s.Step(); err != nil {
					b.Fatal(err)
				}
				steps++
			}
			times[i] = time.Since(start).Seconds() / float64(steps)
		}
		firsts, ratios = append(firsts, times[0]), append(ratios, times[0]/slices.Min(times[1:]))
	}
	slices.Sort(firsts)
	slices.Sort(ratios)
	return firsts[rounds/2], ratios[rounds/2]
}
