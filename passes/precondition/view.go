package precondition

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// view is how the parameters of a layer look as matrices: Ŵ = [W | b], o x i+, of which the layer multiplies inputs a with
// a coordinate of ones appended. A convolution has one for each of its groups. Matrices of a layer with one group have
// two dimensions, [o, i+]; of one with more, three: [groups, o, i+].
type view struct {
	*viewKind
	l               pass.Layer
	joint           bool  // the bias is the last column of Ŵ; else it is apart
	groups, in, out int64 // sides of a group's Ŵ; in counts the coordinate of ones
}

// viewKind is a row of the table of layer kinds with a view.
type viewKind struct {
	Kind string
	// sides are the number of groups, and of inputs and outputs of each.
	sides func(l pass.Layer) (groups, in, out int64)
	// inputs brings layer inputs to [N, groups*i], or [N, P, groups*i] where the layer is used at several positions of an
	// example; with pool, their mean over positions. outputs brings output gradients to the same form with o for i; with
	// pool, their sum over positions.
	inputs  func(b *op.Builder, l pass.Layer, pool bool) *graph.Value
	outputs func(b *op.Builder, l pass.Layer, g *graph.Value, pool bool) *graph.Value
	// matrix brings a tensor of the weight's shape to [groups*o, i], and weight is the inverse.
	matrix func(b *op.Builder, l pass.Layer, w *graph.Value) *graph.Value
	weight func(b *op.Builder, l pass.Layer, m, like *graph.Value) *graph.Value
	// perPosition says that ASDL divides A by the number of positions.
	perPosition bool
}

var viewKinds = []viewKind{
	{graph.LayerLinear, linearSides, linearInputs, linearOutputs, linearMatrix, linearWeight, false},
	{graph.LayerConv, convSides, convInputs, convOutputs, convMatrix, convWeight, true},
	{graph.LayerConvT, convTSides, convInputs, convOutputs, convTMatrix, convTWeight, true},
}

func viewKindOf(kind string) *viewKind {
	for i := range viewKinds {
		if viewKinds[i].Kind == kind {
			return &viewKinds[i]
		}
	}
	panic("BUG: no view of layers of kind " + kind)
}

// viewSides are the number of groups of a layer, and of inputs and outputs of each.
func viewSides(l pass.Layer) (groups, in, out int64) { return viewKindOf(l.Kind).sides(l) }

// viewOf is the view of a layer of one of the kinds of the table.
func (e *engine) viewOf(l pass.Layer) view {
	v := view{viewKind: viewKindOf(l.Kind), l: l, joint: l.B != nil && e.rec.Representation.Bias != "output"}
	v.groups, v.in, v.out = v.sides(l)
	if v.joint {
		v.in++
	}
	return v
}

// shape is that of a tensor with one matrix of these sides for each group.
func (v view) shape(sides ...int64) []int64 {
	if v.groups > 1 {
		return append([]int64{v.groups}, sides...)
	}
	return sides
}

// byGroup brings [..., groups*n] to rows [R, n], or [groups, R, n].
func (v view) byGroup(b *op.Builder, x *graph.Value, n int64) *graph.Value {
	if x.Type.Rank() != 2 {
		x = b.Reshape(x, -1, v.groups*n)
	}
	if v.groups == 1 {
		return x
	}
	return b.Transpose(b.Reshape(x, -1, v.groups, n), 1, 0, 2)
}

// plain is the number of inputs of a group without the coordinate of ones.
func (v view) plain() int64 {
	if v.joint {
		return v.in - 1
	}
	return v.in
}

// rowsIn lists the inputs of a use of the layer, [R, i] or [groups, R, i], one row an example and position; under sharing
// reduce, their mean over positions (Eschenhagen et al. 2023). The coordinate of ones is not among them.
func (v view) rowsIn(e *engine, b *op.Builder, l pass.Layer) *graph.Value {
	return v.byGroup(b, v.inputs(b, l, e.reduces()), v.plain())
}

