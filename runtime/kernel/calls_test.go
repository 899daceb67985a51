package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// tensorSpec is the type of an output.
type tensorSpec struct {
	elem  graph.Elem
	shape []int
}

// opCall is one call of an operator, prepared.
type opCall struct {
	row *kernel.Row
	run kernel.Run
	in  []*kernel.Tensor
	out []*kernel.Tensor
}

// prepareCall makes a call of a standard operator; a nil input is missing. The outputs hold garbage.
func prepareCall(t testing.TB, tables [][]kernel.Row, pool *kernel.Pool, op string, in []*kernel.Tensor, outs []tensorSpec, attrs ...graph.Attr) (*opCall, error) {
	t.Helper()
	registry, err := kernel.NewRegistry(tables...)
	if err != nil {
		t.Fatal(err)
	}
	m := graph.NewModel(18)
	call := &kernel.Call{Opset: 18, Pool: pool}
	var values []*graph.Value
	for _, x := range in {
		if x == nil {
			values, call.In = append(values, nil), append(call.In, kernel.Spec{})
			continue
		}
		values = append(values, m.Graph.AddInput("x", graph.Type{}))
		call.In = append(call.In, kernel.Spec{Present: true, Elem: x.Elem, Shape: x.Shape})
	}
	c := &opCall{in: in}
	names := make([]string, len(outs))
	for i, o := range outs {
		y := kernel.New(o.elem, o.shape...)
		for k := range y.Raw {
			y.Raw[k] = 0x5a
		}
		names[i] = "y"
		c.out = append(c.out, y)
		call.Out = append(call.Out, kernel.Spec{Present: true, Elem: y.Elem, Shape: y.Shape})
	}
	call.Node = m.Graph.InsertNode(nil, "", op, values, names, attrs...)
	if c.row, c.run, err = registry.Make(call); err != nil {
		return nil, err
	}
	for _, s := range call.Scratches {
		s.Raw = kernel.Aligned(s.Size)
	}
	return c, nil
}

// callOp runs an operator with one output.
func callOp(t testing.TB, tables [][]kernel.Row, pool *kernel.Pool, op string, in []*kernel.Tensor, e graph.Elem, shape []int, attrs ...graph.Attr) *kernel.Tensor {
	t.Helper()
	c, err := prepareCall(t, tables, pool, op, in, []tensorSpec{{e, shape}}, attrs...)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	if err := c.run(c.in, c.out); err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return c.out[0]
}

// normal is a tensor of normally distributed numbers; for integers they are scaled by 10.
func normal[T float32 | float64 | int32 | int64](rng *rand.Rand, shape ...int) *kernel.Tensor {
	data := make([]T, kernel.Count(shape))
	scale := 1.0
	if T(1)/T(2) == 0 {
		scale = 10
	}
	for i := range data {
		data[i] = T(scale * rng.NormFloat64())
	}
	return kernel.Of(data, shape...)
}

// at is the element of a tensor at an index, broadcast from the right.
func at(x []float64, shape, index []int) float64 {
	off, lead := 0, len(index)-len(shape)
	for i, d := range shape {
		p := index[lead+i]
		if d == 1 {
			p = 0
		}
		off = off*d + p
	}
	return x[off]
}

// places visits the indices of a shape in order.
func places(shape []int, visit func(i int, index []int)) {
	index := make([]int, len(shape))
	for i := range kernel.Count(shape) {
		rest := i
		for k := len(shape) - 1; k >= 0; k-- {
			index[k] = rest % shape[k]
			rest /= shape[k]
		}
		visit(i, index)
	}
}

// near reports whether two numbers agree to rel, relative to the greater of b and scale.
func near(a, b, rel, scale float64) bool {
	if a == b || a != a && b != b {
		return true
	}
	return math.Abs(a-b) <= rel*max(math.Abs(b), scale)
}

func floatsOf(t *kernel.Tensor) []float64 {
	c := t.Const()
	if v, ok := c.Float64s(); ok {
		return v
	}
	ints, _ := c.Int64s()
	v := make([]float64, len(ints))
	for i, n := range ints {
		v[i] = float64(n)
	}
	return v
}
