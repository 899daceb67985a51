package cleanup

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

type apply = func(n *site) *graph.Value

// number is the value of a constant of one element. The initializer behind a Param tag, which alone uses it, is none.
func number(v *graph.Value) (x float64, ok bool) {
	if v == nil || !v.IsInitializer() || v.Const().Len() != 1 {
		return 0, false
	}
	if f, ok := v.Const().Float64s(); ok {
		return f[0], true
	}
	if i, ok := v.Const().Int64s(); ok {
		return float64(i[0]), true
	}
	return 0, false
}

// neutral reports whether c is the number and does not widen the shape of x.
func neutral(x, c *graph.Value, want float64) bool {
	got, ok := number(c)
	return ok && got == want && x != nil && x.Type.Ranked && c.Type.Rank() <= x.Type.Rank()
}

// right: the second operand is neutral.
func right(want float64) apply {
	return func(n *site) *graph.Value {
		if neutral(n.In(0), n.In(1), want) {
			return n.In(0)
		}
		return nil
	}
}

// either: one of the operands is neutral.
func either(want float64) apply {
	return func(n *site) *graph.Value {
		if neutral(n.In(1), n.In(0), want) {
			return n.In(1)
		}
		return right(want)(n)
	}
}

// factor splits a product into a floating-point value and a number that does not widen its shape.
func factor(n *graph.Node) (x *graph.Value, c float64, ok bool) {
	if n == nil || !n.Is("", "Mul") || !n.Out(0).Type.Elem.IsFloat() {
		return nil, 0, false
	}
	for i, v := range n.Inputs() {
		other := n.In(1 - i)
		if c, ok := number(v); ok && other.Type.Ranked && v.Type.Rank() <= other.Type.Rank() {
			return other, c, true
		}
	}
	return nil, 0, false
}

func mulChain(n *site) *graph.Value {
	y, outer, ok := factor(n.Node)
	if !ok || len(y.Uses()) != 1 || y.IsOutput() {
		return nil
	}
	x, inner, ok := factor(y.Def())
	c := outer * inner
	if !ok || c == 0 || math.IsInf(c, 0) || math.IsNaN(c) || n.Out(0).Type.Elem != graph.Float32 && n.Out(0).Type.Elem != graph.Float64 {
		return nil
	}
	if n.Out(0).Type.Elem == graph.Float32 && (math.Abs(c) > math.MaxFloat32 || math.Abs(c) < 1e-37) {
		return nil
	}
	b := n.build()
	return b.Mul(x, b.FloatLike(x, c))
}

// inverse: the operator undoes itself.
func inverse(name string) apply {
	return func(n *site) *graph.Value {
		if d := n.In(0).Def(); d != nil && d.Is("", name) {
			return d.In(0)
		}
		return nil
	}
}

// permutation of a Transpose; nil if the rank is not known.
func permutation(n *graph.Node) []int64 {
	if perm := n.IntList("perm"); perm != nil {
		return perm
	}
	if !n.In(0).Type.Ranked {
		return nil
	}
	perm := []int64{}
	for i := n.In(0).Type.Rank() - 1; i >= 0; i-- {
		perm = append(perm, int64(i))
	}
	return perm
}

func sorted(perm []int64) bool { return perm != nil && slices.IsSorted(perm) }

func transposeNothing(n *site) *graph.Value {
	if sorted(permutation(n.Node)) {
		return n.In(0)
	}
	return nil
}

func transposeTwice(n *site) *graph.Value {
	d := n.In(0).Def()
	if d == nil || !d.Is("", "Transpose") {
		return nil
	}
	outer, inner := permutation(n.Node), permutation(d)
	if outer == nil || len(outer) != len(inner) {
		return nil
	}
	perm := make([]int64, len(outer))
	for i, p := range outer {
		perm[i] = inner[p]
	}
	if sorted(perm) {
		return d.In(0)
	}
	return n.build().Transpose(d.In(0), perm...)
}

func gatherFirst(n *site) *graph.Value {
	d, indices := n.In(0).Def(), n.In(1)
	if d == nil || !d.Is("", "Transpose") || !indices.Type.Ranked || indices.Type.Rank() != 1 {
		return nil
	}
	perm, axis := permutation(d), n.Int("axis", 0)
	if axis < 0 {
		axis += int64(len(perm))
	}
	if perm == nil || axis >= int64(len(perm)) {
		return nil
	}
	parts, ok1 := indices.Type.Dims[0].Size()
	whole, ok2 := n.In(0).Type.Dims[axis].Size()
	if !ok1 || !ok2 || parts > whole {
		return nil
	}
	b := n.build()
	return b.Transpose(b.Gather(d.In(0), indices, perm[axis]), perm...)
}

func sameTypeOut(n *site) *graph.Value {
	if op.SameShape(n.In(0), n.Out(0)) {
		return n.In(0)
	}
	return nil
}

func reshapeTwice(n *site) *graph.Value {
	d := n.In(0).Def()
	if d == nil || !d.Is("", "Reshape") || !n.In(1).IsInitializer() || n.Int("allowzero", 0) != 0 {
		return nil
	}
	shape, ok := n.In(1).Const().Int64s()
	if !ok || slices.Contains(shape, 0) { // a 0 copies a dimension of what the first Reshape gives
		return nil
	}
	return n.build().ReshapeTo(d.In(0), n.In(1))
}

func castNothing(n *site) *graph.Value {
	if n.In(0).Type.Elem == graph.Elem(n.Int("to", 0)) {
		return n.In(0)
	}
	return nil
}

// wider lists the types that hold every value of a type.
var wider = map[graph.Elem][]graph.Elem{
	graph.Float32:  {graph.Float64},
	graph.Float16:  {graph.Float32, graph.Float64},
	graph.BFloat16: {graph.Float32, graph.Float64},
	graph.Int32:    {graph.Int64, graph.Float64},
	graph.Uint8:    {graph.Int32, graph.Int64, graph.Float32, graph.Float64},
	graph.Int8:     {graph.Int32, graph.Int64, graph.Float32, graph.Float64},
	graph.Bool:     {graph.Uint8, graph.Int32, graph.Int64, graph.Float32, graph.Float64},
}

func castBack(n *site) *graph.Value {
	d := n.In(0).Def()
	if d == nil || !d.Is("", "Cast") {
		return nil
	}
	x, to := d.In(0), graph.Elem(n.Int("to", 0))
	if x.Type.Elem == to && slices.Contains(wider[to], n.In(0).Type.Elem) {
		return x
	}
	return nil
}

// undo: the input comes from an operator with the same second input that does the opposite.
func undo(opposite string) apply {
	return func(n *site) *graph.Value {
		d := n.In(0).Def()
		if d == nil || !d.Is("", opposite) || n.In(1) == nil || d.In(1) == nil {
			return nil
		}
		if a, b := n.In(1), d.In(1); a == b || a.IsInitializer() && b.IsInitializer() && a.Const().Equal(b.Const()) {
			return d.In(0)
		}
		return nil
	}
}

func single(n *site) *graph.Value {
	if len(n.Inputs()) == 1 {
		return n.In(0)
	}
	return nil
}
