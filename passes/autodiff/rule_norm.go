package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// normRules are the rows of the normalisations y = scale * xhat + bias, where xhat is x shifted and scaled to mean 0
// and variance 1 over some axes.
func normRules() []Rule {
	return []Rule{
		{Op: "BatchNormalization", Kind: Smooth, Diff: 1<<5 - 1, VJP: vjpBatchNorm, JVP: jvpBatchNorm},
		{Op: "LayerNormalization", Kind: Smooth, Diff: first3, VJP: vjpLayerNorm, JVP: jvpLayerNorm},
		{Op: "InstanceNormalization", Kind: Smooth, Diff: first3, VJP: pullOf(instanceNorm), JVP: pushOf(instanceNorm)},
		{Op: "GroupNormalization", Kind: Smooth, Diff: first3, VJP: pullOf(groupNorm), JVP: pushOf(groupNorm)},
		{Op: "RMSNormalization", Kind: Smooth, Diff: first2, VJP: pullOf(rmsNorm), JVP: pushOf(rmsNorm)},
		{Op: "LpNormalization", Kind: Smooth, Diff: only0, VJP: pullOf(lpNorm), JVP: pushOf(lpNorm)},
		{Op: "MeanVarianceNormalization", Kind: Smooth, Diff: only0, VJP: pullOf(meanVariance), JVP: pushOf(meanVariance)},
		{Op: "LRN", Kind: Smooth, Diff: only0, VJP: pullOf(lrn), JVP: pushOf(lrn)},
	}
}

// whitened is x normalised over axes: xhat = (x - mean) * inv, inv = 1/sqrt(var + eps), with the population variance.
type whitened struct {
	c            *Call
	axes         []int64
	centred, inv *graph.Value
	normal       *graph.Value // xhat once it is asked for
}

func (c *Call) whiten(x *graph.Value, eps float64, axes ...int64) *whitened {
	centred := c.Sub(x, c.mean(x, axes))
	variance := c.mean(c.Square(centred), axes)
	inv := c.Unary("Reciprocal", c.Sqrt(c.Add(variance, c.FloatLike(x, eps))))
	return &whitened{c: c, axes: axes, centred: centred, inv: inv}
}

func (c *Call) mean(x *graph.Value, axes []int64) *graph.Value {
	return c.Reduce("ReduceMean", x, true, axes...)
}

// xhat is the whitened x.
func (w *whitened) xhat() *graph.Value {
	if w.normal == nil {
		w.normal = w.c.Mul(w.centred, w.inv)
	}
	return w.normal
}

// slope multiplies by the Jacobian of xhat in x, which is symmetric: inv * (g - mean(g) - xhat * mean(g*xhat)).
// Ioffe & Szegedy 2015 (arXiv:1502.03167), section 3.
func (w *whitened) slope(g *graph.Value) *graph.Value {
	c := w.c
	along := c.Mul(w.xhat(), c.mean(c.Mul(g, w.xhat()), w.axes))
	return c.Mul(w.inv, c.Sub(c.Sub(g, c.mean(g, w.axes)), along))
}

// perChannel gives a vector of length C the shape [1, C, 1, ...] of rank dimensions.
func (c *Call) perChannel(v *graph.Value, rank int) *graph.Value {
	if rank == 2 {
		return v
	}
	shape := []int64{-1}
	for range rank - 2 {
		shape = append(shape, 1)
	}
	return c.Reshape(v, shape...)
}

func vjpBatchNorm(c *Call) []*graph.Value {
	if c.N.Int("training_mode", 0) == 0 {
		return pullOf(frozenBatchNorm)(c)
	}
	x := c.In(0)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	axes := batchAxes(rank)
	w := c.whiten(x, c.attr("epsilon", 1e-5), axes...)
	ct := make([]*graph.Value, 5)
	if g := c.d(0); g != nil {
		// dx = a (g - mean(g) - xhat mean(g xhat)) with a = scale*inv, as one linear form in g and the centred x.
		sum, along := c.SumKeep(g, axes...), c.Mul(w.inv, c.SumKeep(c.Mul(g, w.centred), axes...))
		ct[1], ct[2] = c.Reshape(along, -1), c.Reshape(sum, -1)
		if c.wants(0) {
			a := c.Mul(c.perChannel(c.In(1), rank), w.inv)
			each := c.Div(a, c.CountOf(x, x.Type.Elem, ints(axes)...))
			dx := c.Sub(c.Mul(g, a), c.Mul(w.centred, c.Mul(each, c.Mul(along, w.inv))))
			ct[0] = c.Sub(dx, c.Mul(each, sum))
		}
	}
	if c.d(1) != nil || c.d(2) != nil {
		c.runningGrad(ct, w, rank)
	}
	return ct
}