// rowsOut lists output gradients in the same way; under sharing reduce, their sum over positions.
func (v view) rowsOut(e *engine, b *op.Builder, l pass.Layer, g *graph.Value) *graph.Value {
	return v.byGroup(b, v.outputs(b, l, g, e.reduces()), v.out)
}

// meanIn is the mean over all uses of the rows of inputs, with the coordinate of ones: [1, i+] or [groups, 1, i+].
func (v view) meanIn(e *engine, b *op.Builder, uses []pass.Layer) *graph.Value {
	var sum, count *graph.Value
	for _, l := range uses {
		x := v.rowsIn(e, b, l)
		axis := x.Type.Rank() - 2
		sum, count = plus(b, sum, b.SumKeep(x, int64(axis))), plus(b, count, b.CountOf(x, e.elem, axis))
	}
	return v.withOnes(b, b.Div(sum, count))
}

// sumOut is the sum of the rows of output gradients, or of what else has the shape of the outputs: [1, o] or [groups, 1, o].
// Positions first: so the sum needs no rows.
func (v view) sumOut(b *op.Builder, l pass.Layer, g *graph.Value) *graph.Value {
	rows := v.byGroup(b, v.outputs(b, l, g, true), v.out)
	return b.SumKeep(rows, int64(rows.Type.Rank()-2))
}

func (e *engine) reduces() bool { return e.rec.Curvature.Sharing == "reduce" }

// withOnes appends the coordinate of ones to rows, if there is one.
func (v view) withOnes(b *op.Builder, rows *graph.Value) *graph.Value {
	if !v.joint {
		return rows
	}
	axis := int64(rows.Type.Rank() - 1)
	one := b.OnesLike(b.Slice(rows, []int64{0}, []int64{1}, []int64{axis}))
	return b.Concat(axis, rows, one)
}

// gradient is Ĝ, [o, i+] or [groups, o, i+], from the gradients of weight and bias.
func (v view) gradient(b *op.Builder, grads []*graph.Value) *graph.Value {
	m := v.matrix(b, v.l, grads[0])
	if v.groups > 1 {
		m = b.Reshape(m, v.groups, v.out, -1)
	}
	if !v.joint {
		return m
	}
	return b.Concat(int64(m.Type.Rank()-1), m, b.Reshape(grads[1], v.shape(v.out, 1)...))
}

// parameters is the inverse of gradient; with a bias apart, bias is its direction.
func (v view) parameters(b *op.Builder, m, bias *graph.Value, grads []*graph.Value) []*graph.Value {
	if v.joint {
		parts := b.Split(m, int64(m.Type.Rank()-1), v.in-1, 1)
		m, bias = parts[0], b.ReshapeLike(parts[1], grads[1])
	}
	if v.groups > 1 {
		m = b.Reshape(m, v.groups*v.out, -1)
	}
	dirs := []*graph.Value{v.weight(b, v.l, m, grads[0])}
	if bias != nil {
		dirs = append(dirs, bias)
	}
	return dirs
}

// gram is x^T x over the rows of [..., R, n].
func gram(b *op.Builder, x *graph.Value) *graph.Value {
	if x.Type.Rank() == 2 {
		return b.Gemm(x, x, true, false)
	}
	return b.MatMul(b.Swap(x), x)
}

// Linear layers: W is [o, i], or [i, o] in layout io.

func linearSides(l pass.Layer) (groups, in, out int64) {
	if l.Node.Str("layout", "oi") == "io" {
		return 1, side(l.W, 0), side(l.W, 1)
	}
	return 1, side(l.W, 1), side(l.W, 0)
}

func linearInputs(b *op.Builder, l pass.Layer, pool bool) *graph.Value {
	_, in, _ := linearSides(l)
	x := examplesFirst(b, l, l.X)
	if x.Type.Rank() > 2 && pool {
		x = b.Reduce("ReduceMean", x, false, middle(x)...)
	}
	return positions(b, x, in)
}

func linearOutputs(b *op.Builder, l pass.Layer, g *graph.Value, pool bool) *graph.Value {
	_, _, out := linearSides(l)
	g = examplesFirst(b, l, g)
	if g.Type.Rank() > 2 && pool {
		g = b.Sum(g, middle(g)...)
	}
	return positions(b, g, out)
}

