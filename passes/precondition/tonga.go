package precondition

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// tongaBlocks makes a block of every layer with a matrix or with channels: unit by unit, the direction is
// (C + lambda I)^-1 g for the discounted covariance C <- gamma C + g g^T of the unit's mean gradients g, this step's among
// them (Le Roux, Manzagol & Bengio 2007). A unit is a row of Ŵ = [W | b], or scale and shift of a channel. Parameters of
// several layers belong to the first.
func tongaBlocks(e *engine, g *graph.Graph) []*block {
	seen := map[*graph.Value]bool{}
	var blocks []*block
	for _, l := range e.layers(g) {
		reason := ""
		var bl *block
		switch {
		case e.rec.Ignores(l.Name):
			reason = "representation.ignore lists it"
		case l.Node.Str("uncovered", "") != "":
			reason = l.Node.Str("uncovered", "")
		case l.Kind == graph.LayerEmbedding:
			reason = "an embedding"
		case l.Kind == graph.LayerLinear || l.Kind == graph.LayerConv || l.Kind == graph.LayerConvT:
			bl = e.tongaBlock(l, l.B != nil && !seen[l.B])
		case e.rec.Fallback.Norm == "unit":
			bl = e.tongaNormBlock(l)
		default:
			reason = "fallback.norm is " + e.rec.Fallback.Norm
		}
		if reason != "" {
			for _, p := range l.Params() {
				e.left[p.Value] = reason
			}
			continue
		}
		if seen[bl.params[0].Value] || len(bl.params) > 1 && seen[bl.params[1].Value] {
			continue
		}
		for _, p := range bl.params {
			seen[p.Value] = true
		}
		blocks = append(blocks, bl)
	}
	return blocks
}

// tonga is a layer whose units have rows X, so that C = X^T X (as columns in the paper): rank rows of the past, orthogonal to
// each other, and after them the gradients of the steps since, fresh of them at most.
type tonga struct {
	e                  *engine
	v                  view
	units, rank, fresh int64
}

func (e *engine) tongaBlock(l pass.Layer, bias bool) *block {
	v := e.viewOf(l)
	if l.B != nil && !bias {
		v.joint = false
		v.in--
	}
	t := &tonga{e: e, v: v, units: v.groups * v.out, rank: min(int64(e.rec.Representation.Rank), v.in), fresh: int64(max(1, e.rec.Solve.Every))}
	bl := v.block()
	if !v.joint {
		bl.params = bl.params[:1]
		bl.note.Params = names(bl.params)
	}
	bl.guard = true
	bl.texts = []string{section("batch inverse"), section("batch eigen")}
	bl.sols = []slot{
		curvature("X", []int64{t.units, t.rank + t.fresh, v.in}, "zeros"),
		curvature("fill", nil, "zeros"),
	}
	if e.rec.Accumulate.Debias {
		bl.sols = append(bl.sols, curvature("weight", nil, "zeros"))
	}
	bl.note.Treatment = fmt.Sprintf("%d units of %d, covariances of rank %d and %d gradients", t.units, v.in, t.rank, t.fresh)
	bl.renew = t.compress
	bl.play = t.play
	return bl
}

// compress makes room for new gradients: X^T X is cut to its largest eigenvalues. With X X^T = V diag(w) V^T the rows of V^T X
// are orthogonal, of squared norms w, and have the same X^T X.
func (t *tonga) compress(b *op.Builder, _, sols []*graph.Value) []*graph.Value {
	x := sols[0]
	k := b.MatMul(x, b.Swap(x))
	k = b.Div(k, b.Op("Max", []*graph.Value{traces(b, k), b.Float(x.Type.Elem, 1e-30)})) // squares of tiny entries would vanish
	ws := b.Call("BatchEigen", 2, []*graph.Value{k})
	rows := b.MatMul(b.Swap(ws[1]), x)
	order := b.Node("", "TopK", []*graph.Value{ws[0], b.Ints(t.rank)}, 2).Outputs()[1] // [units, rank]
	order = b.Expand(b.Unsqueeze(order, 2), b.Ints(t.units, t.rank, t.v.in))
	kept := b.Op("GatherElements", []*graph.Value{rows, order}, graph.I("axis", 1))
	room := b.Full(b.Ints(t.units, t.fresh, t.v.in), x.Type.Elem, 0)
	return append([]*graph.Value{b.Concat(1, kept, room), b.Float(x.Type.Elem, 0)}, sols[2:]...)
}

