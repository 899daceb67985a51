package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// reduceRules are the rows of reductions.
func reduceRules() []Rule {
	return append([]Rule{
		{Op: "ReduceSum", Kind: Linear, Diff: only0, VJP: vjpReduceSum},
		{Op: "ReduceMean", Kind: Linear, Diff: only0, VJP: vjpReduceMean},
		{Op: "ReduceMax", Kind: Smooth, Diff: only0, VJP: vjpReduceMax, JVP: jvpReduceMax},
		{Op: "ReduceMin", Kind: Smooth, Diff: only0, VJP: vjpReduceMax, JVP: jvpReduceMax},
		{Op: "ReduceSumSquare", Kind: Smooth, Diff: only0, VJP: pullOf(sumSquare), JVP: pushOf(sumSquare)},
		{Op: "ReduceL1", Kind: Smooth, Diff: only0, VJP: pullOf(sumAbs), JVP: pushOf(sumAbs)},
		{Op: "ReduceL2", Kind: Smooth, Diff: only0, VJP: vjpReduceL2, JVP: jvpReduceL2},
		{Op: "ReduceLogSum", Kind: Smooth, Diff: only0, VJP: pullOf(logSum), JVP: pushOf(logSum)},
		{Op: "ReduceLogSumExp", Kind: Smooth, Diff: only0, VJP: vjpLogSumExp, JVP: jvpLogSumExp},
		{Op: "ReduceProd", Kind: Smooth, Diff: only0, VJP: vjpReduceProd, JVP: jvpReduceProd},
	}, zeroRows("", "ArgMax", "ArgMin")...)
}

// reduceWith applies another reduction over the node's axes.
func (c *Call) reduceWith(name string, x *graph.Value, keep bool) *graph.Value {
	if axes, ok := c.reducedAxes(); ok {
		if axes != nil && len(axes) == 0 { // reduces nothing
			return x
		}
		return c.Reduce(name, x, keep, axes...)
	}
	// Axes that are not constant: only the form with an axes input has them.
	attrs := []graph.Attr{graph.I("keepdims", b2i(keep)), graph.I("noop_with_empty_axes", c.N.Int("noop_with_empty_axes", 0))}
	if name != "ReduceSum" && c.Opset() < 18 {
		c.unsupported("axes that are not constant need opset 18; use --opset 18")
		return x
	}
	return c.Op(name, []*graph.Value{x, c.In(1)}, attrs...)
}

// reducedAxes is the axes of a reduction: nil for all, empty for none; ok is false if they are not constant.
func (c *Call) reducedAxes() (axes []int64, ok bool) {
	if a, has := c.N.Attr("axes"); has {
		axes = a.Ints
	} else if c.In(1) != nil {
		if axes, ok = constInts(c.In(1)); !ok {
			return nil, false
		}
	}
	if len(axes) > 0 {
		return axes, true
	}
	if c.N.Int("noop_with_empty_axes", 0) != 0 {
		return []int64{}, true
	}
	return nil, true
}

func (c *Call) keepsDims() bool { return c.N.Int("keepdims", 1) != 0 }

// kept is v, of output 0's shape, with the reduced dimensions put back as 1.
func (c *Call) kept(v *graph.Value) *graph.Value {
	x := c.In(0)
	axes, ok := c.reducedAxes()
	if c.keepsDims() || (axes != nil && len(axes) == 0) {
		return v
	}
	switch {
	case ok && axes != nil:
		return c.Unsqueeze(v, axes...)
	case ok && x.Type.Ranked:
		ones := make([]int64, x.Type.Rank())
		for i := range ones {
			ones[i] = 1
		}
		return c.Reshape(v, ones...)
	}
	return c.reshapeZero(v, c.Shape(c.reduceWith("ReduceSum", x, true)))
}

// outLike reduces t like the node does, by another reduction.
func (c *Call) outLike(name string, t *graph.Value) *graph.Value {
	return c.reduceWith(name, t, c.keepsDims())
}

func vjpReduceSum(c *Call) []*graph.Value {
	return []*graph.Value{c.ExpandLike(c.kept(c.d(0)), c.In(0))}
}

func vjpReduceMean(c *Call) []*graph.Value {
	return []*graph.Value{c.ExpandLike(c.kept(c.Div(c.d(0), c.reducedCount())), c.In(0))}
}