// examplesFirst brings the dimension of the examples to the front: that of the logits' first one, where x has it elsewhere,
// as in networks that take sequences first.
func examplesFirst(b *op.Builder, l pass.Layer, x *graph.Value) *graph.Value {
	at := examplesAxis(l, x)
	if at == 0 {
		return x
	}
	perm := []int64{int64(at)}
	for i := range x.Type.Rank() {
		if i != at {
			perm = append(perm, int64(i))
		}
	}
	return b.Transpose(x, perm...)
}

func examplesAxis(l pass.Layer, x *graph.Value) int {
	rank := x.Type.Rank()
	if rank < 3 {
		return 0
	}
	losses := pass.Tags(l.Node.Graph(), graph.TagLoss)
	if len(losses) == 0 || losses[0].In(1).Type.Rank() < 1 {
		return 0
	}
	examples := losses[0].In(1).Type.Dims[0]
	if examples.IsUnknown() {
		return 0
	}
	return max(0, slices.Index(x.Type.Dims[:rank-1], examples))
}

// positionsOf is the number of positions at which an example uses a layer, where it is known.
func positionsOf(l pass.Layer) (int64, bool) {
	n, at, last := int64(1), 0, l.Out.Type.Rank()-1
	skip := []int{last} // channels
	if l.Kind == graph.LayerLinear {
		at = examplesAxis(l, l.Out)
	} else {
		skip = []int{1}
	}
	for i, d := range l.Out.Type.Dims {
		if i == at || slices.Contains(skip, i) {
			continue
		}
		size, ok := d.Size()
		if !ok {
			return 0, false
		}
		n *= size
	}
	return n, true
}

func middle(x *graph.Value) []int64 {
	var axes []int64
	for i := 1; i < x.Type.Rank()-1; i++ {
		axes = append(axes, int64(i))
	}
	return axes
}

// positions brings [N, ..., n] to [N, n] or [N, P, n].
func positions(b *op.Builder, x *graph.Value, n int64) *graph.Value {
	switch x.Type.Rank() {
	case 1:
		return b.Unsqueeze(x, 0)
	case 2, 3:
		return x
	}
	return b.Reshape(x, 0, -1, n)
}

func linearMatrix(b *op.Builder, l pass.Layer, w *graph.Value) *graph.Value {
	if l.Node.Str("layout", "oi") == "io" {
		return b.Transpose(w, 1, 0)
	}
	return w
}

func linearWeight(b *op.Builder, l pass.Layer, m, _ *graph.Value) *graph.Value {
	return linearMatrix(b, l, m)
}

// Convolutions: W is [o, i/groups, kernel...]; of transposed ones, [i, o/groups, kernel...].

func convSides(l pass.Layer) (groups, in, out int64) {
	groups, in = l.Node.Int("group", 1), 1
	for i := 1; i < l.W.Type.Rank(); i++ {
		in *= side(l.W, i)
	}
	return groups, in, side(l.W, 0) / groups
}

func convTSides(l pass.Layer) (groups, in, out int64) {
	groups = l.Node.Int("group", 1)
	in = side(l.W, 0) / groups
	for i := 2; i < l.W.Type.Rank(); i++ {
		in *= side(l.W, i)
	}
	return groups, in, side(l.W, 1)
}

// convInputs lists the patches of which each output position is a linear function, ordered (channel, kernel positions).
func convInputs(b *op.Builder, l pass.Layer, pool bool) *graph.Value {
	p := patches(b, l)
	if pool {
		return b.Reduce("ReduceMean", p, false, spatial(p)...)
	}
	groups, in, _ := convolutionSides(l)
	return channelsLast(b, p, groups*in)
}

func convolutionSides(l pass.Layer) (groups, in, out int64) {
	if l.Kind == graph.LayerConvT {
		return convTSides(l)
	}
	return convSides(l)
}

func convOutputs(b *op.Builder, l pass.Layer, g *graph.Value, pool bool) *graph.Value {
	if pool {
		return b.Sum(g, spatial(g)...)
	}
	groups, _, out := convolutionSides(l)
	return channelsLast(b, g, groups*out)
}

