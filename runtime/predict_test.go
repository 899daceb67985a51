package runtime_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	asdl "github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// heap is the memory in use after garbage collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// TestPredictMemory: what is predicted before anything runs is what the running step takes: by the session's own count
// exactly, and by the Go heap within 5 %.
func TestPredictMemory(t *testing.T) {
	for _, c := range []struct {
		model, method string
		options       models.Options
		batch         int64
		shape         []int
	}{
		{"mlp", "kfac", models.Options{Widths: []int{784, 1024, 512, 10}}, 512, []int{512, 784}},
		{"mlp", "shampoo", models.Options{Widths: []int{784, 512, 10}}, 64, []int{64, 784}},
		{"lenet", "kfac", models.Options{}, 256, []int{256, 1, 28, 28}},
		{"lenet", "adam", models.Options{}, 512, []int{512, 1, 28, 28}},
	} {
		t.Run(c.model+"/"+c.method, func(t *testing.T) {
			m, err := models.Build(c.model, c.options)
			if err != nil {
				t.Fatal(err)
			}
			rec, _ := method.Lookup(c.method)
			r, err := passes.Instrument(m, rec, pass.Options{Batch: c.batch}, "")
			if err != nil {
				t.Fatal(err)
			}
			before := heap()
			need, err := asdl.PredictMemory(r.Step, map[string]int64{"N": c.batch}, asdl.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			if left := heap() - before; left > need.Total()/100+1<<20 {
				t.Errorf("the prediction leaves %d bytes behind", left)
			}
			before = heap()
			s, err := asdl.NewSession(r.Step, asdl.Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if err := s.LoadInit(r.Init); err != nil {
				t.Fatal(err)
			}
			input := r.Step.Graph.Inputs()[0].Name
			for name, x := range map[string]*kernel.Tensor{input: kernel.New(graph.Float32, c.shape...), "target": kernel.New(graph.Int64, int(c.batch))} {
				if err := s.Bind(name, x); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := s.Step(); err != nil {
					t.Fatal(err)
				}
			}
			took := heap() - before
			taken := s.Memory()
			if taken.Arena != need.Arena || taken.States != need.States || taken.Constants != need.Constants || taken.Inputs != need.Inputs {
				t.Errorf("the session has taken %+v, predicted were %+v", taken, need)
			}
			if got, want := s.PeakBytes(), need.Arena+need.States+need.Constants; got != want {
				t.Errorf("the session counts %d bytes, predicted were %d", got, want)
			}
			need.Heap = 0 // is no part of what is alive
			t.Logf("%+v predicted, %d in all; the heap grew by %d (%.2f)", need, need.Total(), took, float64(took)/float64(need.Total()))
			if d := float64(took - need.Total()); d > 0.05*float64(need.Total()) || d < -0.05*float64(need.Total()) {
				t.Errorf("the heap grew by %d bytes, predicted were %d", took, need.Total())
			}
			runtime.KeepAlive(m)
		})
	}
}

func TestPredictMemoryOfUnknownSizes(t *testing.T) {
	m, err := models.Build("mlp", models.Options{Widths: []int{4, 3}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asdl.PredictMemory(m, nil, asdl.Options{}); err == nil || !strings.Contains(err.Error(), "give the size of N") {
		t.Errorf("no size of N gives %v", err)
	}
}
