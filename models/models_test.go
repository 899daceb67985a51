package models_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func build(t *testing.T, name string, o models.Options) *graph.Model {
	t.Helper()
	m, err := models.Build(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// isBuffer tells running statistics from parameters.
func isBuffer(name string) bool { return strings.Contains(name, ".running_") }

// Counts are those of the same networks in PyTorch: sum(p.numel() for p in model.parameters()).
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		name       string
		o          models.Options
		parameters int
		buffers    int
	}{
		{"mlp", models.Options{}, 669706, 0},
		{"mlp", models.Options{Widths: []int{4, 3, 2}}, 4*3 + 3 + 3*2 + 2, 0},
		{"mlp", models.Options{Classes: 7}, 668167, 0},
		{"lenet", models.Options{}, 61706, 0},
		{"resnet18", models.Options{}, 11173962, 9600},
		{"resnet18", models.Options{Classes: 100}, 11220132, 9600},
		{"resnet18", models.Options{ImageNet: true}, 11689512, 9600},
	} {
		got, buffers := 0, 0
		for _, v := range build(t, c.name, c.o).Graph.Initializers() {
			if isBuffer(v.Name) {
				buffers += v.Const().Len()
			} else {
				got += v.Const().Len()
			}
		}
		if got != c.parameters || buffers != c.buffers {
			t.Errorf("%s %+v: %d parameters and %d buffers, want %d and %d", c.name, c.o, got, buffers, c.parameters, c.buffers)
		}
	}
}

// Names are unique and the types that the builders declare are those that inference finds.
func TestGraphs(t *testing.T) {
	for _, m := range models.All() {
		t.Run(m.Name, func(t *testing.T) {
			declared := build(t, m.Name, models.Options{})
			if err := graph.Verify(declared); err != nil {
				t.Error(err)
			}
			nodes := map[string]bool{}
			for n := range declared.Graph.Nodes() {
				if nodes[n.Name] {
					t.Errorf("two nodes named %s: onnxruntime refuses the file", n.Name)
				}
				nodes[n.Name] = true
			}
			bare := build(t, m.Name, models.Options{})
			for n := range bare.Graph.Nodes() {
				n.Out(0).Type = graph.Type{}
			}
			if err := op.InferGraph(bare); err != nil {
				t.Fatal(err)
			}
			other := bare.Graph.First()
			for n := range declared.Graph.Nodes() {
				if got, want := n.Out(0).Type, other.Out(0).Type; !got.Equal(want) {
					t.Errorf("%s: declared %s, inferred %s", n, got, want)
				}
				other = other.Next()
			}
			out := declared.Graph.Outputs()[0]
			if out.Name != "logits" || out.Type.String() != "float[N,10]" {
				t.Errorf("output %s of type %s", out, out.Type)
			}
		})
	}
}

// Weights and biases are uniform between ±1/sqrt(fan-in): the mean is 0, the variance bound²/3, and the extremes come
// close to the bound.
func TestInitialDistribution(t *testing.T) {
	m := build(t, "lenet", models.Options{Seed: 3})
	fanIn := map[string]float64{"conv1": 25, "conv2": 150, "fc1": 400, "fc2": 120, "fc3": 84}
	for _, v := range m.Graph.Initializers() {
		layer, _, _ := strings.Cut(v.Name, ".")
		bound := 1 / math.Sqrt(fanIn[layer])
		data, _ := v.Const().Float64s()
		n := float64(len(data))
		var sum, squares, largest float64
		for _, x := range data {
			sum += x
			squares += x * x
			largest = max(largest, math.Abs(x))
		}
		if largest > bound {
			t.Errorf("%s: %g is outside of ±%g", v.Name, largest, bound)
		}
		if n < 100 {
			continue // too few for the statistics
		}
		if largest < 0.9*bound {
			t.Errorf("%s: largest of %g numbers is %g, of the bound %g", v.Name, n, largest, bound)
		}
		// Five standard deviations: of the mean bound/sqrt(3n), of the mean square bound² sqrt(4/45/n).
		if mean := sum / n; math.Abs(mean) > 5*bound/math.Sqrt(3*n) {
			t.Errorf("%s: mean %g", v.Name, mean)
		}
		if got, want := squares/n, bound*bound/3; math.Abs(got-want) > 5*bound*bound*math.Sqrt(4.0/45/n) {
			t.Errorf("%s: mean square %g, want %g", v.Name, got, want)
		}
	}
}