func spatial(x *graph.Value) []int64 {
	var axes []int64
	for i := 2; i < x.Type.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	return axes
}

// channelsLast brings [N, C, ...] to [N, P, C].
func channelsLast(b *op.Builder, x *graph.Value, channels int64) *graph.Value {
	if x.Type.Rank() > 3 {
		x = b.Reshape(x, 0, channels, -1)
	}
	return b.Transpose(x, 0, 2, 1)
}

func convMatrix(b *op.Builder, _ pass.Layer, w *graph.Value) *graph.Value {
	return b.Reshape(w, side(w, 0), -1)
}

func convWeight(b *op.Builder, _ pass.Layer, m, like *graph.Value) *graph.Value {
	return b.ReshapeLike(m, like)
}

// convTSplit says [groups, i, o, kernel...] of a transposed convolution's weight, and the permutation to [groups, o, i, kernel...],
// which is its own inverse.
func convTSplit(l pass.Layer, w *graph.Value) (shape, perm []int64) {
	groups := l.Node.Int("group", 1)
	shape = []int64{groups, side(w, 0) / groups, side(w, 1)}
	perm = []int64{0, 2, 1}
	for i := 2; i < w.Type.Rank(); i++ {
		shape, perm = append(shape, side(w, i)), append(perm, int64(i+1))
	}
	return shape, perm
}

func convTMatrix(b *op.Builder, l pass.Layer, w *graph.Value) *graph.Value {
	shape, perm := convTSplit(l, w)
	return b.Reshape(b.Transpose(b.Reshape(w, shape...), perm...), shape[0]*shape[2], -1)
}

func convTWeight(b *op.Builder, l pass.Layer, m, like *graph.Value) *graph.Value {
	shape, perm := convTSplit(l, like)
	shape[1], shape[2] = shape[2], shape[1]
	return b.ReshapeLike(b.Transpose(b.Reshape(m, shape...), perm...), like)
}

// patches is [N, C*k, ...]: what each output position of a convolution sees, by a convolution with one-hot filters; for a
// transposed one, what contributes to it, by a transposed convolution with them.
func patches(b *op.Builder, l pass.Layer) *graph.Value {
	kernel := l.Node.IntList("kernel_shape")
	k, channels := int64(1), side(l.W, 1)*l.Node.Int("group", 1)
	for _, n := range kernel {
		k *= n
	}
	shape, names := append([]int64{k, 1}, kernel...), []string{"strides", "pads", "dilations"}
	if l.Kind == graph.LayerConvT {
		shape[0], shape[1], channels = 1, k, side(l.W, 0)
		names = append(names, "output_padding")
	}
	// filters [k, 1, kernel...] of one channel; [1, k, kernel...] where transposed
	eyes, err := graph.NewTensor(l.W.Type.Elem, shape...)
	if err != nil {
		b.Fail(err)
		return l.X
	}
	for i := range k {
		setOne(eyes, int(i*k+i))
	}
	filters := b.Const("patches", eyes)
	if channels > 1 {
		repeats := make([]int64, len(shape))
		for i := range repeats {
			repeats[i] = 1
		}
		repeats[0] = channels
		filters = b.Op("Tile", []*graph.Value{filters, b.Ints(repeats...)})
	}
	attrs := []graph.Attr{graph.I("group", channels), graph.Is("kernel_shape", kernel...)}
	for _, name := range names {
		if v := l.Node.IntList(name); v != nil {
			attrs = append(attrs, graph.Is(name, v...))
		}
	}
	if l.Kind == graph.LayerConvT {
		return b.Op("ConvTranspose", []*graph.Value{l.X, filters}, attrs...)
	}
	return b.Op("Conv", []*graph.Value{l.X, filters}, attrs...)
}

func setOne(t *graph.Tensor, i int) {
	if t.Elem == graph.Float64 {
		graph.Data[float64](t)[i] = 1
		return
	}
	graph.Data[float32](t)[i] = 1
}
