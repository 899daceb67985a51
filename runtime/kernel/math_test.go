package kernel_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func TestTablesJoin(t *testing.T) {
	for _, tables := range [][][]kernel.Row{kernel.Portable(), kernel.Default()} {
		r, err := kernel.NewRegistry(tables...)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Has("", "Add") || r.Has("", "NoSuchOperator") {
			t.Error("the registry does not know what it has")
		}
	}
}

var broadcasts = []struct{ a, b, y []int }{
	{[]int{}, []int{}, []int{}},
	{[]int{7}, []int{7}, []int{7}},
	{[]int{7}, []int{}, []int{7}},
	{[]int{1}, []int{5}, []int{5}},
	{[]int{33, 17}, []int{17}, []int{33, 17}},
	{[]int{17}, []int{33, 17}, []int{33, 17}},
	{[]int{33, 1}, []int{33, 17}, []int{33, 17}},
	{[]int{33, 1}, []int{1, 17}, []int{33, 17}},
	{[]int{2, 3, 4, 5}, []int{1, 3, 1, 1}, []int{2, 3, 4, 5}},
	{[]int{2, 1, 4, 1}, []int{3, 1, 5}, []int{2, 3, 4, 5}},
	{[]int{2, 1, 1}, []int{2, 3, 1}, []int{2, 3, 1}},
	{[]int{0, 4}, []int{4}, []int{0, 4}},
	{[]int{300, 301}, []int{300, 301}, []int{300, 301}},
	{[]int{300, 1, 301}, []int{301}, []int{300, 1, 301}},
	{[]int{4, 1}, []int{1, 1}, []int{4, 1}},
}

func TestBinaryBroadcast(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	ops := map[string]func(a, b float64) float64{
		"Add": func(a, b float64) float64 { return a + b },
		"Sub": func(a, b float64) float64 { return a - b },
		"Mul": func(a, b float64) float64 { return a * b },
		"Div": func(a, b float64) float64 { return a / b },
		"Max": math.Max,
	}
	for op, f := range ops {
		for _, s := range broadcasts {
			testBinary[float32](t, pool, op, f, s.a, s.b, s.y)
			testBinary[float64](t, pool, op, f, s.a, s.b, s.y)
			if op != "Div" {
				testBinary[int32](t, pool, op, f, s.a, s.b, s.y)
			}
		}
	}
}

func testBinary[T float32 | float64 | int32](t *testing.T, pool *kernel.Pool, op string, f func(a, b float64) float64, a, b, y []int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x, z := normal[T](rng, a...), normal[T](rng, b...)
	xs, zs := floatsOf(x), floatsOf(z)
	for _, p := range []*kernel.Pool{nil, pool} {
		got := floatsOf(callOp(t, kernel.Default(), p, op, []*kernel.Tensor{x, z}, x.Elem, y))
		bad := 0
		places(y, func(i int, index []int) {
			if want := f(at(xs, a, index), at(zs, b, index)); !near(got[i], want, 1e-6, 0) && bad == 0 {
				t.Errorf("%s of %v and %v: element %v is %v, want %v", op, x, z, index, got[i], want)
				bad++
			}
		})
	}
}

// TestWhereBroadcast checks all combinations of a repeated operand.
func TestWhereBroadcast(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	y := []int{5, 6}
	for mask := range 8 {
		shape := func(bit int) []int {
			if mask>>bit&1 == 1 {
				return []int{5, 1}
			}
			return []int{5, 6}
		}
		c := kernel.New(graph.Bool, shape(0)...)
		for i := range c.Raw {
			c.Raw[i] = byte(rng.IntN(2))
		}
		a, b := normal[float32](rng, shape(1)...), normal[float32](rng, shape(2)...)
		got := floatsOf(callOp(t, kernel.Default(), nil, "Where", []*kernel.Tensor{c, a, b}, graph.Float32, y))
		places(y, func(i int, index []int) {
			want := at(floatsOf(b), b.Shape, index)
			if at(floatsOf(c), c.Shape, index) == 1 {
				want = at(floatsOf(a), a.Shape, index)
			}
			if got[i] != want {
				t.Errorf("mask %d: element %v is %v, want %v", mask, index, got[i], want)
			}
		})
	}
}

