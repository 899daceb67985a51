package op

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// Builder emits typed nodes in the form of the model's opset. It is what passes write graphs with: one method an
// operator, whose arguments do not depend on the opset. Broadcasting is ONNX's.
type Builder struct {
	*graph.Builder
	opset int
	calls callResults
}

// NewBuilder appends to g, a graph of m, and infers the type of each new node. The functions that it calls must not change while it
// is in use.
func NewBuilder(m *graph.Model, g *graph.Graph) *Builder { return newBuilder(m, g, callResults{}) }

func newBuilder(m *graph.Model, g *graph.Graph, calls callResults) *Builder {
	b := &Builder{Builder: &graph.Builder{Graph: g, Model: m}, opset: m.Opset(), calls: calls}
	b.Infer = func(n *graph.Node) error { return newEnv(m, n.Graph(), calls).node(n) }
	return b
}

// Nested is a builder for a graph that is to become an attribute of a node b will emit.
func (b *Builder) Nested(name string) *Builder {
	nb := newBuilder(b.Model, b.Graph.NewNested(name), b.calls)
	nb.Prefix, nb.Scope, nb.opset = b.Prefix, b.Scope, b.opset
	return nb
}

// Under runs emit with the value-name prefix extended.
func (b *Builder) Under(prefix string, emit func()) {
	old := b.Prefix
	b.Prefix = old + prefix
	emit()
	b.Prefix = old
}

// Opset is the version of the standard operator set that is emitted.
func (b *Builder) Opset() int { return b.opset }

func vs(v ...*graph.Value) []*graph.Value { return v }

// FloatScalar is a tensor of one floating-point number of type e and the given shape (all ones).
func FloatScalar(e graph.Elem, v float64, shape ...int64) *graph.Tensor {
	if e == graph.Float64 {
		return graph.TensorOf([]float64{v}, shape...)
	}
	return graph.TensorOf([]float32{float32(v)}, shape...)
}

// Float is a scalar constant of element type e.
func (b *Builder) Float(e graph.Elem, v float64) *graph.Value {
	return b.Const("c", FloatScalar(e, v))
}

// FloatLike is a scalar constant of x's element type.
func (b *Builder) FloatLike(x *graph.Value, v float64) *graph.Value { return b.Float(x.Type.Elem, v) }

// Ints is a 1-d int64 constant.
func (b *Builder) Ints(v ...int64) *graph.Value {
	c := b.Const("i", graph.Ints(v...))
	c.Content = make([]graph.Dim, len(v))
	for i, n := range v {
		c.Content[i] = graph.Known(n)
	}
	return c
}

// Int is an int64 scalar constant.
func (b *Builder) Int(v int64) *graph.Value {
	c := b.Const("i", graph.Scalar(v))
	c.Content = []graph.Dim{graph.Known(v)}
	return c
}

// Add is x+y.
func (b *Builder) Add(x, y *graph.Value) *graph.Value { return b.Op("Add", vs(x, y)) }

// Sub is x-y.
func (b *Builder) Sub(x, y *graph.Value) *graph.Value { return b.Op("Sub", vs(x, y)) }

// Mul is x*y, element by element.
func (b *Builder) Mul(x, y *graph.Value) *graph.Value { return b.Op("Mul", vs(x, y)) }

// Div is x/y, element by element.
func (b *Builder) Div(x, y *graph.Value) *graph.Value { return b.Op("Div", vs(x, y)) }

// Neg is -x.
func (b *Builder) Neg(x *graph.Value) *graph.Value { return b.Op("Neg", vs(x)) }

// Scale is x times a constant.
func (b *Builder) Scale(x *graph.Value, v float64) *graph.Value {
	if v == 1 {
		return x
	}
	return b.Mul(x, b.FloatLike(x, v))
}

// Square is x*x.
func (b *Builder) Square(x *graph.Value) *graph.Value { return b.Mul(x, x) }

// Unary applies an operator of one input and no attributes: "Exp", "Sqrt", "Tanh", ...
func (b *Builder) Unary(op string, x *graph.Value) *graph.Value { return b.Op(op, vs(x)) }

// Sqrt is the square root.
func (b *Builder) Sqrt(x *graph.Value) *graph.Value { return b.Unary("Sqrt", x) }

// MatMul is the (batched) matrix product.
func (b *Builder) MatMul(x, y *graph.Value) *graph.Value { return b.Op("MatMul", vs(x, y)) }

// Gemm is op(x)·op(y) of two matrices.
func (b *Builder) Gemm(x, y *graph.Value, transX, transY bool) *graph.Value {
	var attrs []graph.Attr
	if transX {
		attrs = append(attrs, graph.I("transA", 1))
	}
	if transY {
		attrs = append(attrs, graph.I("transB", 1))
	}
	if attrs == nil {
		return b.MatMul(x, y)
	}
	return b.Op("Gemm", vs(x, y), attrs...)
}

