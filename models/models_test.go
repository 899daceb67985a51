package models_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
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

// The numbers of the table are what the networks have, and those of others: sizes that the table does not name are those
// of torchvision (resnet), of timm (vit, mixer; the small images by the same modules), of Hugging Face (gpt2, bert), and
// of the interop suite's PyTorch modules.
func TestParameterCounts(t *testing.T) {
	type count struct {
		name string
		o    models.Options
		want int64
	}
	counts := []count{
		{"mlp", models.Options{Widths: []int{4, 3, 2}}, 4*3 + 3 + 3*2 + 2},
		{"mlp", models.Options{Classes: 7}, 668167},
		{"resnet18", models.Options{Classes: 100}, 11220132},
		{"resnet18", models.Options{ImageNet: true, Classes: 10}, 11181642},
		{"wideresnet", models.Options{Depth: 16, Widen: 4}, 2748890},
		{"wideresnet", models.Options{Classes: 100}, 36536884},
		{"vit-tiny", models.Options{ImageNet: true, Width: 384, Heads: 6}, 22050664}, // DeiT's small size
		{"vit-tiny", models.Options{ImageNet: true, Width: 768, Heads: 12}, 86567656},
		{"mixer-small", models.Options{ImageNet: true, Patch: 32}, 19104624},
		{"gpt2", models.Options{Width: 1024, Depth: 24, Heads: 16}, 354823168},
		{"bert-tiny", models.Options{Width: 768, Depth: 12, Heads: 12}, 109483778},
	}
	for _, m := range models.All() {
		counts = append(counts, count{m.Name, models.Options{}, m.Parameters})
		if m.ImageNet != 0 {
			counts = append(counts, count{m.Name, models.Options{ImageNet: true}, m.ImageNet})
		}
	}
	for _, c := range counts {
		if got, err := models.Count(c.name, c.o); err != nil || got != c.want {
			t.Errorf("%s %+v: %d parameters (%v), want %d", c.name, c.o, got, err, c.want)
		}
	}
}

// A skeleton has the nodes and types of the network, and its parameters are those that are counted.
func TestSkeleton(t *testing.T) {
	for _, c := range small {
		t.Run(c.name, func(t *testing.T) {
			whole := build(t, c.name, c.o)
			bare, err := models.Skeleton(c.name, c.o)
			if err != nil {
				t.Fatal(err)
			}
			parameters := 0
			for _, v := range slices.Clone(whole.Graph.Initializers()) {
				if !isBuffer(v.Name) {
					parameters += v.Const().Len()
				}
				whole.Graph.MakeInput(v)
			}
			graphtest.Same(t, bare, whole)
			if count, err := models.Count(c.name, c.o); err != nil || count != int64(parameters) {
				t.Errorf("Count is %d (%v), the network has %d parameters", count, err, parameters)
			}
		})
	}
}

// sized is a network and its size.
type sized struct {
	name string
	o    models.Options
}

// small are sizes of the networks that cost nothing.
var small = []sized{
	{"mlp", models.Options{Widths: []int{6, 5, 3}}},
	{"lenet", models.Options{}},
	{"resnet18", models.Options{Width: 4, Image: 8}},
	{"resnet50", models.Options{Width: 2, Image: 8}},
	{"wideresnet", models.Options{Depth: 10, Widen: 2, Image: 8}},
	{"vit-tiny", models.Options{Width: 24, Depth: 2, Image: 8}},
	{"mixer-base", models.Options{Width: 16, Depth: 2, Image: 8}},
	{"mixer-small", models.Options{Width: 16, Depth: 1, Image: 8}},
	{"gpt2", models.Options{Width: 24, Depth: 2, Vocab: 11, Context: 8}},
	{"gpt-nano", models.Options{}},
	{"bert-tiny", models.Options{Width: 16, Vocab: 11, Context: 8}},
}

// Names are unique and the types that the builders declare are those that inference finds.
func TestGraphs(t *testing.T) {
	for _, m := range models.All() {
		for _, imagenet := range []bool{false, true} {
			if imagenet && m.ImageNet == 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s/imagenet=%v", m.Name, imagenet), func(t *testing.T) {
				checkGraph(t, m, models.Options{ImageNet: imagenet})
			})
		}
	}
}

func checkGraph(t *testing.T, m models.Model, o models.Options) {
	declared, err := models.Skeleton(m.Name, o)
	if err != nil {
		t.Fatal(err)
	}
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
	bare := graph.Clone(declared)
	for n := range bare.Graph.Nodes() {
		for _, v := range n.Outputs() {
			v.Type = graph.Type{}
		}
	}
	if err := op.InferGraph(bare); err != nil {
		t.Fatal(err)
	}
	other := bare.Graph.First()
	for n := range declared.Graph.Nodes() {
		for i, v := range n.Outputs() {
			if got, want := v.Type, other.Out(i).Type; !got.Equal(want) {
				t.Errorf("%s: declared %s, inferred %s", n, got, want)
			}
		}
		other = other.Next()
	}
	want := map[string]string{"gpt2": "float[N,T,50257]", "gpt-nano": "float[N,T,256]", "bert-tiny": "float[N,2]"}[m.Name]
	switch {
	case o.ImageNet:
		want = "float[N,1000]"
	case want == "":
		want = "float[N,10]"
	}
	if out := declared.Graph.Outputs()[0]; out.Name != "logits" || out.Type.String() != want {
		t.Errorf("output %s of type %s, want %s", out, out.Type, want)
	}
	if in := declared.Graph.Inputs()[0]; !o.ImageNet && !strings.HasPrefix(m.Input, in.Type.String()) {
		t.Errorf("input %s of type %s, the table says %s", in, in.Type, m.Input)
	}
}

func TestSeed(t *testing.T) {
	encode := func(name string, o models.Options) string {
		data, err := onnx.Encode(build(t, name, o))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, c := range small {
		o := c.o
		o.Seed = 1
		first := encode(c.name, o)
		if encode(c.name, o) != first {
			t.Errorf("%s: the same seed gives different bytes", c.name)
		}
		o.Seed = 2
		if encode(c.name, o) == first {
			t.Errorf("%s: different seeds give the same bytes", c.name)
		}
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
	if _, err := models.Build("vgg", models.Options{}); err == nil || !strings.Contains(err.Error(), "one of mlp, lenet, resnet18, resnet50") {
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
		{"mlp", models.Options{Width: 5}, "it left out"},
		{"wideresnet", models.Options{Widen: 1 << 20}, "at most 1073741824 parameters"},
		{"wideresnet", models.Options{Depth: 18}, "four more than a multiple of six"},
		{"vit-tiny", models.Options{Width: 100}, "option heads 3: want a divisor of the width 100"},
		{"vit-tiny", models.Options{Image: 30}, "option patch 4: want a divisor of the size 30"},
		{"vit-tiny", models.Options{Image: 1 << 20, Patch: 1}, "parameters"},
		{"mixer-base", models.Options{Width: 15}, "even"},
		{"mixer-base", models.Options{Heads: 3}, "it left out"},
		{"gpt2", models.Options{Depth: 2000}, "1 to 1024"},
		{"gpt2", models.Options{ImageNet: true}, "it left out"},
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
