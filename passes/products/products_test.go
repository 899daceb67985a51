package products_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/passes/products"
)

const head = `<ir_version: 8, opset_import: ["" : 17, "asdl" : 1]>` + "\n"

// cases are golden for a batch of 2, and run before and after.
var cases = []struct{ name, in, want string }{
	{"a gradient between two factors", `
g (double[N,30] x, double[N,20] d, double[20,20] s, double[30,30] a) => (double[20,30] y)
{
   g = Gemm <transA: int = 1> (d, x)
   l = MatMul (s, g)
   y = MatMul (l, a)
}`, `
g (double[N,30] x, double[N,20] d, double[20,20] s, double[30,30] a) => (double[20,30] y)
<double[20,N] "y/Gemm", double[N,30] "y/MatMul">
{
   "y/Gemm" = Gemm <transB: int = 1> (s, d)
   "y/MatMul" = MatMul (x, a)
   y = MatMul ("y/Gemm", "y/MatMul")
}`},
	{"the gradient is an output too", `
g (double[N,30] x, double[N,20] d, double[20,20] s) => (double[20,30] y, double[20,30] g)
{
   g = Gemm <transA: int = 1> (d, x)
   l = MatMul (s, g)
   y = Gemm <transA: int = 1> (s, l)
}`, `
g (double[N,30] x, double[N,20] d, double[20,20] s) => (double[20,30] y, double[20,30] g)
<double[20,N] "y/Gemm", double[20,N] "y/Gemm_1">
{
   g = Gemm <transA: int = 1> (d, x)
   "y/Gemm" = Gemm <transB: int = 1> (s, d)
   "y/Gemm_1" = Gemm <transA: int = 1> (s, "y/Gemm")
   y = MatMul ("y/Gemm_1", x)
}`},
	{"with a bias as a column", `
g (double[N,30] x, double[N,20] d, double[31,31] a) => (double[31,20] y)
<int64[1] zero = {0}, int64[2] column = {20, 1}>
{
   g = Gemm <transA: int = 1> (d, x)
   c = ReduceSum <keepdims: int = 0> (d, zero)
   b = Reshape (c, column)
   j = Concat <axis: int = 1> (g, b)
   l = MatMul (j, a)
   t = Transpose <perm: ints = [1, 0]> (l)
   y = Identity (t)
}`, `
g (double[N,30] x, double[N,20] d, double[31,31] a) => (double[31,20] y)
<
   int64[1] "l/i" = {0},
   int64[1] "l/i_1" = {1},
   double[N,1] "l/Slice",
   int64[2] "l/Shape",
   double[N,1] "l/ConstantOfShape",
   double[N,31] "l/Concat",
   double[N,31] "l/MatMul",
   double[20,31] "l/Gemm"
>
{
   "l/Slice" = Slice (x, "l/i", "l/i_1", "l/i_1")
   "l/Shape" = Shape ("l/Slice")
   "l/ConstantOfShape" = ConstantOfShape <value: tensor = double[1] {1}> ("l/Shape")
   "l/Concat" = Concat <axis: int = 1> (x, "l/ConstantOfShape")
   "l/MatMul" = MatMul ("l/Concat", a)
   "l/Gemm" = Gemm <transA: int = 1> (d, "l/MatMul")
   y = Transpose <perm: ints = [1, 0]> ("l/Gemm")
}`},
	{"a square of a matrix stays", `
g (double[N,30] x, double[N,20] d) => (double[20,20] y)
{
   g = Gemm <transA: int = 1> (d, x)
   y = Gemm <transB: int = 1> (g, g)
}`, `
g (double[N,30] x, double[N,20] d) => (double[20,20] y)
<double[20,30] g>
{
   g = Gemm <transA: int = 1> (d, x)
   y = Gemm <transB: int = 1> (g, g)
}`},
	{"little to gain", `
g (double[4,5] x, double[5,4] d, double[4,4] s) => (double[4,4] y)
{
   g = MatMul (x, d)
   y = MatMul (g, s)
}`, `
g (double[4,5] x, double[5,4] d, double[4,4] s) => (double[4,4] y)
<double[4,4] g>
{
   g = MatMul (x, d)
   y = MatMul (g, s)
}`},
}

func TestGolden(t *testing.T) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			m := passtest.Parse(t, head+tc.in)
			got, _ := passtest.Apply(t, m, pass.Options{Batch: 2}, products.Pass, cleanup.Pass)
			passtest.Golden(t, got, head+tc.want)
			for _, n := range []int64{1, 2, 50} {
				feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": n})
				passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-12)
			}
			if same, _ := passtest.Apply(t, m, pass.Options{}, products.Pass); countNodes(same) != countNodes(m) {
				t.Error("without a batch size something changed")
			}
		})
	}
}

func countNodes(m *graph.Model) int {
	n := 0
	for range m.Graph.All() {
		n++
	}
	return n
}

// TestRandom: chains of random shapes, with transposes, borders, intermediates that are used elsewhere and squares, give what
// they gave, and do not cost more.
func TestRandom(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := passtest.Parse(t, head+"g (double[N,9] x, double[N,7] d) => () {\n}")
		b := op.NewBuilder(m, m.Graph)
		x, d := m.Graph.Inputs()[0], m.Graph.Inputs()[1]
		g := b.Gemm(d, x, true, false)
		values := []*graph.Value{g, b.Concat(1, g, b.Reshape(b.Sum(d, 0), 7, 1))}
		for range 2 + rng.IntN(6) {
			v := values[rng.IntN(len(values))]
			rows, cols := dim(v, 0), dim(v, 1)
			other := func(r, c int64) *graph.Value {
				data := make([]float64, r*c)
				for i := range data {
					data[i] = rng.NormFloat64() / 3
				}
				return b.Const("c", graph.TensorOf(data, r, c))
			}
			switch rng.IntN(6) {
			case 0:
				v = b.MatMul(v, other(cols, 1+rng.Int64N(12)))
			case 1:
				v = b.Gemm(other(1+rng.Int64N(12), rows), v, false, false)
			case 2:
				v = b.Gemm(v, other(1+rng.Int64N(12), cols), false, true)
			case 3:
				v = b.Gemm(other(rows, 1+rng.Int64N(12)), v, true, false)
			case 4:
				transposed := rng.IntN(2) == 0
				v = b.Gemm(v, v, transposed, !transposed)
			case 5:
				v = b.Transpose(v, 1, 0)
			}
			values = append(values, v)
		}
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		outs := []*graph.Value{values[len(values)-1], values[rng.IntN(len(values)-1)]}
		if outs[0] == outs[1] {
			outs = outs[:1]
		}
		m.Graph.SetOutputs(outs...)
		batch := 1 + rng.Int64N(6)
		got, c := passtest.Apply(t, m, pass.Options{Batch: batch}, products.Pass, cleanup.Pass)
		feeds := passtest.Feeds(t, m, seed, map[string]int64{"N": 1 + rng.Int64N(6)})
		passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-9)
		count := op.Counter{Sizes: pass.Sizes(m.Graph, c.Options)}
		clean, _ := passtest.Apply(t, m, pass.Options{}, cleanup.Pass)
		if before, after := count.Graph(clean.Graph).Matmul, count.Graph(got.Graph).Matmul; after > before {
			t.Errorf("seed %d: %v operations, %v before", seed, after, before)
		}
		if t.Failed() {
			t.Fatal(fmt.Sprint("seed ", seed, "\n", graph.Print(m)))
		}
	}
}

func dim(v *graph.Value, i int) int64 {
	n, _ := v.Type.Dims[i].Size()
	return n
}
