package main

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/asdlc/asdlc/cmd/asdlc/bench"
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
)

// BenchmarkDepth measures networks of layers 256 x 256, batches of 32, on one thread: the processor time of a step and of compiling, a
// layer, and what share of the first hundred steps compiling is, the session's part and the initial state included.
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
					compile := compileTime(b, open, rec)
					w, err := bench.NewWorker(open, rec, pass.Options{Batch: 32}, bench.Config{Threads: 1})
					if err != nil {
						b.Fatal(err)
					}
					var steps []float64
					for range 5 {
						before := processorTime(b)
						window, err := w.Window(0.2)
						if err != nil {
							b.Fatal(err)
						}
						steps = append(steps, (processorTime(b)-before)/float64(window.Steps))
					}
					slices.Sort(steps)
					step := steps[len(steps)/2]
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

// compileTime is the processor time in seconds from a model to a session that is ready for the first step.
func compileTime(b *testing.B, open func() (*graph.Model, error), rec method.Record) float64 {
	m, err := open()
	if err != nil {
		b.Fatal(err)
	}
	before := processorTime(b)
	r, err := passes.Instrument(m, rec, pass.Options{Batch: 32}, "")
	if err != nil {
		b.Fatal(err)
	}
	s, err := runtime.NewSession(r.Step, runtime.Options{Threads: 1, Outputs: r.Fetches()})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.LoadInit(r.Init); err != nil {
		b.Fatal(err)
	}
	spent := processorTime(b) - before
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return spent
}

// processorTime is that of the process so far, in seconds.
func processorTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