// Transpose permutes dimensions; no perm reverses them.
func (b *Builder) Transpose(x *graph.Value, perm ...int64) *graph.Value {
	if len(perm) == 0 {
		return b.Op("Transpose", vs(x))
	}
	return b.Op("Transpose", vs(x), graph.Is("perm", perm...))
}

// Swap exchanges the last two dimensions of x, whose rank must be known.
func (b *Builder) Swap(x *graph.Value) *graph.Value {
	r := x.Type.Rank()
	perm := make([]int64, r)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[r-1], perm[r-2] = perm[r-2], perm[r-1]
	return b.Transpose(x, perm...)
}

// Reshape to constant dimensions; 0 copies a dimension, -1 is solved for.
func (b *Builder) Reshape(x *graph.Value, dims ...int64) *graph.Value {
	return b.ReshapeTo(x, b.Ints(dims...))
}

// ReshapeTo reshapes to a shape tensor; 0 copies a dimension.
func (b *Builder) ReshapeTo(x, shape *graph.Value) *graph.Value {
	return b.Op("Reshape", vs(x, shape))
}

// ReshapeLike gives x the shape of like.
func (b *Builder) ReshapeLike(x, like *graph.Value) *graph.Value {
	if x.Type.Ranked && like.Type.Ranked && sameKnown(x.Type, like.Type) {
		return x
	}
	return b.ReshapeTo(x, b.ShapeOf(like))
}

func sameKnown(x, y graph.Type) bool {
	if len(x.Dims) != len(y.Dims) {
		return false
	}
	for i, d := range x.Dims {
		if d.IsUnknown() || d != y.Dims[i] {
			return false
		}
	}
	return true
}

// SameShape reports whether two values are known to have equal shapes.
func SameShape(x, y *graph.Value) bool {
	return x.Type.Ranked && y.Type.Ranked && sameKnown(x.Type, y.Type)
}

// Shape is the shape of x as an int64 tensor.
func (b *Builder) Shape(x *graph.Value) *graph.Value { return b.Op("Shape", vs(x)) }

// ShapeOf is the shape of x: a constant where every dimension is known.
func (b *Builder) ShapeOf(x *graph.Value) *graph.Value {
	if s, ok := x.Type.Static(); ok {
		return b.Ints(s...)
	}
	return b.Shape(x)
}

// DimOf is dimension axis of x as an int64 tensor of shape [1]: a constant where it is known.
func (b *Builder) DimOf(x *graph.Value, axis int) *graph.Value {
	if x.Type.Ranked {
		if n, ok := x.Type.Dims[axis].Size(); ok {
			return b.Ints(n)
		}
	}
	return b.Slice(b.Shape(x), []int64{int64(axis)}, []int64{int64(axis) + 1}, []int64{0})
}

// CountOf is the number of elements of x along the axes (all if none are given), as a scalar of element type e.
func (b *Builder) CountOf(x *graph.Value, e graph.Elem, axes ...int) *graph.Value {
	if len(axes) == 0 {
		if s, ok := x.Type.Static(); ok {
			return b.Float(e, product(s))
		}
		return b.Cast(b.Op("Size", vs(x)), e)
	}
	known, dims := 1.0, []*graph.Value(nil)
	for _, a := range axes {
		if n, ok := x.Type.Dims[a].Size(); ok {
			known *= float64(n)
		} else {
			dims = append(dims, b.DimOf(x, a))
		}
	}
	count := b.Float(e, known)
	for _, d := range dims {
		count = b.Mul(count, b.Cast(b.Squeeze(d, 0), e))
	}
	return count
}

func product(s []int64) float64 {
	p := 1.0
	for _, n := range s {
		p *= float64(n)
	}
	return p
}

// Cast converts to element type e; it is x itself where that is known to be its type.
func (b *Builder) Cast(x *graph.Value, e graph.Elem) *graph.Value {
	if x.Type.Elem == e {
		return x
	}
	return b.Op("Cast", vs(x), graph.I("to", int64(e)))
}

// Slice takes [starts, ends) along axes with step 1.
func (b *Builder) Slice(x *graph.Value, starts, ends, axes []int64) *graph.Value {
	return b.Op("Slice", vs(x, b.Ints(starts...), b.Ints(ends...), b.Ints(axes...)))
}

// ToEnd as an end of Slice means the end of the axis.
const ToEnd = math.MaxInt64

// Concat joins along axis.
func (b *Builder) Concat(axis int64, xs ...*graph.Value) *graph.Value {
	if len(xs) == 1 {
		return xs[0]
	}
	return b.Op("Concat", xs, graph.I("axis", axis))
}

// Split cuts along axis into parts of the given sizes.
func (b *Builder) Split(x *graph.Value, axis int64, sizes ...int64) []*graph.Value {
	return b.Node("", "Split", vs(x, b.Ints(sizes...)), len(sizes), graph.I("axis", axis)).Outputs()
}

