package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// gatherRules are the rows of operators that pick or place elements by index.
func gatherRules() []Rule {
	return []Rule{
		{Op: "Gather", Kind: Linear, Diff: only0, VJP: vjpGather},
		{Op: "GatherElements", Kind: Linear, Diff: only0, VJP: vjpGatherElements},
		{Op: "GatherND", Kind: Linear, Diff: only0, VJP: vjpGatherND},
		{Op: "ScatterElements", Kind: Smooth, Diff: only0 | 1<<2, VJP: vjpScatter, JVP: jvpScatter},
		{Op: "ScatterND", Kind: Smooth, Diff: only0 | 1<<2, VJP: vjpScatter, JVP: jvpScatter},
		{Op: "TensorScatter", Kind: Linear, Diff: first2, VJP: vjpTensorScatter},
		{Op: "TopK", Kind: Smooth, Diff: only0, VJP: vjpTopK, JVP: jvpTopK},
		{Op: "OneHot", Kind: Linear, Diff: 1 << 2, VJP: pullOf(oneHot), JVP: pushOf(oneHot)},
		{Op: "Compress", Kind: Linear, Diff: only0, VJP: pullOf(compress), JVP: pushOf(compress)},
	}
}

// vjpGather adds the slices of g up where they were taken from.
func vjpGather(c *Call) []*graph.Value {
	x, indices, g := c.In(0), c.In(1), c.d(0)
	if !x.Type.Ranked || !indices.Type.Ranked {
		return c.unsupported("the rank of %s or %s is not known; fix the input shapes of the model", x, indices)
	}
	a, q := axis(c.N.Int("axis", 0), x.Type.Rank()), indices.Type.Rank()
	if at, ok := constInts(indices); ok && len(at) == 1 && q <= 1 {
		return []*graph.Value{c.placeSlice(x, g, a, at[0], q)}
	}
	// Bring the index axes to the front, where ScatterND counts.
	if a != 0 {
		toFront := append(spanAxes(a, q), spanAxes(0, int(a))...)
		g = c.Transpose(g, append(toFront, axesFrom(a+int64(q), x.Type.Rank()-1+q)...)...)
	}
	return []*graph.Value{c.scatterAlong(x, indices, g, a)}
}

// scatterAlong is zeros of x's shape with slices added up along axis a: g is [indices..., the other axes of x].
func (c *Call) scatterAlong(x, indices, g *graph.Value, a int64) *graph.Value {
	shape := append([]piece{c.dimPiece(x, int(a))}, c.otherAxes(x, int(a), int(a)+1)...)
	dx := c.scatterND(c.Full(c.shape(shape...), x.Type.Elem, 0), c.Unsqueeze(indices, -1), g)
	if a == 0 {
		return dx
	}
	back := append(spanAxes(1, int(a)), 0)
	return c.Transpose(dx, append(back, axesFrom(a+1, x.Type.Rank())...)...)
}

// spanAxes lists count axes from first on.
func spanAxes(first int64, count int) []int64 { return axesFrom(first, int(first)+count) }

// placeSlice is zeros of x's shape with g at one position of the axis; rank is that of the index.
func (c *Call) placeSlice(x, g *graph.Value, a, at int64, rank int) *graph.Value {
	if rank == 0 {
		g = c.Unsqueeze(g, a)
	}
	size := c.dimPiece(x, int(a))
	before, after := make([]piece, x.Type.Rank()), make([]piece, x.Type.Rank())
	switch {
	case size.v == nil:
		at = axis(at, int(size.n))
		before[a], after[a] = num(at), num(size.n-1-at)
	case at >= 0:
		before[a], after[a] = num(at), piece{v: c.Sub(size.v, c.Ints(at+1))}
	default:
		before[a], after[a] = piece{v: c.Add(size.v, c.Ints(at))}, num(-1-at)
	}
	return c.Op("Pad", []*graph.Value{g, c.shape(append(before, after...)...)})
}

// scatterND adds updates to data by index.
func (c *Call) scatterND(data, indices, updates *graph.Value) *graph.Value {
	return c.Op("ScatterND", []*graph.Value{data, c.Cast(indices, graph.Int64), updates}, graph.S("reduction", "add"))
}

// scatterElements adds updates to data by index along an axis.
func (c *Call) scatterElements(data, indices, updates *graph.Value, at int64) *graph.Value {
	return c.Op("ScatterElements", []*graph.Value{data, indices, updates}, graph.I("axis", at), graph.S("reduction", "add"))
}

