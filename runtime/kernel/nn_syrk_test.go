package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// A^T A and A A^T through the row for one matrix equal the general product of two copies, and are exactly symmetric.
func TestGemmOfItself(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	reg, err := NewRegistry(Portable()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, shape := range [][2]int{{1, 1}, {3, 5}, {33, 17}, {64, 130}, {200, 65}} {
		for _, trans := range []string{"transA", "transB"} {
			a := randomTensor[float64](rng, shape[0], shape[1])
			n := shape[1]
			if trans == "transB" {
				n = shape[0]
			}
			run := func(same bool) (*Row, *Tensor) {
				g := graph.NewGraph("g")
				x := g.AddInput("x", graph.StaticType(graph.Float64, int64(shape[0]), int64(shape[1])))
				y := x
				if !same {
					y = g.AddInput("y", x.Type)
				}
				node := g.AddNode("", "Gemm", []*graph.Value{x, y}, []string{"z"}, graph.I(trans, 1), graph.F("alpha", 0.5))
				spec := Spec{Present: true, Elem: graph.Float64, Shape: a.Shape}
				c := &Call{Node: node, Opset: 17, In: []Spec{spec, spec}, Out: []Spec{{Present: true, Elem: graph.Float64, Shape: []int{n, n}}}}
				row, run, err := reg.Make(c)
				if err != nil {
					t.Fatal(err)
				}
				out := New(graph.Float64, n, n)
				give := func(c *Call, run Run, in ...*Tensor) {
					for _, s := range c.Scratches {
						s.Raw = Aligned(s.Size)
					}
					if err := run(in, []*Tensor{out}); err != nil {
						t.Fatal(err)
					}
				}
				give(c, run, a, a)
				if !same {
					return row, out
				}
				more := g.AddNode("", "Gemm", []*graph.Value{x, y, node.Out(0)}, []string{"w"}, graph.I(trans, 1), graph.F("alpha", -0.5), graph.F("beta", 2))
				c = &Call{Node: more, Opset: 17, In: []Spec{spec, spec, c.Out[0]}, Out: c.Out} // in the place of the first: -0.5 + 2*0.5
				if row, run, err = reg.Make(c); err != nil {
					t.Fatal(err)
				}
				give(c, run, a, a, out)
				return row, out
			}
			row, got := run(true)
			if row.Rank != 5 {
				t.Fatalf("served by %q", row.Note)
			}
			general, want := run(false)
			if general.Rank == 5 {
				t.Fatal("two matrices served by the row for one")
			}
			wantClose[float64](t, trans, got, Data[float64](want), 1e-12)
			for i := range n {
				for j := range n {
					if z := Data[float64](got); z[i*n+j] != z[j*n+i] {
						t.Fatalf("%s %v: element (%d,%d) is not symmetric", trans, shape, i, j)
					}
				}
			}
		}
	}
}

// A number that is added, though it is a product of a row with itself, is broadcast.
func TestGemmOfItselfPlusNumber(t *testing.T) {
	reg, err := NewRegistry(Portable()...)
	if err != nil {
		t.Fatal(err)
	}
	g := graph.NewGraph("g")
	x, r := g.AddInput("x", graph.StaticType(graph.Float64, 3, 2)), g.AddInput("r", graph.StaticType(graph.Float64, 1, 2))
	number := g.AddNode("", "Gemm", []*graph.Value{r, r}, []string{"s"}, graph.I("transB", 1)).Out(0)
	node := g.AddNode("", "Gemm", []*graph.Value{x, x, number}, []string{"y"}, graph.I("transB", 1))
	a, c, y := Of([]float64{1, 2, 3, 4, 5, 6}, 3, 2), Of([]float64{100}, 1, 1), New(graph.Float64, 3, 3)
	specOf := func(t *Tensor) Spec { return Spec{Present: true, Elem: t.Elem, Shape: t.Shape} }
	call := &Call{Node: node, Opset: 17, In: []Spec{specOf(a), specOf(a), specOf(c)}, Out: []Spec{specOf(y)}}
	_, run, err := reg.Make(call)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range call.Scratches {
		s.Raw = Aligned(s.Size)
	}
	if err := run([]*Tensor{a, a, c}, []*Tensor{y}); err != nil {
		t.Fatal(err)
	}
	wantClose[float64](t, "sum", y, []float64{105, 111, 117, 111, 125, 139, 117, 139, 161}, 1e-12)
}
