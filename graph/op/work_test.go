package op_test

import (
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// TestWork counts by hand.
func TestWork(t *testing.T) {
	for _, c := range []struct {
		name, body           string
		flops, matmul, bytes float64
	}{
		{"MatMul", `(float[N,3] x, float[3,5] w) => (float[N,5] y) { y = MatMul (x, w) }`, 2 * 10 * 3 * 5, 300, 4 * (30 + 15 + 50)},
		{"MatMul of a triangle", `(float[N,3] x, float[3,3] w) => (float[N,3] y) { t = Trilu (w) y = MatMul (x, t) }`, 9 + 10*3*3, 90, 4 * (9 + 9 + 30 + 9 + 30)},
		{"MatMul of batches", `(float[N,2,3] x, float[N,3,5] w) => (float[N,2,5] y) { y = MatMul (x, w) }`, 600, 600, 4 * (60 + 150 + 100)},
		{"Gemm", `(float[N,3] x, float[N,5] w) => (float[3,5] y) { y = Gemm <transA: int = 1> (x, w) }`, 300, 300, 4 * (30 + 50 + 15)},
		{
			"Conv", `(float[N,4,6,6] x, float[8,2,3,3] w) => (float[N,8,4,4] y) { y = Conv <group: int = 2> (x, w) }`,
			2 * 10 * 8 * 16 * 2 * 9, 2 * 10 * 8 * 16 * 2 * 9, 4 * (10*4*36 + 8*2*9 + 10*8*16),
		},
		{"Einsum", `(float[N,3] x, float[N,5] w) => (float[3,5] y) { y = Einsum <equation: string = "ni,no->io"> (x, w) }`, 300, 300, 4 * (30 + 50 + 15)},
		{"elements", `(float[N,3] x) => (float[N,3] y) { y = Add (x, x) }`, 30, 0, 4 * 90},
		{"sum", `(float[N,3] x) => (float y) { y = ReduceSum <keepdims: int = 0> (x) }`, 30, 0, 4 * 31},
		{"view", `(float[N,3] x) => (float[3,N] y) { s = Shape (x)  z = Transpose (x)  y = Identity (z) }`, 0, 0, 4 * 60},
		{
			"If", `(float[N,3] x, bool c) => (float[N,3] y) {
			y = If (c) <then_branch: graph = t () => (float[N,3] u) { v = Add (x, x) u = Add (v, x) }, else_branch: graph = e () => (float[N,3] w) { w = Neg (x) }> }`,
			0.25*60 + 0.75*30, 0, 4 * (0.25*180 + 0.75*60),
		},
	} {
		m, err := graph.Parse(`<ir_version: 8, opset_import: ["" : 17]> g ` + c.body)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := op.InferGraph(m); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		w := op.Counter{Sizes: map[string]int64{"N": 10}, Share: func(*graph.Node) float64 { return 0.25 }}.Graph(m.Graph)
		if w.Flops != c.flops || w.Matmul != c.matmul || w.Bytes != c.bytes || w.Unsized != 0 {
			t.Errorf("%s: %+v, want %g operations, %g in products, %g bytes", c.name, w, c.flops, c.matmul, c.bytes)
		}
		if w := (op.Counter{}).Graph(m.Graph); w.Unsized == 0 {
			t.Errorf("%s: without the size of N: %+v", c.name, w)
		}
	}
}