func vjpGatherElements(c *Call) []*graph.Value {
	return []*graph.Value{c.scatterElements(c.ZerosLike(c.In(0)), c.In(1), c.d(0), c.N.Int("axis", 0))}
}

func vjpGatherND(c *Call) []*graph.Value {
	indices := c.In(1)
	if batch := int(c.N.Int("batch_dims", 0)); batch > 0 {
		if indices = c.batchIndices(batch); indices == nil {
			return nil
		}
	}
	return []*graph.Value{c.scatterND(c.ZerosLike(c.In(0)), indices, c.d(0))}
}

// batchIndices puts the batch coordinates before the indices of a GatherND with batch dimensions.
func (c *Call) batchIndices(batch int) *graph.Value {
	indices := c.In(1)
	rank := indices.Type.Rank()
	if rank < 1 {
		c.unsupported("the rank of %s is not known; fix the input shapes of the model", indices)
		return nil
	}
	var shape []piece
	for i := range rank - 1 {
		shape = append(shape, c.dimPiece(indices, i))
	}
	shape = append(shape, num(1))
	var parts []*graph.Value
	for i := range batch {
		line := make([]int64, rank)
		for j := range line {
			line[j] = 1
		}
		line[i] = -1
		parts = append(parts, c.Expand(c.Reshape(c.positions(indices, i), line...), c.shape(shape...)))
	}
	return c.Concat(int64(rank-1), append(parts, indices)...)
}

// vjpTensorScatter clears g where it was overwritten, and picks for the update what was written there.
func vjpTensorScatter(c *Call) []*graph.Value {
	x, update, g := c.In(0), c.In(1), c.d(0)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	ct := make([]*graph.Value, 2)
	if c.wants(0) {
		ct[0] = c.apply(g, c.ZerosLike(update), c.In(2))[0]
	}
	if c.wants(1) {
		at := axis(c.N.Int("axis", -2), rank)
		line := make([]int64, rank)
		for i := range line {
			line[i] = 1
		}
		line[at] = -1
		where := c.Reshape(c.positions(update, int(at)), line...)
		if first := c.In(2); first != nil {
			line[0], line[at] = -1, 1
			where = c.Add(where, c.Reshape(first, line...))
		}
		if c.N.Str("mode", "linear") == "circular" {
			where = c.Op("Mod", []*graph.Value{where, c.tensor(c.dimPiece(x, int(at)))})
		}
		ct[1] = c.Op("GatherElements", []*graph.Value{g, c.Expand(where, c.ShapeOf(update))}, graph.I("axis", at))
	}
	return ct
}

// topIndices is the second output of TopK.
func (c *Call) topIndices() *graph.Value {
	return c.extraOutput(1, "indices", c.Out(0).Type.WithElem(graph.Int64))
}

func vjpTopK(c *Call) []*graph.Value {
	if c.d(0) == nil {
		return nil
	}
	return []*graph.Value{c.scatterElements(c.ZerosLike(c.In(0)), c.topIndices(), c.d(0), c.N.Int("axis", -1))}
}

func jvpTopK(c *Call) []*graph.Value {
	at := graph.I("axis", c.N.Int("axis", -1))
	return []*graph.Value{c.Op("GatherElements", []*graph.Value{c.d(0), c.topIndices()}, at)}
}

// oneHot is off + (on - off) * onehot, for values [off, on].
func oneHot(c *Call) []*graph.Value {
	values := c.In(2)
	unit := c.Const("unit", graph.TensorOf([]int64{0, 1}, 2))
	hot := c.apply(c.In(0), c.In(1), c.Cast(unit, values.Type.Elem))[0]
	off := c.Slice(values, []int64{0}, []int64{1}, []int64{0})
	on := c.Slice(values, []int64{1}, []int64{2}, []int64{0})
	return []*graph.Value{c.Add(c.Mul(hot, c.Sub(on, off)), off)}
}

// compress gathers the positions where the condition holds.
func compress(c *Call) []*graph.Value {
	x := c.In(0)
	where := c.Reshape(c.Op("NonZero", []*graph.Value{c.In(1)}), -1)
	a, ok := c.N.Attr("axis")
	if !ok {
		return []*graph.Value{c.Gather(c.Reshape(x, -1), where, 0)}
	}
	return []*graph.Value{c.Gather(x, where, a.I)}
}
