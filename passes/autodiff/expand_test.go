package autodiff_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/autodiff"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// parsed is a model with requests, typed.
func parsed(t testing.TB, text string) *graph.Model {
	t.Helper()
	m := graphtest.MustParse(t, "<ir_version: 10, opset_import: [\"\" : 17, \"asdl\" : 1, \"my\" : 1]>\n"+text)
	if err := op.InferGraph(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// expanded expands the requests of a model and checks the invariants.
func expanded(t testing.TB, text string) (*graph.Model, *pass.Report) {
	t.Helper()
	m, report := parsed(t, text), &pass.Report{}
	if err := autodiff.Expand(&pass.Ctx{Report: report}, m); err != nil {
		t.Fatal(err)
	}
	graphtest.MustVerify(t, m)
	for n := range m.Graph.All() {
		if n.Is(graph.Asdl, graph.TagGradient) || n.Is(graph.Asdl, graph.TagTangent) {
			t.Errorf("%s is still there", n)
		}
	}
	return m, report
}

// outputs expands and evaluates a model, and lists its outputs.
func outputs(t testing.TB, text string, feeds map[string]*kernel.Tensor) [][]float64 {
	t.Helper()
	m, _ := expanded(t, text)
	byName := evaluate(t, m, feeds)
	var out [][]float64
	for _, o := range m.Graph.Outputs() {
		out = append(out, kernel.Data[float64](byName[o.Name]))
	}
	return out
}

func vector(v ...float64) *kernel.Tensor { return kernel.Of(v, len(v)) }

func TestRequests(t *testing.T) {
	x := map[string]*kernel.Tensor{"x": vector(0.5, -1.5)}
	for _, c := range []struct {
		name, text string
		want       [][]float64
	}{
		{"seed", `f (double[2] x) => (dx) <double[2] s = {3, 4}> {
			y = Mul(x, x)  dx = asdl.Gradient <ys: int = 1> (y, s, x) }`, [][]float64{{3, -12}}},
		{"missing seed is ones", `f (double[2] x) => (dx) {
			y = Mul(x, x)  dx = asdl.Gradient <ys: int = 1> (y, , x) }`, [][]float64{{1, -3}}},
		{"two ys", `f (double[2] x) => (dx) <double[2] s = {3, 4}> {
			y = Mul(x, x)  z = Neg(x)  dx = asdl.Gradient <ys: int = 2> (y, z, , s, x) }`, [][]float64{{-2, -7}}},
		{
			"an x behind an x", `f (double[2] x) => (dh, dx) {
			h = Mul(x, x)  y = Mul(h, x)  dh, dx = asdl.Gradient <ys: int = 1> (y, , h, x) }`,
			[][]float64{{0.5, -1.5}, {0.75, 6.75}},
		},
		{"y is x", `f (double[2] x) => (dx) { dx = asdl.Gradient <ys: int = 1> (x, , x) }`, [][]float64{{1, 1}}},
		{"no path", `f (double[2] x) => (dx) <double[2] k = {1, 2}> {
			y = Exp(k)  dx = asdl.Gradient <ys: int = 1> (y, , x) }`, [][]float64{{0, 0}}},
		{"path without derivative", `f (double[2] x) => (dx) {
			y = Floor(x)  i = Cast <to: int = 7> (x)  z = Cast <to: int = 11> (i)  w = Add(y, z)
			dx = asdl.Gradient <ys: int = 1> (w, , x) }`, [][]float64{{0, 0}}},
		{"tangent", `f (double[2] x) => (dy) <double[2] s = {3, 4}> {
			y = Mul(x, x)  dy = asdl.Tangent <ys: int = 1> (y, s, x) }`, [][]float64{{3, -12}}},
		{"tangent of an x behind an x", `f (double[2] x) => (dy) <double[2] s = {3, 4}, double[2] u = {1, 1}> {
			h = Mul(x, x)  y = Mul(h, h)  dy = asdl.Tangent <ys: int = 1> (y, u, s, h, x) }`, [][]float64{{2, -49.5}}},
		{"no tangent", `f (double[2] x) => (dy) <double[2] k = {1, 2}> {
			y = Exp(k)  dy = asdl.Tangent <ys: int = 1> (y, x, x) }`, [][]float64{{0, 0}}},
		{"Hessian-vector product", `f (double[2] x) => (hv) <double[2] v = {1, 2}> {
			a = Mul(x, x)  b = Mul(a, x)  y = ReduceSum <keepdims: int = 0> (b)
			g = asdl.Gradient <ys: int = 1> (y, , x)
			hv = asdl.Tangent <ys: int = 1> (g, v, x) }`, [][]float64{{3, -18}}},
		{"third derivative", `f (double[2] x) => (d) {
			a = Mul(x, x)  b = Mul(a, a)
			g = asdl.Gradient <ys: int = 1> (b, , x)
			h = asdl.Gradient <ys: int = 1> (g, , x)
			d = asdl.Gradient <ys: int = 1> (h, , x) }`, [][]float64{{12, -36}}},
		{"one output of two", `f (double[2] x) => (dk) <double[2] k = {1, 2}> {
			y = Mul(x, k)  , dk = asdl.Gradient <ys: int = 1> (y, , x, k) }`, [][]float64{{0.5, -1.5}}},
		{"in a branch, of outer values", `f (double[2] x) => (d) <bool k = {1}> {
			y = Mul(x, x)
			d = If (k) < then_branch = yes () => (a) { a = asdl.Gradient <ys: int = 1> (y, , x) },
				else_branch = no () => (b) { b = Neg(x) }> }`, [][]float64{{1, -3}}},
		{"in a loop: descent on sum x^2 with rate 1/4", `f (double[2] x) => (w) <int64 n = {3}, double r = {0.25}> {
			w = Loop (n, , x) < body = step (int64 i, bool go, double[2] v) => (again, u) {
				again = Identity(go)  y = Mul(v, v)
				g = asdl.Gradient <ys: int = 1> (y, , v)
				s = Mul(g, r)  u = Sub(v, s) }> }`, [][]float64{{0.0625, -0.1875}}},
		{"through a loop with a request", `f (double[2] x) => (d) <int64 n = {3}, double r = {0.25}> {
			w = Loop (n, , x) < body = step (int64 i, bool go, double[2] v) => (again, u) {
				again = Identity(go)  y = Mul(v, v)
				g = asdl.Gradient <ys: int = 1> (y, , v)
				s = Mul(g, r)  u = Sub(v, s) }>
			d = asdl.Gradient <ys: int = 1> (w, , x) }`, [][]float64{{0.125, 0.125}}},
		{"tangent of a growing state", `f (double[2] x) => (dy) <int64 n = {1}> {
			y = Loop (n, , x) < body = step (int64 i, bool go, double[k] v) => (again, w) {
				again = Identity(go)  u = Mul(v, v)  w = Concat <axis: int = 0> (v, u) }>
			dy = asdl.Tangent <ys: int = 1> (y, x, x) }`, [][]float64{{0.5, -1.5, 0.5, 4.5}}},
		{"tags", `f (double[2] x) => (dx) {
			p = asdl.Layer <name: string = "l", kind: string = "scale"> (x)  y = Mul(p, p)  z = asdl.Loss (y)
			dx = asdl.Gradient <ys: int = 1> (z, , x) }`, [][]float64{{1, -3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, got := range outputs(t, c.text, x) {
				compare(t, "output", got, c.want[i], 1e-12)
			}
		})
	}
}

func TestFunctionsAreDifferentiatedThroughTheirBodies(t *testing.T) {
	text := `f (double[2] x) => (dx) {
		y = my.Power <bias: float = 0.5> (x)  dx = asdl.Gradient <ys: int = 1> (y, , x) }
	<domain: "my", opset_import: ["" : 17]>
	Power <bias> (x) => (y) { b = Constant <value_float: float = @bias> ()  c = CastLike(b, x)  a = Add(x, c)  y = Mul(a, a) }`
	got := outputs(t, text, map[string]*kernel.Tensor{"x": vector(0.5, -1.5)})
	compare(t, "dx", got[0], []float64{2, -2}, 1e-12)
}

func TestUnreachedParameterIsNamed(t *testing.T) {
	m, report := expanded(t, `f (double[2] x) => (dw, dv) <double[2] w = {1, 2}, double[3] v = {1, 2, 3}> {
		p = asdl.Param <kind: string = "param"> (w)  q = asdl.Param <kind: string = "param"> (v)
		y = Mul(x, p)  dw, dv = asdl.Gradient <ys: int = 1> (y, , p, q) }`)
	if len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "parameter v ") {
		t.Errorf("notes are %q", report.Notes)
	}
	if got := evaluate(t, m, map[string]*kernel.Tensor{"x": vector(1, 2)}); len(got) != 2 {
		t.Errorf("%d outputs", len(got))
	}
}

func TestUnsupportedNodesAreListedAtOnce(t *testing.T) {
	// Scatter has no rule: normalize writes it as ScatterElements.
	m := parsed(t, `f (double[2] x) => (dx) <int64[1] i = {1}, double[1] u = {7}, double[2] k = {1, 2}> {
		[first] a = Scatter(x, i, u)  [second] b = Scatter(x, i, u)  [aside] c = Scatter(k, i, u)  s = Add(a, b)  y = Add(s, c)
		dx = asdl.Gradient <ys: int = 1> (y, , x) }`)
	err := autodiff.Expand(&pass.Ctx{Report: &pass.Report{}}, m)
	if !errors.Is(err, graph.ErrUnsupported) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{"first", "second", "opset 17"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "aside") {
		t.Errorf("error names a node off the path: %v", err)
	}
}

func TestRefusedRequests(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"integer", `f (int64[2] x) => (dx) { y = Mul(x, x)  dx = asdl.Gradient <ys: int = 1> (y, , x) }`, "not a floating-point value"},
		{"growing state", `f (double[1] x) => (dx) <int64 n = {2}> {
			y = Loop (n, , x) < body = step (int64 i, bool go, double[k] v) => (again, w) {
				again = Identity(go)  w = Concat <axis: int = 0> (v, v) }>
			dx = asdl.Gradient <ys: int = 1> (y, , x) }`, "changes its shape"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := graphtest.MustParse(t, "<ir_version: 10, opset_import: [\"\" : 18, \"asdl\" : 1]>\n"+c.text)
			if err := op.InferGraph(m); err != nil {
				t.Fatal(err)
			}
			err := autodiff.Expand(&pass.Ctx{Report: &pass.Report{}}, m)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one that says %q", err, c.want)
			}
		})
	}
}

