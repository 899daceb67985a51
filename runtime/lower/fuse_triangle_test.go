package lower_test

import (
	"math"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/vm"
)

// Products of matrices that are seen to be triangular are told so, and give what they give where an Abs of positive numbers
// hides it.
func TestFuseTriangles(t *testing.T) {
	for _, tc := range []struct {
		name, a, b string // of a and its twin b
		triangles  string // operands of the products of a, in order
	}{
		{"upper left", "t = Trilu(x) a = MatMul(t, y)", "h = Abs(t) b = MatMul(h, y)", "upper,"},
		{"lower left, transposed", "t = Trilu <upper: int = 0> (x) a = Gemm <transA: int = 1> (t, y)", "h = Abs(t) b = Gemm <transA: int = 1> (h, y)", "upper,"},
		{"right", "t = Trilu <upper: int = 0> (x) u = Transpose <perm: ints = [1, 0]> (y) a = MatMul(u, t)", "h = Abs(t) b = MatMul(u, h)", ",lower"},
		{
			"sums and multiples", "t = Trilu(x) s = Trilu(z) d = Div(s, c) e = Add(t, d) f = Mul(e, c) a = MatMul(f, y)",
			"h = Abs(f) b = MatMul(h, y)", "upper,",
		},
		{
			"products of products", "t = Trilu(x) s = Trilu(z) p = MatMul(t, s) a = MatMul(p, y)",
			"h = Abs(t) k = Abs(s) q = MatMul(h, k) r = Abs(q) b = MatMul(r, y)", "upper,upper upper,",
		},
		{
			"the transpose of one by another", "t = Trilu(x) s = Trilu <upper: int = 0> (z) a = Gemm <transA: int = 1> (t, s)",
			"h = Abs(t) k = Abs(s) b = Gemm <transA: int = 1> (h, k)", "lower,lower",
		},
		{
			"what both branches give", `t = Trilu(x) s = Trilu(z)
				u = If (o) <then_branch: graph = then () => (v) { v = Identity(t) }, else_branch: graph = else () => (w) { w = Add(t, s) }> a = MatMul(u, y)`,
			"h = Abs(u) b = MatMul(h, y)", "upper,",
		},
		{"a sum of both", "t = Trilu(x) s = Trilu <upper: int = 0> (z) e = Add(t, s) a = MatMul(e, y)", "h = Abs(e) b = MatMul(h, y)", ""},
		{"off the diagonal", "t = Trilu(x, off) a = MatMul(t, y)", "h = Abs(t) b = MatMul(h, y)", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := lowered(t, `g (float[70,70] x, float[70,70] z, float[70,70] y, float c, bool o) => (float[70,70] a, float[70,70] b) <int64 off = {-1}> {`+tc.a+tc.b+"}")
			var found []string
			for n := range p.Model.Graph.Nodes() {
				if n.Is(graph.Asdl, "MatMul") && n.Str("triangleA", "")+n.Str("triangleB", "") != "" {
					found = append(found, n.Str("triangleA", "")+","+n.Str("triangleB", ""))
				}
			}
			if got := strings.Join(found, " "); got != tc.triangles {
				t.Errorf("triangles %q, want %q", got, tc.triangles)
			}
			in := bind(t, p)
			m, err := vm.New(p, vm.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range in {
				m.Bind(i, x)
			}
			if err := m.RunAll(); err != nil {
				t.Fatal(err)
			}
			a, b := kernel.Data[float32](m.Output(0)), kernel.Data[float32](m.Output(1))
			for i := range a {
				if math.Abs(float64(a[i]-b[i])) > 1e-5*math.Abs(float64(b[i])) {
					t.Fatalf("element %d is %v, as a dense product %v", i, a[i], b[i])
				}
			}
		})
	}
}
