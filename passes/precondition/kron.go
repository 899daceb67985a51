package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// kronBlock preconditions a Linear or convolution layer by Kronecker factors: A (inputs) and S (output gradients),
// direction S^-1 G A^-1 for the weight gradient G as an o x i matrix (Martens & Grosse 2015; KFC for convolutions,
// Grosse & Martens 2016). With a joint bias, inputs carry a coordinate of ones and G the bias as a last column.
//
// Scale. A is the mean over rows (examples x positions) of a a^T, S the sum over rows of g g^T divided by the number of
// loss rows, with g the gradient of the un-averaged loss: so S (x) A has the positions counted once.
// Preset asdl: A is the sum over rows divided by data_size (and by the positions of a convolution).
func kronBlock(e *engine, cap *captured) *block {
	l := cap.layers[0]
	joint := l.B != nil && e.rec.Representation.Bias != "output"
	f := kronForm(l)
	in := f.inputs(l)
	if joint {
		in++
	}
	out := f.outputs(l)
	bl := &block{
		name: l.Name, params: l.Params(),
		stats: []slot{{name: "A", shape: []int64{in, in}, init: "zeros", kind: "curvature"}, {name: "S", shape: []int64{out, out}, init: "zeros", kind: "curvature"}},
		sols:  []slot{{name: "A_inv", shape: []int64{in, in}, init: "eye", kind: "curvature"}, {name: "S_inv", shape: []int64{out, out}, init: "eye", kind: "curvature"}},
	}
	bl.note = pass.LayerNote{
		Layer: l.Name, Kind: l.Kind, Params: names(bl.params),
		Treatment: fmt.Sprintf("Kronecker factors A %dx%d, S %dx%d", in, in, out, out),
	}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		return []*graph.Value{e.inputFactor(b, cap, f, joint), e.outputFactor(b, cap, f)}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		dampA, dampS := e.factorDamping(b, trace(b, stats[0]), float64(in), trace(b, stats[1]), float64(out))
		return []*graph.Value{e.inverse(b, stats[0], dampA), e.inverse(b, stats[1], dampS)}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return f.apply(b, l, joint, grads, sols[0], sols[1])
	}
	return bl
}

// kronLayer is a row of the table of layer kinds with Kronecker factors: how the kind's tensors look as matrices.
type kronLayer struct {
	Kind string
	// inputs and outputs are the sides of the weight as an o x i matrix.
	inputs, outputs func(l pass.Layer) int64
	// rowsIn brings layer inputs to [R, i], rowsOut output gradients to [R, o].
	rowsIn  func(e *engine, b *op.Builder, l pass.Layer) *graph.Value
	rowsOut func(e *engine, b *op.Builder, l pass.Layer, g *graph.Value) *graph.Value
	// perPosition says that ASDL divides A by the number of positions.
	perPosition bool
}

var kronLayers = []kronLayer{
	{graph.LayerLinear, linearIn, linearOut, linearRowsIn, linearRowsOut, false},
	{graph.LayerConv, convIn, convOut, convRowsIn, convRowsOut, true},
}

func kronForm(l pass.Layer) *kronLayer {
	for i := range kronLayers {
		if kronLayers[i].Kind == l.Kind {
			return &kronLayers[i]
		}
	}
	panic("BUG: no Kronecker factors for layers of kind " + l.Kind)
}

// inputFactor is this step's A.
func (e *engine) inputFactor(b *op.Builder, cap *captured, f *kronLayer, joint bool) *graph.Value {
	var sum, count *graph.Value
	for _, l := range cap.layers {
		x := f.rowsIn(e, b, l)
		second := b.Gemm(x, x, true, false)
		n := b.CountOf(x, e.elem, 0)
		if joint {
			second = bordered(b, second, b.SumKeep(x, 0), n)
		}
		sum, count = plus(b, sum, second), plus(b, count, n)
	}
	if e.rec.Preset == "asdl" && !f.perPosition {
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
func bordered(b *op.Builder, m, row, corner *graph.Value) *graph.Value {
	top := b.Concat(1, m, b.Transpose(row, 1, 0))
	bottom := b.Concat(1, row, b.Reshape(corner, 1, 1))
	return b.Concat(0, top, bottom)
}

// outputFactor is this step's S, summed over the columns of source exact and averaged over sampled labels.
func (e *engine) outputFactor(b *op.Builder, cap *captured, f *kronLayer) *graph.Value {
	return e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
		rows := f.rowsOut(e, b, l, g)
		return b.Gemm(rows, rows, true, false)
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

// inverse is (m + damp I)^-1.
func (e *engine) inverse(b *op.Builder, m, damp *graph.Value) *graph.Value {
	damped := b.Add(m, b.Mul(eye(b, m), damp))
	return call(b, inverseFunction(side(m, 0)), damped)
}

// apply gives S^-1 G A^-1 in the layout of the parameters.
func (f *kronLayer) apply(b *op.Builder, l pass.Layer, joint bool, grads []*graph.Value, invA, invS *graph.Value) []*graph.Value {
	g := grads[0]
	transposed := l.Node.Str("layout", "oi") == "io"
	if g.Type.Rank() != 2 {
		g = b.Reshape(g, side(g, 0), -1)
	}
	biasAxis := 1
	if transposed {
		biasAxis = 0
	}
	if joint {
		g = b.Concat(int64(biasAxis), g, b.Unsqueeze(grads[1], int64(biasAxis)))
	}
	var d *graph.Value
	if transposed {
		d = b.MatMul(b.MatMul(invA, g), invS)
	} else {
		d = b.MatMul(b.MatMul(invS, g), invA)
	}
	var bias *graph.Value
	switch {
	case joint:
		parts := b.Split(d, int64(biasAxis), side(d, biasAxis)-1, 1)
		d, bias = parts[0], b.Squeeze(parts[1], int64(biasAxis))
	case len(grads) > 1:
		bias = b.Squeeze(b.MatMul(invS, b.Unsqueeze(grads[1], 1)), 1)
	}
	d = b.ReshapeLike(d, grads[0])
	if bias == nil {
		return []*graph.Value{d}
	}
	return []*graph.Value{d, bias}
}