// TestOnlyWhatIsAskedFor checks that the gradient of a weight does not compute that of the input.
func TestOnlyWhatIsAskedFor(t *testing.T) {
	m, _ := expanded(t, `f (float[N,3,8,8] x, float[4,3,3,3] w) => (dw) {
		y = Conv(x, w)  dw = asdl.Gradient <ys: int = 1> (y, , w) }`)
	for n := range m.Graph.All() {
		if n.Op == "ConvTranspose" {
			t.Errorf("%s computes the gradient of the input", n)
		}
	}
}

// TestSafeAtEdges checks derivatives at points where a formula would give NaN.
func TestSafeAtEdges(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []float64
	}{
		{"0^y", `f (double[2] x) => (dx) <double[2] p = {0, 2}> { y = Pow(x, p)  dx = asdl.Gradient <ys: int = 1> (y, , x) }`, []float64{0, 0}},
		{"log 0 of 0^y", `f (double[2] x) => (dp) <double[2] p = {1, 2}> { y = Pow(x, p)  dp = asdl.Gradient <ys: int = 1> (y, , p) }`, []float64{0, 0}},
		{"norm of 0", `f (double[2] x) => (dx) { y = ReduceL2 <keepdims: int = 0> (x)  dx = asdl.Gradient <ys: int = 1> (y, , x) }`, []float64{0, 0}},
		{"product with zeros", `f (double[2] x) => (dx) <double[2] k = {0, 3}> {
			z = Add(x, k)  y = ReduceProd <keepdims: int = 0> (z)  dx = asdl.Gradient <ys: int = 1> (y, , x) }`, []float64{3, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := outputs(t, c.text, map[string]*kernel.Tensor{"x": vector(0, 0)})[0]
			compare(t, "output", got, c.want, 0)
		})
	}
}

// BenchmarkExpand measures the expansion of the gradient of a chain of 20,000 nodes.
func BenchmarkExpand(b *testing.B) {
	const nodes = 20000
	for b.Loop() {
		b.StopTimer()
		m := graph.NewModel(17)
		m.Opsets[graph.Asdl] = 1
		x := m.Graph.AddInput("x", graph.StaticType(graph.Float32, 4))
		e := op.NewBuilder(m, m.Graph)
		v := x
		for range nodes / 2 {
			v = e.Mul(e.Unary("Tanh", v), x)
		}
		d := e.Tag(graph.TagGradient, []*graph.Value{v, nil, x}, graph.I("ys", 1))
		m.Graph.AddOutput(d)
		if e.Err() != nil {
			b.Fatal(e.Err())
		}
		b.StartTimer()
		if err := autodiff.Expand(&pass.Ctx{Report: &pass.Report{}}, m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(nodes*float64(b.N)/math.Max(b.Elapsed().Seconds(), 1e-9), "nodes/s")
}
