package loss

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// safeLabels are the labels with ignored ones replaced by 0, and the weight [R] of each row (nil: all count).
func safeLabels(b *op.Builder, s site) (labels, weight *graph.Value) {
	if s.ignore == nil {
		return s.target, nil
	}
	ok := counted(b, s)
	return b.Where(ok, s.target, b.Int(0)), b.Cast(ok, s.z.Type.Elem)
}

// crossEntropy is -(1-e) log p_y - (e/C) sum_c log p_c, with p the softmax of z and e the label smoothing.
func crossEntropy(b *op.Builder, s site) *graph.Value {
	labels, weight := safeLabels(b, s)
	logp := b.Op("LogSoftmax", []*graph.Value{s.z}, graph.I("axis", 1))
	picked := b.Op("GatherElements", []*graph.Value{logp, b.Unsqueeze(labels, 1)}, graph.I("axis", 1))
	v := b.Neg(b.Squeeze(picked, 1))
	if s.smoothing != 0 {
		uniform := b.Neg(b.Reduce("ReduceMean", logp, false, 1))
		v = b.Add(b.Scale(v, 1-s.smoothing), b.Scale(uniform, s.smoothing))
	}
	if weight != nil {
		v = b.Mul(v, weight)
	}
	return v
}

// crossEntropyGrad is p - q, q the smoothed one-hot label.
func crossEntropyGrad(b *op.Builder, s site) *graph.Value {
	labels, weight := safeLabels(b, s)
	e := s.z.Type.Elem
	classes, _ := s.z.Type.Dims[1].Size()
	p := b.Op("Softmax", []*graph.Value{s.z}, graph.I("axis", 1))
	off, on := s.smoothing/float64(classes), 1-s.smoothing+s.smoothing/float64(classes)
	q := b.Op("OneHot", []*graph.Value{labels, b.Int(classes), pair(b, e, off, on)}, graph.I("axis", 1))
	g := b.Sub(p, q)
	if weight != nil {
		g = b.Mul(g, b.Unsqueeze(weight, 1))
	}
	return g
}

func pair(b *op.Builder, e graph.Elem, x, y float64) *graph.Value {
	if e == graph.Float64 {
		return b.Const("c", graph.TensorOf([]float64{x, y}, 2))
	}
	return b.Const("c", graph.TensorOf([]float32{float32(x), float32(y)}, 2))
}

// crossEntropySample draws a label from the softmax: argmax(z - log(-log u)), u uniform (the Gumbel trick).
// Rows that do not count keep their label.
func crossEntropySample(b *op.Builder, s site, n noise) *graph.Value {
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
	return b.Where(counted(b, s), labels, b.Int(*s.ignore))
}

// crossEntropyRoot is sqrt(p_j) (e_j - p): the Hessian diag(p) - p p^T is the sum of its outer products over j.
func crossEntropyRoot(b *op.Builder, s site, j int64) *graph.Value {
	e := s.z.Type.Elem
	p := b.Op("Softmax", []*graph.Value{s.z}, graph.I("axis", 1))
	root := b.Sqrt(b.Slice(p, []int64{j}, []int64{j + 1}, []int64{1}))
	g := b.Mul(root, b.Sub(unit(b, s, j), p))
	if s.ignore != nil {
		g = b.Mul(g, b.Unsqueeze(b.Cast(counted(b, s), e), 1))
	}
	return g
}

// unit is the row vector e_j of shape [1, C].
func unit(b *op.Builder, s site, j int64) *graph.Value {
	classes, _ := s.z.Type.Dims[1].Size()
	if s.z.Type.Elem == graph.Float64 {
		e := make([]float64, classes)
		e[j] = 1
		return b.Const("e", graph.TensorOf(e, 1, classes))
	}
	e := make([]float32, classes)
	e[j] = 1
	return b.Const("e", graph.TensorOf(e, 1, classes))
}

// squared is weight * sum_c (z - y)^2.
func squared(b *op.Builder, s site) *graph.Value {
	return b.Scale(b.Sum(b.Square(b.Sub(s.z, s.target)), 1), s.weight)
}

// squaredGrad is 2 weight (z - y).
func squaredGrad(b *op.Builder, s site) *graph.Value {
	return b.Scale(b.Sub(s.z, s.target), 2*s.weight)
}

// squaredSample is z plus Gaussian noise whose scale makes the Fisher matrix of squaredGrad the loss's Hessian
// 2 weight I. ASDL: the gradient at the sample is -sqrt(variance) times a standard normal.
func squaredSample(b *op.Builder, s site, n noise) *graph.Value {
	e := s.z.Type.Elem
	eps := b.Tag(graph.TagNoise, []*graph.Value{b.ShapeOf(s.z)}, graph.S("name", "targets"), graph.S("kind", "normal"),
		graph.I("draw", n.draw), graph.I("dtype", int64(e)))
	scale := 1 / math.Sqrt(2*s.weight)
	if s.asdl {
		variance := s.variance
		if variance == 0 {
			variance = 1
		}
		scale = math.Sqrt(variance) / (2 * s.weight)
	}
	return b.Add(s.z, b.Scale(eps, scale))
}

// squaredRoot is sqrt(2 weight) e_j in every row; ASDL: e_j.
func squaredRoot(b *op.Builder, s site, j int64) *graph.Value {
	scale := math.Sqrt(2 * s.weight)
	if s.asdl {
		scale = 1
	}
	return b.Expand(b.Scale(unit(b, s, j), scale), b.ShapeOf(s.z))
}
