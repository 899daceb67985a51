package runtime

import (
	"fmt"
	"math"
	"runtime"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Memory is what a model needs to run with certain input shapes, in bytes. Program and Heap are 0 where it is counted and
// not predicted.
type Memory struct {
	Arena     int64 `json:"arena"`     // activations, gradients and scratch, at their peak
	States    int64 `json:"states"`    // of a step graph: parameters, buffers, optimiser and curvature state
	Constants int64 `json:"constants"` // in the model
	Inputs    int64 `json:"inputs"`    // the batch and scalars, which the caller holds
	Program   int64 `json:"program"`   // the graph as it was lowered, and the tables of its plan and kernels
	Heap      int64 `json:"heap"`      // around the program, see heapAround
}

// Total is all of it.
func (m Memory) Total() int64 {
	return m.Arena + m.States + m.Constants + m.Inputs + m.Program + m.Heap
}

// heapAround estimates what a program of so many bytes keeps of Go's heap beside itself. Compiling leaves its many small
// objects scattered, on pages that others were on, which are not given back, and Go has tables of those: about as much again,
// as measured from a multilayer perceptron's SGD (0.3 MiB of program) to ResNet-18's K-FAC (7 MiB), and a little once.
func heapAround(program int64) int64 { return program + 200<<10 }

// PredictMemory plans m for inputs in which the symbolic dimensions have the given sizes. Nothing is run, and the memory is
// not taken: the tensors that stand for inputs and states are never touched. Options.MemoryLimit is not looked at. The plan is
// made in truth, and weighed on the Go heap: what else the program allocates meanwhile is taken for its tables.
func PredictMemory(m *graph.Model, sizes map[string]int64, opts Options) (Memory, error) {
	opts.MemoryLimit = math.MaxInt64
	before := heapInUse()
	s, err := NewSession(m, opts)
	if err != nil {
		return Memory{}, err
	}
	defer func() { _ = s.Close() }()
	program := heapInUse() - before
	need, err := s.predict(sizes)
	need.Program = max(0, need.Program+program)
	need.Heap = heapAround(need.Program)
	return need, located(m, err)
}

func (s *Session) predict(sizes map[string]int64) (need Memory, err error) {
	defer recoverBug(&err)
	for _, in := range s.inputs {
		if in.bound != nil {
			continue
		}
		shape := make([]int, in.Type.Rank())
		for i, d := range in.Type.Dims {
			n, ok := d.At(sizes)
			if !ok {
				return need, fmt.Errorf("%w: input %q of type %s: give the size of %s", ErrFeed, in.Name, in.Type, d)
			}
			shape[i] = int(n)
		}
		if _, err := graph.CountOf(wide(shape), in.Type.Elem.Size()); err != nil {
			return need, err
		}
		t := kernel.New(in.Type.Elem, shape...)
		s.vm.Bind(in.index, t)
		if in.state < 0 {
			need.Inputs += int64(len(t.Raw))
		}
	}
	before := heapInUse()
	planned, done, err := s.vm.Predict()
	need.Program = heapInUse() - before
	done()
	need.Arena, need.States, need.Constants = planned.Arena, planned.States, planned.Constants
	return need, err
}

// heapInUse is what the Go heap holds, garbage collected.
func heapInUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Memory counts what the session has taken for its current plan: the arena, its states, the model's constants and the bound
// inputs. Before the first step there is no plan, and no arena.
func (s *Session) Memory() Memory {
	taken := s.vm.Taken()
	m := Memory{Arena: taken.Arena, States: taken.States, Constants: taken.Constants}
	for _, in := range s.inputs {
		if in.state < 0 && in.bound != nil {
			m.Inputs += int64(len(in.bound.Raw))
		}
	}
	return m
}

func wide(shape []int) []int64 {
	out := make([]int64, len(shape))
	for i, n := range shape {
		out[i] = int64(n)
	}
	return out
}
