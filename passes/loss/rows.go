package loss

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// safeLabels are labels with ignored ones replaced by 0, and the weight [R] of each row (nil: all count).
func safeLabels(b *op.Builder, s site, target *graph.Value) (labels, weight *graph.Value) {
	if s.ignore == nil {
		return target, nil
	}
	ok := counted(b, s, target)
	return b.Where(ok, target, b.Int(0)), b.Cast(ok, s.z.Type.Elem)
}

// oneHot is the smoothed one-hot label, times the weights of the classes: [R, C].
func oneHot(b *op.Builder, s site, labels *graph.Value, smoothing float64, weighted bool) *graph.Value {
	classes, _ := s.z.Type.Dims[1].Size()
	off, on := smoothing/float64(classes), 1-smoothing+smoothing/float64(classes)
	q := b.Op("OneHot", []*graph.Value{labels, b.Int(classes), vector(b, s.z.Type.Elem, off, on)}, graph.I("axis", 1))
	if weighted && s.classes != nil {
		q = b.Mul(q, vector(b, s.z.Type.Elem, s.classes...))
	}
	return q
}

func vector(b *op.Builder, e graph.Elem, x ...float64) *graph.Value {
	if e == graph.Float64 {
		return b.Const("c", graph.TensorOf(x, int64(len(x))))
	}
	narrow := make([]float32, len(x))
	for i, v := range x {
		narrow[i] = float32(v)
	}
	return b.Const("c", graph.TensorOf(narrow, int64(len(x))))
}

// share is the factor [R] of a row's loss beyond the classes' weights; nil: 1. It is 0 for ignored rows. The mean of a
// loss with class weights is over the sum of the labels' weights: a row's own share is the number of rows over that sum.
func share(b *op.Builder, s site, target *graph.Value) *graph.Value {
	labels, weight := safeLabels(b, s, target)
	if s.classes == nil || !s.averages() {
		return weight
	}
	e := s.z.Type.Elem
	each := b.Gather(vector(b, e, s.classes...), labels, 0)
	if weight == nil {
		weight = b.OnesLike(each)
	}
	s.target = target
	total := b.Op("Max", []*graph.Value{b.Sum(b.Mul(each, weight)), b.Float(e, 1e-30)}) // 0 where no label counts
	return b.Mul(weight, b.Div(countRows(b, s), total))
}

// scale is the factor [R, 1] of the Hessian of a row in its logits; nil: 1.
func scale(b *op.Builder, s site) *graph.Value {
	target := s.target
	if s.truth != nil {
		target = s.truth
	}
	v := share(b, s, target)
	if s.classes == nil {
		return v
	}
	labels, _ := safeLabels(b, s, target)
	mass := b.Sum(oneHot(b, s, labels, s.smoothing, true), 1)
	if v != nil {
		mass = b.Mul(mass, v)
	}
	return mass
}

// times scales rows by the root of their factor, or by 1 where there is none.
func times(b *op.Builder, g *graph.Value, s site) *graph.Value {
	v := scale(b, s)
	switch {
	case v == nil:
		return g
	case s.classes != nil:
		v = b.Sqrt(v)
	}
	return b.Mul(g, b.Unsqueeze(v, 1))
}

// crossEntropy is -(1-e) w_y log p_y - (e/C) sum_c w_c log p_c, with p the softmax of z, e the label smoothing, w the
// weights of the classes.
func crossEntropy(b *op.Builder, s site) *graph.Value {
	labels, weight := safeLabels(b, s, s.target)
	logp := b.Op("LogSoftmax", []*graph.Value{s.z}, graph.I("axis", 1))
	if s.classes != nil {
		return counting(b, s, b.Neg(b.Sum(b.Mul(oneHot(b, s, labels, s.smoothing, true), logp), 1)))
	}
	v := b.Neg(pick(b, logp, labels))
	if s.smoothing != 0 {
		uniform := b.Neg(b.Reduce("ReduceMean", logp, false, 1))
		v = b.Add(b.Scale(v, 1-s.smoothing), b.Scale(uniform, s.smoothing))
	}
	if weight != nil {
		v = b.Mul(v, weight)
	}
	return v
}

// pick is the element of each row at the label.
func pick(b *op.Builder, x, labels *graph.Value) *graph.Value {
	picked := b.Op("GatherElements", []*graph.Value{x, b.Unsqueeze(labels, 1)}, graph.I("axis", 1))
	return b.Squeeze(picked, 1)
}

// counting multiplies v [R] by the rows' share.
func counting(b *op.Builder, s site, v *graph.Value) *graph.Value {
	if w := share(b, s, s.target); w != nil {
		return b.Mul(v, w)
	}
	return v
}

