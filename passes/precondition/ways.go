package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// factored is the training gradient of a layer as a product, Ĝ = D^T X̂ with a row for each example and position: X̂ the
// inputs with the coordinate of ones, D the gradients in the outputs. Then S^-1 Ĝ A^-1 = (D S^-1)^T (X̂ A^-1), which is
// less work where rows are few, and Ĝ itself need not be computed.
type factored struct {
	cap   *captured
	v     view
	count float64 // rows
}

// factored is the product form of a layer's gradient, or nil where the number of rows is unknown, or the layer's output
// gradients in training were not captured.
func (e *engine) factored(cap *captured, v view) *factored {
	if e.sizes == nil || len(cap.train) != len(cap.layers) {
		return nil
	}
	f := &factored{cap: cap, v: v}
	for _, l := range cap.layers {
		shape, ok := (op.Counter{Sizes: e.sizes}).Shape(l.Out)
		if !ok {
			return nil
		}
		n := 1.0
		for _, d := range shape {
			n *= float64(d)
		}
		f.count += n / float64(v.groups*v.out)
	}
	return f
}

// rows are X̂ and D, [R, i+] and [R, o], or with groups in front.
func (f *factored) rows(b *op.Builder) (x, d *graph.Value) {
	var xs, ds []*graph.Value
	for use, l := range f.cap.layers {
		xs = append(xs, f.v.byGroup(b, f.v.inputs(b, l, false), f.v.plain()))
		ds = append(ds, f.v.byGroup(b, f.v.outputs(b, l, f.cap.train[use], false), f.v.out))
	}
	x, d = xs[0], ds[0]
	if len(xs) > 1 {
		axis := int64(x.Type.Rank() - 2)
		x, d = b.Concat(axis, xs...), b.Concat(axis, ds...)
	}
	return f.v.withOnes(b, x), d
}

// apply gives the directions, and where it is asked for their inner product with the gradient; without invS, G A^-1.
func (f *factored) apply(b *op.Builder, grads []*graph.Value, invA, invS *graph.Value, scale float64, inner bool) (dirs []*graph.Value, inGradient *graph.Value) {
	x, plain := f.rows(b)
	q := plain
	if scale != 0 && scale != 1 {
		q = b.Scale(q, scale)
	}
	p := b.MatMul(x, invA)
	if invS == nil {
		dirs = f.v.parameters(b, rowProduct(b, q, p), nil, grads)
	} else {
		q = b.MatMul(q, invS)
		dirs = f.v.parameters(b, rowProduct(b, q, p), f.v.apart(b, grads, invS), grads)
	}
	if !inner {
		return dirs, nil
	}
	inGradient = f.inner(b, p, q, x, plain)
	if len(dirs) > 1 && !f.v.joint {
		inGradient = b.Add(inGradient, inBias(b, dirs[1], grads[1], scale))
	}
	return dirs, inGradient
}

// inBias is the inner product of a direction with the gradient of a bias, of which scaled is scale times it; 0 is 1.
func inBias(b *op.Builder, dir, scaled *graph.Value, scale float64) *graph.Value {
	product := b.Sum(b.Mul(dir, scaled))
	if scale != 0 && scale != 1 {
		return b.Scale(product, 1/scale)
	}
	return product
}

// inner is <q^T p, d^T x> = sum of (q d^T) o (p x^T), o being the product of elements.
func (f *factored) inner(b *op.Builder, p, q, x, d *graph.Value) *graph.Value {
	return b.Sum(b.Mul(b.MatMul(q, b.Swap(d)), b.MatMul(p, b.Swap(x))))
}

// The ways of applying S^-1 and A^-1, A^-1 alone, and of turning into eigenbases.
const (
	wayMatrix        = "S^-1 G A^-1"
	wayRows          = "(D S^-1)^T (X A^-1)"
	wayMatrixOneSide = "G A^-1"
	wayRowsOneSide   = "D^T (X A^-1)"
	wayMatrixBasis   = "QS^T G QA"
	wayRowsBasis     = "(D QS)^T (X QA)"
)

