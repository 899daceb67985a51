package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// kronBlock preconditions a Linear or convolution layer by Kronecker factors: A (inputs) and S (output gradients),
// direction S^-1 G A^-1 for the weight gradient G as an o x i matrix (Martens & Grosse 2015; KFC for convolutions,
// Grosse & Martens 2016), each group of a convolution with factors of its own. With a joint bias, inputs carry a
// coordinate of ones and G the bias as a last column.
//
// Scale. A is the mean over rows (examples x positions) of a a^T, S the sum over rows of g g^T divided by the number of
// loss rows, with g the gradient of the un-averaged loss: so S (x) A has the positions counted once.
// Preset asdl: A is the sum over rows divided by data_size (and by the positions of a convolution).
func kronBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	bl.stats = []slot{curvature("A", v.shape(v.in, v.in), "zeros"), curvature("S", v.shape(v.out, v.out), "zeros")}
	bl.sols = []slot{curvature("A_inv", v.shape(v.in, v.in), "eye"), curvature("S_inv", v.shape(v.out, v.out), "eye")}
	bl.note.Treatment = fmt.Sprintf("Kronecker factors A %dx%d, S %dx%d", v.in, v.in, v.out, v.out) + v.each()
	bl.fresh = func(b *op.Builder) []*graph.Value {
		if e.rec.Curvature.Source == "recursive" {
			return []*graph.Value{e.inputFactor(b, cap, v), e.recursiveFactor(b, cap)}
		}
		return []*graph.Value{e.inputFactor(b, cap, v), e.outputFactor(b, cap, v)}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		dampA, dampS := e.factorDamping(b, traces(b, stats[0]), float64(v.in), traces(b, stats[1]), float64(v.out))
		return []*graph.Value{e.inverse(b, stats[0], dampA), e.inverse(b, stats[1], dampS)}, nil
	}
	if e.rec.Representation.Rank > 0 {
		return e.residualBlock(bl, cap, v)
	}
	e.applyKron(bl, cap, v)
	return bl
}

// block is a block of the layer's parameters, without statistics.
func (v view) block() *block {
	bl := &block{name: v.l.Name, params: v.l.Params()}
	if v.groups > 1 {
		bl.texts = append(bl.texts, section("batch inverse"))
	}
	bl.note = pass.LayerNote{Layer: v.l.Name, Kind: v.l.Kind, Params: names(bl.params)}
	return bl
}

// each is the end of a note on matrices of which each group has its own.
func (v view) each() string {
	if v.groups > 1 {
		return fmt.Sprintf(", for each of %d groups", v.groups)
	}
	return ""
}

// curvature is a slot of curvature.
func curvature(name string, shape []int64, init string) slot {
	return slot{name: name, shape: shape, init: init, kind: "curvature"}
}

// inputFactor is this step's A.
func (e *engine) inputFactor(b *op.Builder, cap *captured, v view) *graph.Value {
	var sum, count *graph.Value
	for _, l := range cap.layers {
		x := v.rowsIn(e, b, l)
		axis := x.Type.Rank() - 2
		second, n := gram(b, x), b.CountOf(x, e.elem, axis)
		if v.joint {
			second = v.bordered(b, second, b.SumKeep(x, int64(axis)), n)
		}
		sum, count = plus(b, sum, second), plus(b, count, n)
	}
	if e.rec.Preset == "asdl" && !v.perPosition {
		count = e.dataSize()
	}
	return b.Div(sum, count)
}

func plus(b *op.Builder, x, y *graph.Value) *graph.Value {
	if x == nil {
		return y
	}
	return b.Add(x, y)
}

// bordered is [[m, row^T], [row, corner]]: the second moment of inputs with a coordinate of ones appended.
func (v view) bordered(b *op.Builder, m, row, corner *graph.Value) *graph.Value {
	axis := int64(m.Type.Rank() - 1)
	corner = b.Reshape(corner, v.unit()...)
	if v.groups > 1 {
		corner = b.Expand(corner, b.Ints(v.groups, 1, 1))
	}
	return b.Concat(axis-1, b.Concat(axis, m, b.Swap(row)), b.Concat(axis, row, corner))
}

// unit is the shape of a single number among the layer's matrices.
func (v view) unit() []int64 {
	if v.groups > 1 {
		return []int64{1, 1, 1}
	}
	return []int64{1, 1}
}

// outputFactor is this step's S, summed over the columns of source exact and averaged over sampled labels.
func (e *engine) outputFactor(b *op.Builder, cap *captured, v view) *graph.Value {
	return e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
		return gram(b, v.rowsOut(e, b, l, g))
	})
}