// crossEntropyGrad is m p - q, q the smoothed one-hot label times the weights of the classes, m its sum.
func crossEntropyGrad(b *op.Builder, s site) *graph.Value {
	labels, _ := safeLabels(b, s, s.target)
	p := b.Op("Softmax", []*graph.Value{s.z}, graph.I("axis", 1))
	if s.sampled {
		return times(b, b.Sub(p, oneHot(b, s, labels, 0, false)), s)
	}
	q := oneHot(b, s, labels, s.smoothing, true)
	if s.classes != nil {
		p = b.Mul(p, b.SumKeep(q, 1))
	}
	g := b.Sub(p, q)
	if w := share(b, s, s.target); w != nil {
		g = b.Mul(g, b.Unsqueeze(w, 1))
	}
	return g
}

// labelSample draws a label from the softmax: argmax(z - log(-log u)), u uniform (the Gumbel trick). Logarithms of
// probabilities are logits too. Rows that do not count keep their label.
func labelSample(b *op.Builder, s site, n noise) *graph.Value {
	var labels *graph.Value
	if n.input {
		labels = b.Tag(graph.TagNoise, []*graph.Value{b.DimOf(s.z, 0)}, graph.S("name", "labels"), graph.S("kind", "labels"),
			graph.I("draw", n.draw), graph.I("dtype", int64(graph.Int64)))
	} else {
		u := b.Tag(graph.TagNoise, []*graph.Value{b.ShapeOf(s.z)}, graph.S("name", "labels"), graph.S("kind", "uniform"),
			graph.I("draw", n.draw), graph.I("dtype", int64(s.z.Type.Elem)))
		gumbel := b.Neg(b.Unary("Log", b.Neg(b.Unary("Log", u))))
		labels = b.Op("ArgMax", []*graph.Value{b.Add(s.z, gumbel)}, graph.I("axis", 1), graph.I("keepdims", 0))
	}
	if s.ignore == nil {
		return labels
	}
	return b.Where(counted(b, s, s.target), labels, b.Int(*s.ignore))
}

// crossEntropyRoot is sqrt(p_j) (e_j - p): the Hessian diag(p) - p p^T is the sum of its outer products over j.
func crossEntropyRoot(b *op.Builder, s site, j int64) *graph.Value {
	p := b.Op("Softmax", []*graph.Value{s.z}, graph.I("axis", 1))
	root := b.Sqrt(b.Slice(p, []int64{j}, []int64{j + 1}, []int64{1}))
	return times(b, b.Mul(root, b.Sub(column(b, s, j), p)), s)
}

// likelihood is -w_y z_y of logarithms of probabilities z.
func likelihood(b *op.Builder, s site) *graph.Value {
	labels, _ := safeLabels(b, s, s.target)
	v := b.Neg(pick(b, s.z, labels))
	if s.classes != nil {
		v = b.Mul(v, b.Gather(vector(b, s.z.Type.Elem, s.classes...), labels, 0))
	}
	return counting(b, s, v)
}

func likelihoodGrad(b *op.Builder, s site) *graph.Value {
	labels, _ := safeLabels(b, s, s.target)
	g := b.Neg(oneHot(b, s, labels, 0, !s.sampled))
	if s.sampled {
		return times(b, g, s)
	}
	if w := share(b, s, s.target); w != nil {
		g = b.Mul(g, b.Unsqueeze(w, 1))
	}
	return g
}

// likelihoodRoot is sqrt(p_j) e_j, p = exp(z): the loss is linear, and its Fisher matrix diag(p). Seen through a
// LogSoftmax, whose Jacobian has diag(p) J = diag(p) - p p^T, that is the Hessian of the cross-entropy.
func likelihoodRoot(b *op.Builder, s site, j int64) *graph.Value {
	p := b.Unary("Exp", b.Slice(s.z, []int64{j}, []int64{j + 1}, []int64{1}))
	return times(b, b.Mul(b.Sqrt(p), column(b, s, j)), s)
}

// column is the row vector e_j of shape [1, C].
func column(b *op.Builder, s site, j int64) *graph.Value {
	classes, _ := s.z.Type.Dims[1].Size()
	e := make([]float64, classes)
	e[j] = 1
	if s.z.Type.Elem == graph.Float64 {
		return b.Const("e", graph.TensorOf(e, 1, classes))
	}
	narrow := make([]float32, classes)
	narrow[j] = 1
	return b.Const("e", graph.TensorOf(narrow, 1, classes))
}