// play discounts the rows, appends the gradient and solves through the Gram matrix: since the gradient is one of the rows,
// (X^T X + lambda I)^-1 g = X^T a with (X X^T + lambda I) a = e, the unit vector of its place. With accumulate.debias, C is
// divided by the sum of the discounts. A gradient that is not finite leaves the state as it is.
func (t *tonga) play(b *op.Builder, lv *live, grads []*graph.Value) []*graph.Value {
	e := t.e
	g := b.Reshape(t.v.gradient(b, grads), t.units, 1, t.v.in)
	gamma := e.rec.Accumulate.Beta
	last := b.Float(e.elem, float64(t.fresh-1)) // where there is no room, the newest gradient makes way
	place := b.Op("Min", []*graph.Value{lv.sols[1], last})
	at := b.Compare("Equal", t.places(b), place) // [rank+fresh, 1]
	x := b.Where(at, g, b.Scale(lv.sols[0], math.Sqrt(gamma)))
	next := []*graph.Value{x, b.Add(place, b.Float(e.elem, 1))}
	lambda := e.damping()
	if e.rec.Accumulate.Debias {
		weight := b.Add(b.Scale(lv.sols[2], gamma), b.Float(e.elem, 1))
		next, lambda = append(next, weight), b.Mul(lambda, weight)
	}
	k := b.MatMul(x, b.Swap(x)) // [units, rank+fresh, rank+fresh]
	// A lambda below the rounding of a trace is raised to it: K has at most as many positive eigenvalues as a unit has inputs.
	lambda = b.Op("Max", []*graph.Value{lambda, b.Scale(traces(b, k), e.rounding())})
	inverse := call(b, batchInverseFunction, b.Add(k, b.Mul(eyes(b, k), lambda)))
	a := b.MatMul(inverse, b.Cast(at, e.elem)) // [units, rank+fresh, 1]
	d := b.MatMul(b.Swap(a), x)
	if e.rec.Accumulate.Debias {
		d = b.Mul(d, next[2])
	}
	if e.rec.Guards.Finite {
		ok := e.finite(b, k) // a gradient that is too large for its square would spoil all that come before it is forgotten
		for i := range next {
			next[i] = b.Where(ok, next[i], lv.sols[i])
		}
	}
	lv.sols = next
	return t.v.parameters(b, b.Reshape(d, t.v.shape(t.v.out, t.v.in)...), nil, grads)
}

// places numbers the rows of X for new gradients from 0; those of the past are below.
func (t *tonga) places(b *op.Builder) *graph.Value {
	v := make([]float64, t.rank+t.fresh)
	for i := range v {
		v[i] = float64(int64(i) - t.rank)
	}
	return b.Cast(b.Const("places", graph.TensorOf(v, int64(len(v)), 1)), t.e.elem)
}

// tongaNormBlock is the block of a normalisation layer: C of each channel is 2x2 (1x1 where it has only scale or shift), and
// kept as it is.
func (e *engine) tongaNormBlock(l pass.Layer) *block {
	bl := &block{name: l.Name, params: l.Params(), always: true, guard: true}
	channels, k := elements(bl.params[0].Value), int64(len(bl.params))
	bl.stats = []slot{curvature("C", []int64{channels, k, k}, "zeros")}
	if e.rec.Accumulate.Debias {
		bl.stats = append(bl.stats, curvature("weight", nil, "zeros"))
	}
	bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params), Treatment: fmt.Sprintf("%d units of %d, covariances", channels, k)}
	column := func(b *op.Builder, grads []*graph.Value) *graph.Value { // [c, k, 1]
		parts := make([]*graph.Value, k)
		for i, g := range grads {
			parts[i] = b.Reshape(g, channels, 1, 1)
		}
		return joinedAt(b, 1, parts)
	}
	bl.next = func(b *op.Builder, stats []*graph.Value) []*graph.Value {
		var grads []*graph.Value
		for _, p := range bl.params {
			grads = append(grads, e.grads[p.Value])
		}
		g := column(b, grads)
		next := []*graph.Value{b.Add(b.Scale(stats[0], e.rec.Accumulate.Beta), b.MatMul(g, b.Swap(g)))}
		if len(stats) > 1 {
			next = append(next, b.Add(b.Scale(stats[1], e.rec.Accumulate.Beta), b.Float(e.elem, 1)))
		}
		return next
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		c := stats[0]
		if len(stats) > 1 { // 0 until there is a finite gradient
			c = b.Div(c, b.Op("Max", []*graph.Value{stats[1], b.Float(e.elem, 1)}))
		}
		g := column(b, grads)
		if k == 1 {
			return []*graph.Value{b.ReshapeLike(b.Div(g, b.Add(c, e.damping())), grads[0])}
		}
		dirs := b.Split(b.MatMul(e.inverse2(b, c), g), 1, 1, 1)
		return []*graph.Value{b.ReshapeLike(dirs[0], grads[0]), b.ReshapeLike(dirs[1], grads[1])}
	}
	return bl
}
