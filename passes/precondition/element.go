package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// elementStatistic is a row of the table of element-wise curvature estimates: what one draw gives for one parameter.
type elementStatistic struct {
	Source, Estimate string
	What             string // of the captures that it is made of
	// Of makes the estimate of a captured quantity x; v is the probe vector, if there is one.
	Of func(e *engine, b *op.Builder, l *pass.Layer, x, v *graph.Value) *graph.Value
	// Squared says that the estimate is of the square of the curvature.
	Squared bool
}

var elementStatistics = []elementStatistic{
	{"hvp", "diag", graph.CaptureProduct, hutchinson, false},
	{"hvp", "diag_squared", graph.CaptureProduct, hutchinsonSquared, true},
	{"hvp", "row_squared", graph.CaptureProduct, rowSquared, true},
	{"ggnvp", "diag", graph.CaptureProduct, hutchinson, false},
	{"ggnvp", "diag_squared", graph.CaptureProduct, hutchinsonSquared, true},
	{"ggnvp", "row_squared", graph.CaptureProduct, rowSquared, true},
	{"mc", "", graph.CaptureSampled, sampledSquared, false},
}

// hutchinson is v.Hv, whose mean over v is the diagonal of H (Bekas, Kokiopoulou & Saad 2007), averaged over the kernel
// positions of a convolution, and over blocks of neighbours in a matrix, if the record says so (Yao et al. 2021, section 3.2;
// their code takes absolute values first).
func hutchinson(e *engine, b *op.Builder, l *pass.Layer, hv, v *graph.Value) *graph.Value {
	d := b.Mul(v, hv)
	kernels := l != nil && (l.Kind == graph.LayerConv || l.Kind == graph.LayerConvT) && d.Type.Rank() > 2
	blocks := d.Type.Rank() == 2 && e.blockOf(d) > 1
	if e.rec.Representation.Spatial == "" || !kernels && !blocks {
		return d
	}
	if e.rec.Representation.Spatial == "mean_abs" {
		d = b.Unary("Abs", d)
	}
	if blocks {
		flat := b.Reshape(d, -1, e.blockOf(d))
		return b.ReshapeLike(b.ExpandLike(b.Reduce("ReduceMean", flat, true, 1), flat), d)
	}
	return b.ExpandLike(b.Reduce("ReduceMean", d, true, spatial(d)...), d)
}

// blockOf is the number of neighbours, in row-major order, that share an estimate; 1 in a matrix that is not made of whole blocks.
func (e *engine) blockOf(m *graph.Value) int64 {
	shape, _ := m.Type.Static()
	n := int64(e.rec.Representation.Block)
	if n > 1 && count(shape)%n == 0 {
		return n
	}
	return 1
}

func hutchinsonSquared(e *engine, b *op.Builder, l *pass.Layer, hv, v *graph.Value) *graph.Value {
	return b.Square(hutchinson(e, b, l, hv, v))
}

// rowSquared is (Hv)^2, whose mean over v is the squared norm of each row of H (Dauphin et al. 2015, section 4).
func rowSquared(_ *engine, b *op.Builder, _ *pass.Layer, hv, _ *graph.Value) *graph.Value {
	return b.Square(hv)
}

// sampledSquared is B g^2 for the mean gradient g of B sampled labels. Sampled gradients are independent with mean zero,
// so its mean is the diagonal of the Fisher matrix, which is the Gauss-Newton matrix (Liu et al. 2024, section 2.3).
func sampledSquared(e *engine, b *op.Builder, _ *pass.Layer, sum, _ *graph.Value) *graph.Value {
	return b.Div(b.Square(sum), e.dataSize())
}

// elementBlocks covers every parameter by itself.
func elementBlocks(e *engine, g *graph.Graph) []*block {
	if e.rec.Curvature.Source == "batch" {
		return diagonalBlocks(e, g)
	}
	return curvedBlocks(e, g)
}

// curvedBlocks covers every parameter with an element-wise estimate of curvature, D, refreshed on the statistics clock:
// the direction is m/(D^-power + damping), or the same clipped, with m the gradient or an EMA of it.
func curvedBlocks(e *engine, g *graph.Graph) []*block {
	row := e.elementStatistic()
	layers := map[*graph.Value]*pass.Layer{}
	for _, l := range e.layers(g) {
		layers[l.W] = &l
	}
	var blocks []*block
	for _, p := range e.params(g) {
		if !e.rec.Ignores(p.Name()) {
			blocks = append(blocks, e.curvedBlock(p, layers[p.Value], row))
		}
	}
	return blocks
}

func (e *engine) elementStatistic() *elementStatistic {
	for i, row := range elementStatistics {
		if row.Source == e.rec.Curvature.Source && row.Estimate == e.rec.Curvature.Estimate {
			return &elementStatistics[i]
		}
	}
	panic("BUG: no element-wise statistic " + e.rec.Curvature.Source + " " + e.rec.Curvature.Estimate)
}

func (e *engine) curvedBlock(p pass.Param, l *pass.Layer, row *elementStatistic) *block {
	shape, _ := p.Value.Type.Static()
	bl := &block{name: p.Name(), params: []pass.Param{p}, debiased: true, moment: e.rec.Apply.Beta}
	bl.stats = []slot{{name: "D", shape: shape, init: "zeros", kind: "curvature"}}
	bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: "diagonal"}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		var sum *graph.Value
		draws := e.quantities[quantity{p.Name(), row.What}]
		for _, d := range draws {
			sum = plus(b, sum, row.Of(e, b, l, d[0], d[1]))
		}
		return []*graph.Value{b.Scale(sum, 1/float64(len(draws)))}
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		d := stats[0]
		if e.rec.Guards.Finite && !e.keeps() {
			d = b.Where(e.finite(b, d), d, b.Float(e.elem, 1))
		}
		return []*graph.Value{e.divided(b, grads[0], d, row.Squared)}
	}
	return bl
}

// divided is m divided by the curvature of estimate d, to the power of the record.
func (e *engine) divided(b *op.Builder, m, d *graph.Value, squared bool) *graph.Value {
	power := -e.rec.Solve.Power
	if squared {
		power /= 2
	} else {
		d = b.Unary("Abs", d)
	}
	switch power {
	case 1:
	case 0.5:
		d = b.Sqrt(d)
	default:
		d = b.Op("Pow", []*graph.Value{d, b.Float(e.elem, power)})
	}
	if e.rec.Solve.Damping.Kind != "clip" {
		return b.Div(m, b.Add(d, e.damping()))
	}
	// m/(rho d), where |m| < rho d; else its sign
	bound := b.Mul(d, e.damping())
	inside := b.Compare("Less", b.Unary("Abs", m), bound)
	return b.Where(inside, b.Div(m, b.Where(inside, bound, b.Float(e.elem, 1))), b.Unary("Sign", m))
}