// Squeeze removes dimensions of size 1.
func (b *Builder) Squeeze(x *graph.Value, axes ...int64) *graph.Value {
	return b.Op("Squeeze", vs(x, b.Ints(axes...)))
}

// Unsqueeze inserts dimensions of size 1.
func (b *Builder) Unsqueeze(x *graph.Value, axes ...int64) *graph.Value {
	return b.Op("Unsqueeze", vs(x, b.Ints(axes...)))
}

// Expand broadcasts x to a shape tensor.
func (b *Builder) Expand(x, shape *graph.Value) *graph.Value { return b.Op("Expand", vs(x, shape)) }

// ExpandLike broadcasts x to the shape of like.
func (b *Builder) ExpandLike(x, like *graph.Value) *graph.Value {
	if SameShape(x, like) {
		return x
	}
	return b.Expand(x, b.ShapeOf(like))
}

// Where picks x where c, else y.
func (b *Builder) Where(c, x, y *graph.Value) *graph.Value { return b.Op("Where", vs(c, x, y)) }

// Gather picks slices of x by indices along axis.
func (b *Builder) Gather(x, indices *graph.Value, axis int64) *graph.Value {
	return b.Op("Gather", vs(x, indices), graph.I("axis", axis))
}

// Identity is x under a new name.
func (b *Builder) Identity(x *graph.Value) *graph.Value { return b.Op("Identity", vs(x)) }

// Full is a tensor of the given shape tensor, filled with v of element type e.
func (b *Builder) Full(shape *graph.Value, e graph.Elem, v float64) *graph.Value {
	return b.Op("ConstantOfShape", vs(shape), graph.T("value", FloatScalar(e, v, 1)))
}

// ZerosLike is a tensor of zeros of x's type and shape.
func (b *Builder) ZerosLike(x *graph.Value) *graph.Value {
	return b.Full(b.ShapeOf(x), x.Type.Elem, 0)
}

// OnesLike is a tensor of ones of x's type and shape.
func (b *Builder) OnesLike(x *graph.Value) *graph.Value {
	return b.Full(b.ShapeOf(x), x.Type.Elem, 1)
}

// reduceAxesInput tells from which opset on a reduction takes its axes as an input.
var reduceAxesInput = map[string]int{
	"ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18, "ReduceMin": 18, "ReduceProd": 18, "ReduceL1": 18,
	"ReduceL2": 18, "ReduceSumSquare": 18, "ReduceLogSum": 18, "ReduceLogSumExp": 18,
}

// Reduce applies a reduction ("ReduceSum", "ReduceMean", ...) over axes; none means all.
func (b *Builder) Reduce(op string, x *graph.Value, keep bool, axes ...int64) *graph.Value {
	attrs := []graph.Attr{graph.I("keepdims", 0)}
	if keep {
		attrs[0].I = 1
	}
	in := vs(x)
	switch {
	case len(axes) == 0:
	case b.opset >= reduceAxesInput[op]:
		in = append(in, b.Ints(axes...))
	default:
		attrs = append(attrs, graph.Is("axes", axes...))
	}
	return b.Op(op, in, attrs...)
}

// Sum reduces over axes (all if none), removing them.
func (b *Builder) Sum(x *graph.Value, axes ...int64) *graph.Value {
	return b.Reduce("ReduceSum", x, false, axes...)
}

// SumKeep reduces over axes, keeping them with size 1.
func (b *Builder) SumKeep(x *graph.Value, axes ...int64) *graph.Value {
	return b.Reduce("ReduceSum", x, true, axes...)
}

// Compare applies "Equal", "Less", "LessOrEqual", "Greater" or "GreaterOrEqual".
func (b *Builder) Compare(op string, x, y *graph.Value) *graph.Value { return b.Op(op, vs(x, y)) }

// If evaluates one of two branches that give the same number and types of outputs, lazily. A branch may return values
// of the enclosing graph.
func (b *Builder) If(cond *graph.Value, then, otherwise func(*Builder) []*graph.Value) []*graph.Value {
	tb, eb := b.Nested("then"), b.Nested("else")
	t, e := then(tb), otherwise(eb)
	tb.Graph.SetOutputs(t...)
	eb.Graph.SetOutputs(e...)
	for _, err := range []error{tb.Err(), eb.Err()} {
		if err != nil {
			b.Fail(err)
		}
	}
	n := b.Node("", "If", vs(cond), len(t), graph.G("then_branch", tb.Graph), graph.G("else_branch", eb.Graph))
	return slices.Clone(n.Outputs()) // callers change their list
}

// Tag emits a tag operator of the asdl domain with one output.
func (b *Builder) Tag(op string, in []*graph.Value, attrs ...graph.Attr) *graph.Value {
	return b.Node(graph.Asdl, op, in, 1, attrs...).Out(0)
}

// Call calls a model-local function of the asdl domain.
func (b *Builder) Call(name string, outputs int, in []*graph.Value, attrs ...graph.Attr) []*graph.Value {
	return b.Node(graph.Asdl, name, in, outputs, attrs...).Outputs()
}