func TestBatchNormStartsAsIdentity(t *testing.T) {
	start := map[string]float32{"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
	seen := 0
	for n := range build(t, "resnet18", models.Options{}).Graph.Nodes() {
		if n.Op != "BatchNormalization" {
			continue
		}
		for _, v := range n.Inputs()[1:] {
			want := start[v.Name[strings.LastIndexByte(v.Name, '.')+1:]]
			for _, x := range graph.Data[float32](v.Const()) {
				if x != want {
					t.Fatalf("%s starts at %g, want %g", v.Name, x, want)
				}
			}
			seen++
		}
	}
	if seen != 20*4 {
		t.Errorf("%d parameters and buffers of batch normalisation, want 80", seen)
	}
}

func TestSeed(t *testing.T) {
	encode := func(seed uint64) string {
		data, err := onnx.Encode(build(t, "lenet", models.Options{Seed: seed}))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := encode(1)
	if encode(1) != first {
		t.Error("the same seed gives different bytes")
	}
	if encode(2) == first {
		t.Error("different seeds give the same bytes")
	}
	m := build(t, "mlp", models.Options{Widths: []int{5, 5, 5}})
	a, b := m.Graph.Find("fc1.weight").Const(), m.Graph.Find("fc2.weight").Const()
	if a.Equal(b) {
		t.Error("two layers of one shape start with equal weights")
	}
}

// TestMLPForward compares the graph with fc1, ReLU, fc2 written out.
func TestMLPForward(t *testing.T) {
	const in, hidden, classes, rows = 5, 4, 3, 2
	m := build(t, "mlp", models.Options{Widths: []int{in, hidden, classes}, Seed: 9})
	x := make([]float32, rows*in)
	for i := range x {
		x[i] = float32(math.Sin(float64(3*i + 1)))
	}
	param := func(name string) []float64 {
		data, _ := m.Graph.Find(name).Const().Float64s()
		return data
	}
	layer := func(x []float64, w, b []float64) []float64 {
		k := len(w) / len(b)
		y := make([]float64, len(b))
		for o := range b {
			y[o] = b[o]
			for i := range k {
				y[o] += w[o*k+i] * x[i]
			}
		}
		return y
	}
	s, err := runtime.NewSession(m, runtime.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	outs, err := s.Run(map[string]*kernel.Tensor{"input": kernel.Of(x, rows, in)}, []string{"logits"})
	if err != nil {
		t.Fatal(err)
	}
	got := kernel.Data[float32](outs["logits"])
	for r := range rows {
		row := make([]float64, in)
		for i := range row {
			row[i] = float64(x[r*in+i])
		}
		h := layer(row, param("fc1.weight"), param("fc1.bias"))
		for i := range h {
			h[i] = max(h[i], 0)
		}
		for c, want := range layer(h, param("fc2.weight"), param("fc2.bias")) {
			if g := float64(got[r*classes+c]); math.Abs(g-want) > 1e-6 {
				t.Errorf("row %d, class %d: %g, want %g", r, c, g, want)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	if _, err := models.Build("vgg", models.Options{}); err == nil || !strings.Contains(err.Error(), "one of mlp, lenet, resnet18") {
		t.Errorf("vgg: %v", err)
	}
	for _, c := range []struct {
		name string
		o    models.Options
		want string
	}{
		{"mlp", models.Options{Widths: []int{3}}, "input and output"},
		{"mlp", models.Options{Widths: []int{3, 0}}, "width 0"},
		{"mlp", models.Options{Widths: []int{3, 2}, Classes: 4}, "one of them"},
		{"mlp", models.Options{Widths: []int{1 << 20, 1 << 20}}, "parameters"},
		{"mlp", models.Options{ImageNet: true}, "widths, classes"},
		{"lenet", models.Options{Widths: []int{3, 4}}, "it left out"},
		{"lenet", models.Options{Classes: -1}, "classes -1"},
	} {
		_, err := models.Build(c.name, c.o)
		var option *models.OptionError
		if !errors.As(err, &option) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want an OptionError with %q", c.name, c.o, err, c.want)
		}
	}
}