// TestWhereOne checks one condition for all elements, with operands of the result's shape, others and single numbers, and the
// result in the place of an operand.
func TestWhereOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	y := []int{5, 6}
	for _, shapes := range [][2][]int{{{5, 6}, {5, 6}}, {{5, 6}, {}}, {{}, {1, 5, 6}}, {{6}, {5, 1}}} {
		for on := range 2 {
			c := kernel.New(graph.Bool)
			c.Raw[0] = byte(on)
			a, b := normal[float64](rng, shapes[0]...), normal[float64](rng, shapes[1]...)
			chosen := []*kernel.Tensor{b, a}[on]
			out := y
			if len(shapes[1]) == 3 {
				out = shapes[1]
			}
			got := floatsOf(callOp(t, kernel.Default(), nil, "Where", []*kernel.Tensor{c, a, b}, graph.Float64, out))
			places(out, func(i int, index []int) {
				if want := at(floatsOf(chosen), chosen.Shape, index); got[i] != want {
					t.Errorf("%v, condition %d: element %v is %v, want %v", shapes, on, index, got[i], want)
				}
			})
		}
	}
}

// TestFunctionsAgree compares float32 with float64, for every operator of one float input.
func TestFunctionsAgree(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	ops := strings.Fields("Exp Log Erf Tanh Sigmoid Sin Cos Tan Atan Sinh Cosh Asinh Floor Ceil Round Softplus Softsign HardSwish Mish " +
		"Sqrt Reciprocal Neg Abs Relu Sign LeakyRelu Elu Celu Selu HardSigmoid ThresholdedRelu Shrink Swish Gelu")
	x := []float32{
		0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 2.5, -2.5, 1e-30, -1e-30, 30, -30, 88, -88,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for len(x) < 5003 {
		x = append(x, float32(3*rng.NormFloat64()))
	}
	wide := make([]float64, len(x))
	for i, v := range x {
		wide[i] = float64(v)
	}
	for _, op := range ops {
		want := floatsOf(callOp(t, kernel.Portable(), nil, op, []*kernel.Tensor{kernel.Of(wide, len(x))}, graph.Float64, []int{len(x)}))
		for name, tables := range map[string][][]kernel.Row{"portable": kernel.Portable(), "default": kernel.Default()} {
			got := floatsOf(callOp(t, tables, pool, op, []*kernel.Tensor{kernel.Of(x, len(x))}, graph.Float32, []int{len(x)}))
			for i := range x {
				if w := float64(float32(want[i])); !near(got[i], w, 2.5e-7, 0) { // two units in the last place
					t.Errorf("%s %s(%v) is %v, want %v", name, op, x[i], got[i], w)
					break
				}
			}
		}
	}
}

// TestInPlace runs every row that may write over an input, and compares with the result in new memory.
func TestInPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	checked := 0
	for _, table := range kernel.Default() {
		for _, row := range table {
			if row.Elems == nil || len(row.InPlace) == 0 || row.Elems[0] != graph.Float32 {
				continue
			}
			in := []*kernel.Tensor{normal[float32](rng, 60), normal[float32](rng, 60)}
			var attrs []graph.Attr
			switch row.Op {
			case "Clip":
				in = in[:1]
			case "Mod":
				attrs = []graph.Attr{graph.I("fmod", 1)}
			}
			for _, take := range row.InPlace {
				if take >= len(in) {
					continue
				}
				c, err := prepareCall(t, [][]kernel.Row{{row}}, nil, row.Op, in, []tensorSpec{{graph.Float32, []int{60}}}, attrs...)
				if err != nil {
					break // needs other inputs
				}
				if err := c.run(in, c.out); err != nil {
					t.Fatal(err)
				}
				own := []*kernel.Tensor{kernel.Of(kernel.Data[float32](in[0]), 60), nil}
				if len(in) > 1 {
					own[1] = kernel.Of(kernel.Data[float32](in[1]), 60)
				}
				if err := c.run(own[:len(in)], []*kernel.Tensor{own[take]}); err != nil {
					t.Fatal(err)
				}
				if err := compareTensors(own[take], c.out[0], tolerance{}); err != nil {
					t.Errorf("%s (%s) over input %d: %v", row.Op, row.Note, take, err)
				}
				checked++
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d rows checked", checked)
	}
}

// TestDataErrors checks that data which an operator refuses gives an error that names node, value and limit.
func TestDataErrors(t *testing.T) {
	ints := func(v ...int64) *kernel.Tensor { return kernel.Of(v, len(v)) }
	x := kernel.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	cases := []struct {
		op    string
		in    []*kernel.Tensor
		out   tensorSpec
		attrs []graph.Attr
		want  []string
	}{
		{"Div", []*kernel.Tensor{ints(1, 2), ints(1, 0)}, tensorSpec{graph.Int64, []int{2}}, nil, []string{"Div", "division by zero", "element 1"}},
		{"Mod", []*kernel.Tensor{ints(1, 2), ints(0, 1)}, tensorSpec{graph.Int64, []int{2}}, nil, []string{"Mod", "division by zero", "element 0"}},
		{"Gather", []*kernel.Tensor{x, ints(0, 1, 2)}, tensorSpec{graph.Float32, []int{3, 3}}, nil, []string{"Gather", "index 2", "place 2", "size 2"}},
		{"Gather", []*kernel.Tensor{x, ints(-3)}, tensorSpec{graph.Float32, []int{1, 3}}, nil, []string{"index -3", "size 2"}},
		{"GatherElements", []*kernel.Tensor{x, kernel.Of([]int64{0, 5}, 1, 2)}, tensorSpec{graph.Float32, []int{1, 2}}, nil, []string{"index 5", "place 1", "size 2"}},
		{"GatherND", []*kernel.Tensor{x, kernel.Of([]int64{0, 0, 0, 3}, 2, 2)}, tensorSpec{graph.Float32, []int{2}}, nil, []string{"index 3", "place 3", "size 3"}},
		{"ScatterND", []*kernel.Tensor{x, kernel.Of([]int64{2}, 1, 1), kernel.Of([]float32{1, 2, 3}, 1, 3)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"index 2", "size 2"}},
		{"ScatterElements", []*kernel.Tensor{x, kernel.Of([]int64{-3}, 1, 1), kernel.Of([]float32{1}, 1, 1)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"index -3", "size 2"}},
		{"Slice", []*kernel.Tensor{x, ints(0), ints(3), ints(2)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"axis 2", "rank 2"}},
		{"Slice", []*kernel.Tensor{x, ints(1), ints(3), ints(0)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"no 2 elements of axis 0"}},
		{"Slice", []*kernel.Tensor{x, ints(0), ints(3), ints(0), ints(0)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"step 0"}},
		{"Pad", []*kernel.Tensor{x, ints(0, 0, 0, 1)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"axis 1", "size 3"}},
		{"Transpose", []*kernel.Tensor{x}, tensorSpec{graph.Float32, []int{3, 2}}, []graph.Attr{graph.Is("perm", 1, 1)}, []string{"axis 1 is given twice"}},
		{"Concat", []*kernel.Tensor{x, x}, tensorSpec{graph.Float32, []int{2, 5}}, []graph.Attr{graph.I("axis", 1)}, []string{"6 entries"}},
		{"Add", []*kernel.Tensor{x, ints(1)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"int64", "Cast"}},
		{"Add", []*kernel.Tensor{x, kernel.Of([]float32{1, 2}, 2)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"does not broadcast"}},
		{"CumSum", []*kernel.Tensor{x, ints(2)}, tensorSpec{graph.Float32, []int{2, 3}}, nil, []string{"axis 2", "rank 2"}},
		{"ReduceSum", []*kernel.Tensor{x, ints(2)}, tensorSpec{graph.Float32, []int{2, 1}}, nil, []string{"axis 2", "rank 2"}},
		{"NonZero", []*kernel.Tensor{x}, tensorSpec{graph.Int64, []int{2, 5}}, nil, []string{"6 elements"}},
	}
	for _, tc := range cases {
		c, err := prepareCall(t, kernel.Default(), nil, tc.op, tc.in, []tensorSpec{tc.out}, tc.attrs...)
		if err == nil {
			err = c.run(c.in, c.out)
		}
		if !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("%s: error %v, want an invalid one", tc.op, err)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", tc.op, err, w)
			}
		}
	}
}
