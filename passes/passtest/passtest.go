// Package passtest runs models in tests of passes: what a pass rewrites must compute the same as before.
package passtest

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// Parse reads a model in text form and infers its types.
func Parse(t testing.TB, text string) *graph.Model {
	t.Helper()
	m, err := graph.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.InferGraph(m); err != nil && !errors.Is(err, graph.ErrUnsupported) {
		t.Fatal(err)
	}
	return m
}

// Apply runs passes on a copy of m, with verification after each, and checks that types can be inferred from the result
// and that its text is the same when it is done again.
func Apply(t testing.TB, m *graph.Model, o pass.Options, rows ...pass.Pass) (*graph.Model, *pass.Ctx) {
	t.Helper()
	o.Verify = true
	run := func() (*graph.Model, *pass.Ctx) {
		out, c := graph.Clone(m), &pass.Ctx{Options: o}
		if err := pass.RunTable(c, out, rows); err != nil {
			t.Fatalf("%v\n%s", err, graph.Print(m))
		}
		return out, c
	}
	out, c := run()
	if again, _ := run(); graph.Print(again) != graph.Print(out) {
		t.Errorf("two runs differ:\n%s\n%s", graph.Print(out), graph.Print(again))
	}
	if err := op.InferGraph(graph.Clone(out)); err != nil {
		t.Errorf("types of the result: %v\n%s", err, graph.Print(out))
	}
	return out, c
}

// Golden fails unless got is the model of the text want, up to layout.
func Golden(t testing.TB, got *graph.Model, want string) {
	t.Helper()
	w, err := graph.Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := graph.PrintGraph(got.Graph), graph.PrintGraph(w.Graph); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// Untag is a copy of m without the tags that return their first input, which runtimes do not know. Parameters become
// plain initializers again.
func Untag(m *graph.Model) *graph.Model {
	m = graph.Clone(m)
	for n := range m.Graph.All() {
		if n.IsTag() {
			pass.Replace(n.Out(0), n.In(0))
			n.Remove()
		}
	}
	return m
}

// Feeds makes random inputs for m: standard normals, small non-negative integers below 3, bools. sym gives the sizes
// of symbolic dimensions.
func Feeds(t testing.TB, m *graph.Model, seed uint64, sym map[string]int64) map[string]*kernel.Tensor {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	feeds := map[string]*kernel.Tensor{}
	for _, in := range m.Graph.Inputs() {
		if in.Const() != nil {
			continue
		}
		shape := make([]int, len(in.Type.Dims))
		for i, d := range in.Type.Dims {
			n, ok := d.Size()
			if !ok {
				n, ok = sym[d.String()]
			}
			if !ok {
				t.Fatalf("input %s: no size for dimension %s", in, d)
			}
			shape[i] = int(n)
		}
		x := kernel.New(in.Type.Elem, shape...)
		for i := range x.Len() {
			switch in.Type.Elem {
			case graph.Float32:
				kernel.Data[float32](x)[i] = float32(rng.NormFloat64())
			case graph.Float64:
				kernel.Data[float64](x)[i] = rng.NormFloat64()
			case graph.Int64:
				kernel.Data[int64](x)[i] = rng.Int64N(3)
			case graph.Bool:
				kernel.Data[bool](x)[i] = rng.IntN(2) == 1
			default:
				t.Fatalf("input %s has type %s", in, in.Type)
			}
		}
		feeds[in.Name] = x
	}
	return feeds
}

// lowered makes m, without its tags, executable.
func lowered(m *graph.Model) (*lower.Program, error) {
	r, err := kernel.NewRegistry(kernel.Portable()...)
	if err != nil {
		return nil, err
	}
	return lower.Lower(Untag(m), r, nil)
}

// Runs reports whether there are kernels for all operators of m.
func Runs(m *graph.Model) bool {
	_, err := lowered(m)
	return !errors.Is(err, graph.ErrUnsupported)
}

// Eval runs m, without its tags, and returns the outputs.
func Eval(t testing.TB, m *graph.Model, feeds map[string]*kernel.Tensor) map[string]*kernel.Tensor {
	t.Helper()
	p, err := lowered(m)
	if err != nil {
		t.Fatalf("%v\n%s", err, graph.Print(m))
	}
	var in []*kernel.Tensor
	for _, v := range m.Graph.Inputs() {
		x := feeds[v.Name]
		if x == nil && v.Const() != nil {
			x = kernel.FromConst(v.Const())
		}
		if x == nil {
			t.Fatalf("no feed for input %s", v)
		}
		in = append(in, x)
	}
	results, err := p.Run(in)
	if err != nil {
		t.Fatalf("%v\n%s", err, graph.Print(m))
	}
	out := map[string]*kernel.Tensor{}
	for i, name := range p.Main.OutputNames {
		out[name] = results[i]
	}
	return out
}

// Same fails unless the outputs of want are outputs of got with the same shape and equal values up to tol, relative
// to the largest of each.
func Same(t testing.TB, want, got map[string]*kernel.Tensor, tol float64) {
	t.Helper()
	for name, w := range want {
		g := got[name]
		if g == nil {
			t.Errorf("output %s is missing", name)
			continue
		}
		if g.String() != w.String() {
			t.Errorf("output %s is %s, want %s", name, g, w)
			continue
		}
		x, y := Floats(w), Floats(g)
		scale, worst := 0.0, 0.0
		for i := range x {
			scale = max(scale, math.Abs(x[i]))
			if d := math.Abs(x[i] - y[i]); d > worst || math.IsNaN(d) {
				worst = d
			}
		}
		if worst > tol*max(scale, 1e-30) || math.IsNaN(worst) {
			t.Errorf("output %s differs by %g of %g:\nwant %v\n got %v", name, worst, scale, head(x), head(y))
		}
	}
}

func head(x []float64) []float64 { return x[:min(len(x), 12)] }

// Floats are the elements of a tensor of numbers or bools.
func Floats(x *kernel.Tensor) []float64 {
	c := x.Const()
	if f, ok := c.Float64s(); ok {
		return f
	}
	ints, _ := c.Int64s()
	out := make([]float64, len(ints))
	for i, n := range ints {
		out[i] = float64(n)
	}
	return out
}

// Read reads a model file.
func Read(t testing.TB, path string) *graph.Model {
	t.Helper()
	m, err := onnx.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