// reducedCount is how many elements of the input make one of the output, a scalar.
func (c *Call) reducedCount() *graph.Value {
	x := c.In(0)
	elem := x.Type.Elem
	axes, ok := c.reducedAxes()
	switch {
	case ok && axes == nil:
		return c.CountOf(x, elem)
	case ok && len(axes) == 0:
		return c.Float(elem, 1)
	case ok && x.Type.Ranked:
		at := make([]int, len(axes))
		for i, a := range axes {
			at[i] = int(axis(a, x.Type.Rank()))
		}
		return c.CountOf(x, elem, at...)
	}
	return c.Div(c.CountOf(x, elem), c.CountOf(c.Out(0), elem))
}

// extremes is which elements equal the maximum (or minimum) of their group, as 0 or 1, and how many of the group do.
func (c *Call) extremes() (hit, count *graph.Value) {
	x := c.In(0)
	hit = c.Cast(c.Compare("Equal", x, c.kept(c.Out(0))), x.Type.Elem)
	return hit, c.outLike("ReduceSum", hit)
}

func vjpReduceMax(c *Call) []*graph.Value {
	hit, count := c.extremes()
	return []*graph.Value{c.Mul(hit, c.kept(c.Div(c.d(0), count)))}
}

func jvpReduceMax(c *Call) []*graph.Value {
	hit, count := c.extremes()
	return []*graph.Value{c.Div(c.outLike("ReduceSum", c.Mul(hit, c.d(0))), count)}
}

func sumSquare(c *Call) []*graph.Value {
	return []*graph.Value{c.outLike("ReduceSum", c.Square(c.In(0)))}
}

func sumAbs(c *Call) []*graph.Value {
	return []*graph.Value{c.outLike("ReduceSum", c.Unary("Abs", c.In(0)))}
}

func logSum(c *Call) []*graph.Value {
	return []*graph.Value{c.Unary("Log", c.outLike("ReduceSum", c.In(0)))}
}

// overNorm is v/y for the norm y, and 0 where the norm is 0.
func (c *Call) overNorm(v *graph.Value) *graph.Value {
	y := c.Out(0)
	zero := c.Compare("Equal", y, c.FloatLike(y, 0))
	return c.selectUnless(zero, c.Div(v, c.Where(zero, c.FloatLike(y, 1), y)))
}

func vjpReduceL2(c *Call) []*graph.Value {
	return []*graph.Value{c.Mul(c.In(0), c.kept(c.overNorm(c.d(0))))}
}

func jvpReduceL2(c *Call) []*graph.Value {
	return []*graph.Value{c.overNorm(c.outLike("ReduceSum", c.Mul(c.In(0), c.d(0))))}
}

// shares is exp(x - y): the softmax over the reduced axes.
func (c *Call) shares() *graph.Value {
	return c.Unary("Exp", c.Sub(c.In(0), c.kept(c.Out(0))))
}

func vjpLogSumExp(c *Call) []*graph.Value {
	return []*graph.Value{c.Mul(c.shares(), c.kept(c.d(0)))}
}

func jvpLogSumExp(c *Call) []*graph.Value {
	return []*graph.Value{c.outLike("ReduceSum", c.Mul(c.shares(), c.d(0)))}
}

// otherFactors is, for each element, the product of the others of its group. With one zero in the group that is the
// product of the rest at the zero and 0 elsewhere; with more it is 0.
func (c *Call) otherFactors() *graph.Value {
	x := c.In(0)
	one := c.FloatLike(x, 1)
	zero := c.Compare("Equal", x, c.FloatLike(x, 0))
	rest := c.Where(zero, one, x)
	product := c.reduceWith("ReduceProd", rest, true)
	zeros := c.reduceWith("ReduceSum", c.Cast(zero, x.Type.Elem), true)
	none := c.selectIf(c.Compare("Equal", zeros, c.FloatLike(x, 0)), product)
	single := c.selectIf(c.Compare("Equal", zeros, one), product)
	return c.Where(zero, single, c.Div(none, rest))
}

func vjpReduceProd(c *Call) []*graph.Value {
	return []*graph.Value{c.Mul(c.otherFactors(), c.kept(c.d(0)))}
}

func jvpReduceProd(c *Call) []*graph.Value {
	return []*graph.Value{c.outLike("ReduceSum", c.Mul(c.otherFactors(), c.d(0)))}
}