// runningGrad adds the cotangents that come from the running statistics m*old + (1-m)*batch.
func (c *Call) runningGrad(ct []*graph.Value, w *whitened, rank int) {
	m := c.attr("momentum", 0.9)
	count := c.CountOf(c.In(0), c.In(0).Type.Elem, ints(w.axes)...)
	for k, part := range []*graph.Value{nil, c.Scale(w.centred, 2)} {
		g := c.d(1 + k)
		if g == nil {
			continue
		}
		if c.wants(3 + k) {
			ct[3+k] = c.Scale(g, m)
		}
		if !c.wants(0) {
			continue
		}
		each := c.perChannel(c.Div(c.Scale(g, 1-m), count), rank)
		if part != nil {
			each = c.Mul(each, part)
		}
		ct[0] = addAll(c.Builder, []*graph.Value{ct[0], c.ExpandLike(each, c.In(0))})
	}
}

func ints(v []int64) []int {
	out := make([]int, len(v))
	for i, n := range v {
		out[i] = int(n)
	}
	return out
}

func jvpBatchNorm(c *Call) []*graph.Value {
	if c.N.Int("training_mode", 0) == 0 {
		return pushOf(frozenBatchNorm)(c)
	}
	x, t := c.In(0), c.d(0)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	axes := batchAxes(rank)
	w := c.whiten(x, c.attr("epsilon", 1e-5), axes...)
	var terms [3]*graph.Value
	if t != nil {
		terms[0] = c.Mul(w.slope(t), c.perChannel(c.In(1), rank))
	}
	if s := c.d(1); s != nil {
		terms[1] = c.Mul(w.xhat(), c.perChannel(s, rank))
	}
	if b := c.d(2); b != nil {
		terms[2] = c.likeOut(c.perChannel(b, rank))
	}
	return []*graph.Value{addAll(c.Builder, terms[:]), c.runningTangent(w, 0), c.runningTangent(w, 1)}
}

// runningTangent is the tangent of the running mean (0) or variance (1).
func (c *Call) runningTangent(w *whitened, k int) *graph.Value {
	if c.Out(1+k) == nil {
		return nil
	}
	m := c.attr("momentum", 0.9)
	var terms [2]*graph.Value
	if t := c.d(3 + k); t != nil {
		terms[0] = c.Scale(t, m)
	}
	if t := c.d(0); t != nil {
		if k == 1 {
			t = c.Scale(c.Mul(t, w.centred), 2)
		}
		terms[1] = c.Scale(c.Reduce("ReduceMean", t, false, w.axes...), 1-m)
	}
	return addAll(c.Builder, terms[:])
}

// frozenBatchNorm is (x - mean) * scale/sqrt(var + eps) + bias with the running statistics.
func frozenBatchNorm(c *Call) []*graph.Value {
	x := c.In(0)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	v := c.In(4)
	scale := c.Div(c.In(1), c.Sqrt(c.Add(v, c.FloatLike(v, c.attr("epsilon", 1e-5)))))
	y := c.Mul(c.Sub(x, c.perChannel(c.In(3), rank)), c.perChannel(scale, rank))
	return []*graph.Value{c.Add(y, c.perChannel(c.In(2), rank))}
}

// layerNormed is the whitening of a LayerNormalization node: by its Mean and InvStdDev outputs where these have the
// precision of x, else computed again.
func (c *Call) layerNormed() *whitened {
	x := c.In(0)
	rank := x.Type.Rank()
	first := axis(c.N.Int("axis", -1), rank)
	axes := axesFrom(first, rank)
	if x.Type.Elem != graph.Float32 {
		return c.whiten(x, c.attr("epsilon", 1e-5), axes...)
	}
	stat := graph.TensorType(graph.Float32, append([]graph.Dim{}, x.Type.Dims...)...)
	for _, a := range axes {
		stat.Dims[a] = graph.Known(1)
	}
	mean, inv := c.extraOutput(1, "mean", stat), c.extraOutput(2, "inv_std", stat)
	centred := c.Sub(x, mean)
	return &whitened{c: c, axes: axes, centred: centred, inv: inv}
}