// overDraws sums a quadratic statistic of output gradients over uses and draws, and divides it by the data size, and
// for sampled labels by the number of samples. ASDL divides each sampled gradient, hence the statistic once more.
func (e *engine) overDraws(b *op.Builder, cap *captured, quad func(l pass.Layer, g *graph.Value) *graph.Value) *graph.Value {
	var sum *graph.Value
	for draw := range len(cap.g) {
		for use, l := range cap.layers {
			sum = plus(b, sum, quad(l, cap.g[draw][use]))
		}
	}
	return e.weigh(b, cap, sum)
}

// weigh divides a sum of quadratic statistics by what overDraws says.
func (e *engine) weigh(b *op.Builder, cap *captured, sum *graph.Value) *graph.Value {
	if cap.factor != nil {
		sum = b.Mul(sum, b.Square(cap.factor))
	}
	sum = b.Div(sum, e.dataSize())
	if n := float64(e.rec.Curvature.Samples); e.rec.Curvature.Source == "mc" && n > 1 {
		sum = b.Scale(sum, 1/n)
		if e.rec.Preset == "asdl" {
			sum = b.Scale(sum, 1/n)
		}
	}
	return sum
}

// factorDamping splits a damping lambda of the Kronecker product between its factors: pi sqrt(lambda) for the input
// factor and sqrt(lambda)/pi for the output factor, pi^2 being the ratio of their mean eigenvalues (Martens & Grosse
// 2015, section 6.3). Where a factor vanishes, pi is 1.
func (e *engine) factorDamping(b *op.Builder, traceA *graph.Value, dimA float64, traceS *graph.Value, dimS float64) (dampA, dampS *graph.Value) {
	d := e.rec.Solve.Damping
	lambda := e.damping()
	if d.Kind == "none" {
		zero := b.Float(e.elem, 0)
		return zero, zero
	}
	if d.Kind != "factor_pi" {
		root := b.Sqrt(lambda)
		return root, root
	}
	pi := b.Sqrt(b.Div(b.Scale(traceA, 1/dimA), b.Scale(traceS, 1/dimS)))
	zero := b.Float(e.elem, 0)
	// pi is 0, infinite or NaN when a trace is 0: 0*pi and 0/pi tell.
	usable := b.Op("And", []*graph.Value{b.Compare("Equal", b.Mul(pi, zero), zero), b.Compare("Greater", pi, zero)})
	root := b.Sqrt(lambda)
	pi = b.Where(usable, pi, b.Float(e.elem, 1))
	dampA, dampS = b.Mul(root, pi), b.Div(root, pi)
	if e.rec.Preset == "asdl" { // plain lambda on both
		dampA, dampS = b.Where(usable, dampA, lambda), b.Where(usable, dampS, lambda)
	}
	if d.Floor > 0 {
		floor := b.Float(e.elem, d.Floor)
		dampA, dampS = b.Op("Max", []*graph.Value{dampA, floor}), b.Op("Max", []*graph.Value{dampS, floor})
	}
	return dampA, dampS
}

func eye(b *op.Builder, like *graph.Value) *graph.Value { return b.Unary("EyeLike", like) }

func trace(b *op.Builder, m *graph.Value) *graph.Value { return b.Sum(b.Mul(m, eye(b, m))) }

// eyes is the identity for the matrices of m, [n, n], broadcast to [groups, n, n].
func eyes(b *op.Builder, m *graph.Value) *graph.Value {
	if m.Type.Rank() == 2 {
		return eye(b, m)
	}
	n := side(m, m.Type.Rank()-1)
	return eye(b, b.Full(b.Ints(n, n), m.Type.Elem, 0))
}

// traces is the trace of a matrix, a scalar, or of each of several, [groups, 1, 1].
func traces(b *op.Builder, m *graph.Value) *graph.Value {
	if m.Type.Rank() == 2 {
		return trace(b, m)
	}
	return b.SumKeep(b.Mul(m, eyes(b, m)), 1, 2)
}

// inverse is (m + damp I)^-1, of a matrix or of each of several.
func (e *engine) inverse(b *op.Builder, m, damp *graph.Value) *graph.Value {
	damped := b.Add(m, b.Mul(eyes(b, m), damp))
	if m.Type.Rank() == 3 {
		return call(b, batchInverseFunction, damped)
	}
	return call(b, inverseFunction(side(m, 0)), damped)
}

// apply gives S^-1 G A^-1 in the layout of the parameters.
func (v view) apply(b *op.Builder, grads []*graph.Value, invA, invS *graph.Value) []*graph.Value {
	d := b.MatMul(b.MatMul(invS, v.gradient(b, grads)), invA)
	return v.parameters(b, d, v.apart(b, grads, invS), grads)
}

// apart is S^-1 times the gradient of a bias that is no column of Ŵ, or nil.
func (v view) apart(b *op.Builder, grads []*graph.Value, invS *graph.Value) *graph.Value {
	if v.joint || len(grads) < 2 {
		return nil
	}
	return b.ReshapeLike(b.MatMul(invS, b.Reshape(grads[1], v.shape(v.out, 1)...)), grads[1])
}
