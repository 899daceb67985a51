package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/cmd/asdlc/bench"
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// BenchmarkDepth measures networks of layers 256 x 256, batches of 32, on one thread: the time of a step and of compiling, a layer,
// and what share of the first hundred steps compiling is, the session's part included.
//
//	go test ./cmd/asdlc -run '^$' -bench Depth -benchtime 1x
func BenchmarkDepth(b *testing.B) {
	for _, name := range []string{"sgd", "kfac"} {
		for _, depth := range []int{10, 30, 100, 300, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, depth), func(b *testing.B) {
				rec, _ := method.Lookup(name)
				if name != "sgd" {
					if err := method.Set(&rec, "every", "10"); err != nil {
						b.Fatal(err)
					}
				}
				open := func() (*graph.Model, error) {
					return models.Build("mlp", models.Options{Widths: append(slices.Repeat([]int{256}, depth), 10)})
				}
				for b.Loop() {
					w, err := bench.NewWorker(open, rec, pass.Options{Batch: 32}, bench.Config{Threads: 1})
					if err != nil {
						b.Fatal(err)
					}
					var steps []float64
					for range 5 {
						window, err := w.Window(0.2)
						if err != nil {
							b.Fatal(err)
						}
						steps = append(steps, window.Seconds/float64(window.Steps))
					}
					slices.Sort(steps)
					step, compile := steps[len(steps)/2], w.Built.Compile+w.Built.Session
					b.ReportMetric(1e6*step/float64(depth), "us/layer")
					b.ReportMetric(1e3*compile/float64(depth), "compile-ms/layer")
					b.ReportMetric(compile/step, "%of100steps")
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
