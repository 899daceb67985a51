package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// The constants of K-BFGS (Goldfarb, Ren & Bahamou 2020, section 4 and their code).
const (
	powellMu      = 0.2  // Powell damping holds s.y above this times y.Hy
	curvatureSkip = 1e-4 // a pair with s.y below this times s.s |mean output gradient| is left out
)

// secantBlocks makes a block of every captured layer.
func secantBlocks(of func(e *engine, cap *captured) *block) func(e *engine, g *graph.Graph) []*block {
	return func(e *engine, g *graph.Graph) []*block {
		var blocks []*block
		for _, l := range e.layers(g) {
			if cap := e.captures[l.Name]; cap != nil {
				blocks = append(blocks, of(e, cap))
			}
		}
		return blocks
	}
}

// secantBlock preconditions a layer by D = H_G G H_A (Goldfarb, Ren & Bahamou, NeurIPS 2020; convolutions: Ren, Bahamou &
// Goldfarb, arXiv:2102.06737). H_A is a BFGS approximation of (A + lambda_A I)^-1 for the mean A of a a^T over rows, from
// "Hessian-action" pairs s = H_A mean(a), y = (A + lambda_A I) s; it starts as the inverse itself. H_G approximates the
// inverse Hessian in the layer's output z from secant pairs of this step: s and y are EMAs of the change of mean z and of
// the mean gradient in z from this step's parameters to the next ones, on the same batch. Means are over rows, that is
// over examples and positions; gradients are those of each row's own loss. With representation.rank, H_G is not formed: the
// newest pairs are kept, so many (K-BFGS(L), ibid.).
func secantBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	bl.guard, bl.moment, bl.texts = true, e.rec.Apply.Beta, []string{section("bfgs"), section("upper inverse")}
	bl.stats = []slot{curvature("A", []int64{v.in, v.in}, "zeros")}
	p := &secantPair{e: e, cap: cap, v: v, rank: int64(e.rec.Representation.Rank)}
	bl.sols = []slot{curvature("H_A", []int64{v.in, v.in}, "eye")}
	if p.rank == 0 {
		bl.sols = append(bl.sols, curvature("H_G", []int64{v.out, v.out}, "eye"))
		bl.note.Treatment = fmt.Sprintf("BFGS inverses H_A %dx%d, H_G %dx%d", v.in, v.in, v.out, v.out)
	} else {
		bl.sols = append(bl.sols, curvature("s_kept", []int64{p.rank, v.out}, "zeros"), curvature("y_kept", []int64{p.rank, v.out}, "zeros"))
		bl.note.Treatment = fmt.Sprintf("BFGS inverse H_A %dx%d, %d secant pairs of %d", v.in, v.in, p.rank, v.out)
	}
	p.mean = len(bl.sols)
	bl.sols = append(bl.sols, curvature("s", []int64{v.out}, "zeros"), curvature("y", []int64{v.out}, "zeros"), curvature("begun", nil, "zeros"))
	bl.fresh = func(b *op.Builder) []*graph.Value { return []*graph.Value{e.inputFactor(b, cap, v)} }
	bl.renew = p.begin
	bl.after = p.update
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return v.parameters(b, b.MatMul(p.output(b, sols, v.gradient(b, grads)), sols[0]), nil, grads)
	}
	return bl
}

// secantPair updates the inverses of one layer.
type secantPair struct {
	e    *engine
	cap  *captured
	v    view
	rank int64 // pairs kept in the place of H_G; 0: H_G
	mean int   // index in sols of the EMA of s; those of y and "begun" follow
}

// output is H_G x, for x of o rows.
func (p *secantPair) output(b *op.Builder, sols []*graph.Value, x *graph.Value) *graph.Value {
	if p.rank == 0 {
		return b.MatMul(sols[1], x)
	}
	s, y := sols[1], sols[2]
	gamma := newestScale(b, s, y)
	return limitedBFGS(b, s, y, b.Mul(y, gamma), x, b.Mul(x, gamma))
}

// begin makes H_A the damped inverse of A on the first step that has one.
func (p *secantPair) begin(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
	e, at := p.e, p.mean+2
	dampA, _ := p.damping(b)
	begun := b.Compare("Greater", sols[at], b.Float(e.elem, 0))
	sols[0] = b.If(begun,
		func(*op.Builder) []*graph.Value { return []*graph.Value{sols[0]} },
		func(b *op.Builder) []*graph.Value { return []*graph.Value{e.inverse(b, stats[0], dampA)} })[0]
	sols[at] = b.Float(e.elem, 1)
	return sols
}

// damping splits lambda: its root for either factor; over a convolution of R positions a row of A counts R times, and
// the factors get sqrt(lambda R) and sqrt(lambda/R).
func (p *secantPair) damping(b *op.Builder) (dampA, dampG *graph.Value) {
	e := p.e
	if e.rec.Solve.Damping.Kind == "none" {
		zero := b.Float(e.elem, 0)
		return zero, zero
	}
	root := b.Sqrt(e.damping())
	l := p.cap.layers[0]
	if l.Kind == graph.LayerLinear {
		return root, root
	}
	var axes []int
	for i := 2; i < l.Out.Type.Rank(); i++ {
		axes = append(axes, i)
	}
	over := b.Sqrt(b.CountOf(l.Out, e.elem, axes...))
	return b.Mul(root, over), b.Div(root, over)
}