// ways lists the ways to apply what a layer's solve has made, the cheapest first, with the operations for the product that the
// gradient is, where it is made for the direction alone. matrix and rows are the operations of either way beside, inner those of
// reading off the inner product of clipping from the rows.
func (e *engine) ways(f *factored, names [2]string, matrix, rows, inner float64) []pass.Way {
	g, o, i, r := float64(f.v.groups), float64(f.v.out), float64(f.v.in), f.count
	if f.v.Kind != graph.LayerLinear { // the patches, by a convolution with one-hot filters
		k := 1.0
		for _, n := range f.v.l.Node.IntList("kernel_shape") {
			k *= float64(n)
		}
		rows += 2 * k * g * r * i
	}
	gradient := 2 * g * r * o * i
	matrix += gradient
	if e.gradientAnyway() {
		rows += gradient
	} else if e.rec.Apply.KLClip != 0 {
		rows += inner
	}
	list := []pass.Way{{Name: names[0], Flops: matrix}, {Name: names[1], Flops: rows}}
	if rows < matrix {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

// kronWays are those of Kronecker factors.
func (e *engine) kronWays(f *factored) []pass.Way {
	g, o, i, r := float64(f.v.groups), float64(f.v.out), float64(f.v.in), f.count
	return e.ways(f, [2]string{wayMatrix, wayRows}, 2*g*o*i*(o+i), 2*g*r*(o*o+i*i+o*i), 2*g*r*r*(o+i))
}

// gradientAnyway reports whether something else than the direction needs the gradients of the weights.
func (e *engine) gradientAnyway() bool {
	return e.c.Options.OutputGrad || e.rec.Apply.Graft == "sgd" || e.rec.Representation.Moments == "mean"
}

// innerNeeded reports whether the inner product of directions and gradients is to be read off the rows.
func (e *engine) innerNeeded() bool { return e.rec.Apply.KLClip != 0 && !e.gradientAnyway() }

// applyKron makes the application of a block with the solutions A^-1 and S^-1, in the way that costs least.
func (e *engine) applyKron(bl *block, cap *captured, v view) {
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return v.apply(b, grads, sols[0], sols[1])
	}
	f := e.factored(cap, v)
	if f == nil {
		return
	}
	bl.ways = e.kronWays(f)
	if e.applyDual(bl, f) {
		return
	}
	e.applyRows(bl, f, wayRows, func(sols []*graph.Value) (invA, invS *graph.Value) { return sols[0], sols[1] })
}

// applyOneSided makes the application of a block with the solution A^-1.
func (e *engine) applyOneSided(bl *block, cap *captured, v view) {
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return v.parameters(b, b.MatMul(v.gradient(b, grads), sols[0]), nil, grads)
	}
	f := e.factored(cap, v)
	if f == nil {
		return
	}
	g, o, i, r := float64(v.groups), float64(v.out), float64(v.in), f.count
	bl.ways = e.ways(f, [2]string{wayMatrixOneSide, wayRowsOneSide}, 2*g*o*i*i, 2*g*r*(i*i+o*i), 2*g*r*r*(o+i))
	e.applyRows(bl, f, wayRowsOneSide, func(sols []*graph.Value) (invA, invS *graph.Value) { return sols[0], nil })
}

// applyRows makes the application that of the rows, where that way is the cheapest.
func (e *engine) applyRows(bl *block, f *factored, way string, inverses func(sols []*graph.Value) (invA, invS *graph.Value)) {
	if bl.ways[0].Name != way {
		return
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		invA, invS := inverses(sols)
		dirs, inner := f.apply(b, grads, invA, invS, e.rec.Apply.Scale, e.innerNeeded())
		bl.inner = inner
		return dirs
	}
}

// applyBasis makes the application of a block that is turned into the bases QA and QS of sols and divided by s + lambda there.
func (e *engine) applyBasis(bl *block, cap *captured, v view, sols func(b *op.Builder, sols []*graph.Value) (qa, qs, s *graph.Value)) {
	bl.apply = func(b *op.Builder, grads, _, all []*graph.Value) []*graph.Value {
		qa, qs, s := sols(b, all)
		turned := b.MatMul(b.MatMul(b.Swap(qs), v.gradient(b, grads)), qa)
		return v.parameters(b, e.turnedBack(b, turned, qa, qs, s), nil, grads)
	}
	f := e.factored(cap, v)
	if f == nil {
		return
	}
	g, o, i, r := float64(v.groups), float64(v.out), float64(v.in), f.count
	bl.ways = e.ways(f, [2]string{wayMatrixBasis, wayRowsBasis}, 2*g*o*i*(o+i), 2*g*r*(o*o+i*i+o*i), 2*g*o*i)
	if bl.ways[0].Name != wayRowsBasis {
		return
	}
	bl.apply = func(b *op.Builder, grads, _, all []*graph.Value) []*graph.Value {
		qa, qs, s := sols(b, all)
		x, d := f.rows(b)
		turned := rowProduct(b, b.MatMul(d, qs), b.MatMul(x, qa))
		scaled := turned
		if scale := e.rec.Apply.Scale; scale != 0 {
			scaled = b.Scale(turned, scale)
		}
		if e.innerNeeded() { // <QS y QA^T, G> = <y, QS^T G QA>
			bl.inner = b.Sum(b.Div(b.Mul(scaled, turned), b.Add(s, e.damping())))
		}
		return v.parameters(b, e.turnedBack(b, scaled, qa, qs, s), nil, grads)
	}
}

// rowProduct is d^T x over the rows of [..., R, n].
func rowProduct(b *op.Builder, d, x *graph.Value) *graph.Value {
	if d.Type.Rank() == 2 {
		return b.Gemm(d, x, true, false)
	}
	return b.MatMul(b.Swap(d), x)
}
