package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// opCase is one call of an operator of the tables of neural networks, integers, random numbers and linear algebra.
type opCase struct {
	domain, op string
	opset      int
	attrs      []graph.Attr
	in         []*Tensor // nil is missing
	constant   []int     // inputs that are known beforehand
	out        []Spec
	pool       *Pool
	rows       []Row // kernels of higher rank, one of which must take the call
}

// outLike is the spec of an output of the element type of T.
func outLike[T graph.Number](shape ...int) Spec {
	return Spec{Present: true, Elem: graph.ElemOf[T](), Shape: append([]int{}, shape...)}
}

// prepare makes the call and gives its scratch, filled with ones as bits (NaN), so that nothing relies on zeros.
func (o opCase) prepare(t testing.TB) (Run, []*Tensor, error) {
	t.Helper()
	g := graph.NewGraph("test")
	var values []*graph.Value
	c := &Call{Opset: o.opset, Pool: o.pool, Out: o.out}
	for i, in := range o.in {
		if in == nil {
			values, c.In = append(values, nil), append(c.In, Spec{})
			continue
		}
		shape := make([]int64, len(in.Shape))
		for k, d := range in.Shape {
			shape[k] = int64(d)
		}
		values = append(values, g.AddInput(fmt.Sprint("x", i), graph.StaticType(in.Elem, shape...)))
		c.In = append(c.In, Spec{Present: true, Elem: in.Elem, Shape: in.Shape})
	}
	for _, i := range o.constant {
		c.In[i].Const = o.in[i]
	}
	names := make([]string, len(o.out))
	out := make([]*Tensor, len(o.out))
	for i, s := range o.out {
		if s.Present {
			names[i] = fmt.Sprint("y", i)
			out[i] = New(s.Elem, s.Shape...)
			poison(out[i].Raw)
		}
	}
	c.Node = g.AddNode(o.domain, o.op, values, names, o.attrs...)
	if c.Opset == 0 {
		c.Opset = 22
	}
	r, err := NewRegistry(nnTable, integerTable(), randomTable, noiseTable, linalgTable, runtimeTable(), o.rows)
	if err != nil {
		t.Fatal(err)
	}
	row, run, err := r.Make(c)
	if o.rows != nil && err == nil && row.Note != o.rows[0].Note {
		t.Fatalf("%s: the %s kernel took the call, not %s", o.op, row.Note, o.rows[0].Note)
	}
	for _, s := range c.Scratches {
		s.Raw = Aligned(s.Size)
		poison(s.Raw)
	}
	return run, out, err
}

func poison(raw []byte) {
	for i := range raw {
		raw[i] = 0xff
	}
}

// run prepares and runs the call twice, which must give the same bits, and fails on an error.
func (o opCase) run(t testing.TB) []*Tensor {
	t.Helper()
	run, out, err := o.prepare(t)
	if err == nil {
		err = run(o.in, out)
	}
	if err != nil {
		t.Fatalf("%s: %v", o.op, err)
	}
	first := make([][]byte, len(out))
	for i, y := range out {
		if y != nil {
			first[i] = append([]byte{}, y.Raw...)
		}
	}
	if err := run(o.in, out); err != nil {
		t.Fatalf("%s: second run: %v", o.op, err)
	}
	for i, y := range out {
		if y != nil && !bytes.Equal(first[i], y.Raw) {
			t.Fatalf("%s: second run gave another output %d", o.op, i)
		}
	}
	return out
}

// mustFail prepares and runs the call and wants an error.
func (o opCase) mustFail(t testing.TB) error {
	t.Helper()
	run, out, err := o.prepare(t)
	if err == nil {
		err = run(o.in, out)
	}
	if err == nil {
		t.Fatalf("%s: no error", o.op)
	}
	return err
}

// allocs is the number of allocations per run.
func (o opCase) allocs(t testing.TB) float64 {
	run, out, err := o.prepare(t)
	if err != nil {
		t.Fatal(err)
	}
	return testing.AllocsPerRun(5, func() {
		if err := run(o.in, out); err != nil {
			t.Fatal(err)
		}
	})
}

// randomTensor holds values in [-1, 1).
func randomTensor[T amd64.Float](rng *rand.Rand, shape ...int) *Tensor {
	x := New(graph.ElemOf[T](), shape...)
	for i := range Data[T](x) {
		Data[T](x)[i] = T(2*rng.Float64() - 1)
	}
	return x
}

// wantClose compares with float64 values: |got-want| <= tol*(1+|want|). NaN equals NaN.
func wantClose[T amd64.Float](t testing.TB, what string, got *Tensor, want []float64, tol float64) {
	t.Helper()
	x := Data[T](got)
	if len(x) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(x), len(want))
	}
	for i, w := range want {
		g := float64(x[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if d := math.Abs(g - w); !(d <= tol*(1+math.Abs(w))) {
			t.Fatalf("%s: element %d is %g, want %g (tolerance %g)", what, i, g, w, tol)
		}
	}
}

// tolerance is n roundings of T.
func tolerance[T amd64.Float](n float64) float64 { return n * epsilon[T]() }

func forPools(t *testing.T, f func(t *testing.T, p *Pool)) {
	t.Run("nil", func(t *testing.T) { f(t, nil) })
	t.Run("3", func(t *testing.T) {
		p := NewPool(3)
		defer p.Close()
		f(t, p)
	})
}