func vjpLayerNorm(c *Call) []*graph.Value {
	x := c.In(0)
	if x.Type.Rank() < 1 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	g, gm, gi := c.d(0), c.d(1), c.d(2)
	w := c.layerNormed()
	ct := make([]*graph.Value, 3)
	if g != nil {
		if c.wants(0) {
			ct[0] = w.slope(c.Mul(g, c.In(1)))
		}
		if c.wants(1) {
			ct[1] = c.unbroadcast(c.Mul(g, w.xhat()), c.In(1))
		}
		if c.wants(2) {
			ct[2] = c.unbroadcast(g, c.In(2))
		}
	}
	if !c.wants(0) || (gm == nil && gi == nil) {
		return ct
	}
	// mean' = t/D, inv' = -inv^2 xhat t/D
	var each *graph.Value
	if gi != nil {
		each = c.Neg(c.Mul(c.Mul(c.Cast(gi, x.Type.Elem), c.Square(w.inv)), w.xhat()))
	}
	if gm != nil {
		gm = c.Cast(gm, x.Type.Elem)
		if each != nil {
			each = c.Add(each, gm)
		} else {
			each = c.ExpandLike(gm, x)
		}
	}
	each = c.Div(each, c.CountOf(x, x.Type.Elem, ints(w.axes)...))
	ct[0] = addAll(c.Builder, []*graph.Value{ct[0], each})
	return ct
}

func jvpLayerNorm(c *Call) []*graph.Value {
	x := c.In(0)
	if x.Type.Rank() < 1 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	w := c.layerNormed()
	out := make([]*graph.Value, 3)
	var terms [3]*graph.Value
	if t := c.d(0); t != nil {
		terms[0] = c.Mul(w.slope(t), c.In(1))
		stat := func(i int, v *graph.Value) {
			if o := c.Out(i); o != nil {
				out[i] = c.Cast(v, o.Type.Elem)
			}
		}
		stat(1, c.mean(t, w.axes))
		stat(2, c.Neg(c.Mul(c.Square(w.inv), c.mean(c.Mul(t, w.xhat()), w.axes))))
	}
	if s := c.d(1); s != nil {
		terms[1] = c.Mul(w.xhat(), s)
	}
	if b := c.d(2); b != nil {
		terms[2] = c.likeOut(b)
	}
	out[0] = addAll(c.Builder, terms[:])
	return out
}

// instanceNorm normalises over the spatial axes.
func instanceNorm(c *Call) []*graph.Value {
	x := c.In(0)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	if rank == 2 { // no spatial axes: every value is its own mean
		return []*graph.Value{c.Add(c.Mul(c.Sub(x, x), c.In(1)), c.In(2))}
	}
	w := c.whiten(x, c.attr("epsilon", 1e-5), spatialAxes(rank)...)
	return []*graph.Value{c.Add(c.Mul(w.xhat(), c.perChannel(c.In(1), rank)), c.perChannel(c.In(2), rank))}
}

// groupNorm normalises over the channels of a group and the spatial axes (Wu & He 2018, arXiv:1803.08494). Scale and
// bias are per group before opset 21, per channel from there on.
func groupNorm(c *Call) []*graph.Value {
	x, groups := c.In(0), c.N.Int("num_groups", 0)
	rank := x.Type.Rank()
	if rank < 2 || groups < 1 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	eps := c.attr("epsilon", 1e-5)
	w := c.whiten(c.Reshape(x, 0, groups, -1), eps, 2)
	if c.Opset() < 21 {
		y := c.Add(c.Mul(w.xhat(), c.perChannel(c.In(1), 3)), c.perChannel(c.In(2), 3))
		return []*graph.Value{c.ReshapeTo(y, c.ShapeOf(x))}
	}
	xhat := c.ReshapeTo(w.xhat(), c.ShapeOf(x))
	return []*graph.Value{c.Add(c.Mul(xhat, c.perChannel(c.In(1), rank)), c.perChannel(c.In(2), rank))}
}

// rmsNorm is x / sqrt(mean(x^2) + eps) * scale (Zhang & Sennrich 2019, arXiv:1910.07467).
func rmsNorm(c *Call) []*graph.Value {
	x := c.In(0)
	rank := x.Type.Rank()
	if rank < 1 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	axes := axesFrom(axis(c.N.Int("axis", -1), rank), rank)
	root := c.Sqrt(c.Add(c.mean(c.Square(x), axes), c.FloatLike(x, c.attr("epsilon", 1e-5))))
	return []*graph.Value{c.Mul(c.Div(x, root), c.In(1))}
}