// update is what happens once the next parameters are known.
func (p *secantPair) update(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
	dampA, dampG := p.damping(b)
	mean := b.Squeeze(p.v.meanIn(p.e, b, p.cap.layers), 0)
	s := b.MatMul(sols[0], mean)
	y := b.Add(b.MatMul(stats[0], s), b.Mul(s, dampA))
	hA := bfgs(b, sols[0], s, y, b.Float(p.e.elem, 0))

	grad := p.perRow(b, p.meanOutput(b, func(use int, _ pass.Layer) *graph.Value { return p.cap.g[0][use] }))
	s, y = p.change(b)
	beta := p.e.rec.Accumulate.Beta
	s, y = p.e.moving(b, sols[p.mean], s, beta), p.e.moving(b, sols[p.mean+1], y, beta)
	hy := b.Squeeze(p.output(b, sols, b.Unsqueeze(y, 1)), 1)
	ds, dy := p.e.dampedPair(b, hy, s, y, dampG)
	least := b.Scale(b.Mul(dot(b, ds, ds), b.Reduce("ReduceL2", grad, false)), curvatureSkip)
	if p.rank == 0 {
		return []*graph.Value{hA, bfgs(b, sols[1], ds, dy, least), s, y, sols[p.mean+2]}
	}
	ok := b.Compare("Greater", dot(b, ds, dy), least)
	kept := func(rows, row *graph.Value) *graph.Value { return b.Where(ok, shifted(b, rows, row), rows) }
	return []*graph.Value{hA, kept(sols[1], ds), kept(sols[2], dy), s, y, sols[p.mean+2]}
}

// change is how the mean output and its mean gradient differ between the next parameters and these: the mean of the
// differences, for the means themselves are so close that rounding would show.
func (p *secantPair) change(b *op.Builder) (s, y *graph.Value) {
	after := p.e.quantities[quantity{p.cap.layers[0].Name, graph.CaptureAfter}] // by use: gradient, output
	s = p.meanOutput(b, func(use int, l pass.Layer) *graph.Value { return b.Sub(after[use][1], l.Out) })
	y = p.meanOutput(b, func(use int, _ pass.Layer) *graph.Value { return b.Sub(after[use][0], p.cap.g[0][use]) })
	size := p.meanOutput(b, func(use int, _ pass.Layer) *graph.Value {
		return b.Add(b.Unary("Abs", after[use][0]), b.Unary("Abs", p.cap.g[0][use]))
	})
	return s, p.perRow(b, p.known(b, y, size))
}

// known is y where it is more than the rounding of the numbers that it is the mean of, and zero elsewhere. Before a
// normalisation over the same rows mean gradients are exactly zero: Powell's damping would take what rounding leaves of
// them for directions.
func (p *secantPair) known(b *op.Builder, y, size *graph.Value) *graph.Value {
	rounding := 8 * 0x1p-23
	if p.e.elem == graph.Float64 {
		rounding = 8 * 0x1p-52
	}
	return b.Where(b.Compare("Greater", b.Unary("Abs", y), b.Scale(size, rounding)), y, b.Float(p.e.elem, 0))
}

// perRow makes mean gradients of the training loss those of each row's own loss.
func (p *secantPair) perRow(b *op.Builder, g *graph.Value) *graph.Value {
	if p.cap.factor == nil {
		return g
	}
	return b.Mul(g, p.cap.factor)
}

// meanOutput is the mean of the rows of a quantity in the shape of the layer's outputs.
func (p *secantPair) meanOutput(b *op.Builder, of func(use int, l pass.Layer) *graph.Value) *graph.Value {
	var sum, count *graph.Value
	for use, l := range p.cap.layers {
		sum = plus(b, sum, p.v.sumOut(b, l, of(use, l)))
		count = plus(b, count, b.CountOf(p.v.rowsOut(p.e, b, l, l.Out), p.e.elem, 0))
	}
	return b.Squeeze(b.Div(sum, count), 0)
}

// dampedPair makes a pair of positive curvature: Powell's damping moves s towards Hy so that s.y is at least powellMu y.Hy;
// then Levenberg-Marquardt damping (kind lm) moves y towards s so that s.y is at least mu s.s, or (kind iso, as ASDL has
// it) adds mu s to y.
func (e *engine) dampedPair(b *op.Builder, hy, s, y, mu *graph.Value) (ds, dy *graph.Value) {
	one := b.Float(e.elem, 1)
	sy, yhy := dot(b, s, y), dot(b, y, hy)
	low := b.Compare("Less", sy, b.Scale(yhy, powellMu))
	theta := b.Where(low, b.Div(b.Scale(yhy, 1-powellMu), b.Sub(yhy, sy)), one)
	s = b.Where(low, b.Add(b.Mul(s, theta), b.Mul(hy, b.Sub(one, theta))), s)
	switch e.rec.Solve.Damping.Kind {
	case "iso":
		y = b.Add(y, b.Mul(s, mu))
	case "lm":
		sy, ss := dot(b, s, y), dot(b, s, s)
		low := b.Compare("Less", sy, b.Mul(ss, mu))
		theta := b.Where(low, b.Div(b.Mul(b.Sub(one, mu), ss), b.Sub(ss, sy)), one)
		y = b.Where(low, b.Add(b.Mul(y, theta), b.Mul(s, b.Sub(one, theta))), y)
	}
	return s, y
}

func dot(b *op.Builder, x, y *graph.Value) *graph.Value { return b.Sum(b.Mul(x, y)) }

// bfgs is the BFGS update of an inverse Hessian h by a pair with s.y above least; by another it stays.
func bfgs(b *op.Builder, h, s, y, least *graph.Value) *graph.Value {
	ok := b.Compare("Greater", dot(b, s, y), least)
	zero := b.FloatLike(s, 0)
	return b.Call("BFGS", 1, []*graph.Value{h, b.Where(ok, s, zero), b.Where(ok, y, zero)})[0]
}
