package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/data"
)

const (
	testBatch  = 16 // examples a step
	testLength = 6  // of token sequences whose length a model leaves open
)

// stepFile is a step graph, what its metadata says, and for how many steps a test runs it.
type stepFile struct {
	inputs []struct {
		Name, Role, Type string
		Classes          int64
	}
	outputs []struct{ Name, Role string }
	state   []struct{ In, Out, Kind, Of string }
	model   *graph.Model
	steps   int
	batch   int // examples a step
}

func readStepFile(t *testing.T, path string, steps int) *stepFile {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return stepOf(t, m, steps)
}

func stepOf(t *testing.T, m *graph.Model, steps int) *stepFile {
	t.Helper()
	s := &stepFile{model: m, steps: steps, batch: testBatch}
	for key, into := range map[string]any{"asdl.inputs": &s.inputs, "asdl.outputs": &s.outputs, "asdl.state": &s.state} {
		if err := json.Unmarshal([]byte(m.Metadata[key]), into); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	return s
}

// at is the name of an array for step k alone.
func at(name string, k int) string { return fmt.Sprintf("%s@%d", name, k) }

// withStates is feeds with the state that a run had before each step but the first.
func (s *stepFile) withStates(feeds, run map[string]*data.Array) map[string]*data.Array {
	out := maps.Clone(feeds)
	for _, e := range s.state {
		for k := 1; k < s.steps; k++ {
			if a := run[at(e.Out, k-1)]; a != nil {
				out[at(e.In, k)] = a
			}
		}
	}
	return out
}

// feeds makes a batch and noise for every step, the learning rate and a seed.
func (s *stepFile) feeds(lr float32) map[string]*data.Array {
	rng := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]*data.Array{}
	classes := int64(10)
	for _, in := range s.inputs {
		if in.Classes > 0 {
			classes = in.Classes
		}
	}
	for _, in := range s.inputs {
		v := s.model.Graph.Find(in.Name)
		switch in.Role {
		case "model", "target", "noise":
			for k := range s.steps {
				feeds[at(in.Name, k)] = s.random(rng, v.Type, integersOf(v, classes))
			}
		case "seed":
			feeds[in.Name] = &data.Array{Data: []int64{7}}
		case "hyper":
			if in.Name == "lr" {
				feeds[in.Name] = &data.Array{Data: []float32{lr}}
			}
		}
	}
	return feeds
}

// integersOf is how many integers an input can be: rows of the table that it looks up, or the number of classes.
func integersOf(v *graph.Value, classes int64) int64 {
	for _, u := range v.Uses() {
		if u.Node.Op == "Gather" && u.Index == 1 {
			if rows, ok := u.Node.In(0).Type.Dims[u.Node.Int("axis", 0)].Size(); ok {
				return rows
			}
		}
	}
	return classes
}

// random draws standard normals, or integers below a number. Sizes that are not known are the batch, or the length T.
func (s *stepFile) random(rng *rand.Rand, typ graph.Type, below int64) *data.Array {
	a := &data.Array{}
	n := 1
	for _, d := range typ.Dims {
		size, ok := d.Size()
		switch {
		case ok:
		case d.String() == "T":
			size = testLength
		default:
			size = int64(s.batch)
		}
		a.Shape = append(a.Shape, int(size))
		n *= int(size)
	}
	if typ.Elem == graph.Int64 {
		labels := make([]int64, n)
		for i := range labels {
			labels[i] = rng.Int64N(below)
		}
		a.Data = labels
		return a
	}
	normals := make([]float32, n)
	for i := range normals {
		normals[i] = float32(rng.NormFloat64())
	}
	a.Data = normals
	return a
}
