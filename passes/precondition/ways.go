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

// apply gives the directions, and where it is asked for their inner product with the gradient.
func (f *factored) apply(b *op.Builder, grads []*graph.Value, invA, invS *graph.Value, scale float64, inner bool) (dirs []*graph.Value, product *graph.Value) {
	x, d := f.rows(b)
	if scale != 0 && scale != 1 {
		d = b.Scale(d, scale)
	}
	p, q := b.MatMul(x, invA), b.MatMul(d, invS)
	var m *graph.Value
	if q.Type.Rank() == 2 {
		m = b.Gemm(q, p, true, false)
	} else {
		m = b.MatMul(b.Swap(q), p)
	}
	dirs = f.v.parameters(b, m, f.v.apart(b, grads, invS), grads)
	if !inner {
		return dirs, nil
	}
	_, plain := f.rows(b)
	product = f.inner(b, p, q, x, plain)
	if len(dirs) > 1 && !f.v.joint {
		product = b.Add(product, b.Sum(b.Mul(dirs[1], grads[1])))
	}
	return dirs, product
}

// inner is <q^T p, d^T x> = sum of (q d^T) o (p x^T), o being the product of elements.
func (f *factored) inner(b *op.Builder, p, q, x, d *graph.Value) *graph.Value {
	return b.Sum(b.Mul(b.MatMul(q, b.Swap(d)), b.MatMul(p, b.Swap(x))))
}

// The ways of applying S^-1 and A^-1.
const (
	wayMatrix = "S^-1 G A^-1"
	wayRows   = "(D S^-1)^T (X A^-1)"
)

// ways lists the ways to apply a layer's inverse factors, the cheapest first, with the operations for the product that the
// gradient is, where it is made for the direction alone. Reading off the inner product of clipping is included.
func (e *engine) ways(f *factored) []pass.Way {
	g, o, i, r := float64(f.v.groups), float64(f.v.out), float64(f.v.in), f.count
	matrix, rows := 2*g*o*i*(o+i), 2*g*r*(o*o+i*i+o*i)
	if f.v.Kind != graph.LayerLinear { // the patches, by a convolution with one-hot filters
		k := 1.0
		for _, n := range f.v.l.Node.IntList("kernel_shape") {
			k *= float64(n)
		}
		rows += 2 * k * g * r * i
	}
	if gradient := 2 * g * r * o * i; e.gradientAnyway() {
		rows += gradient
		matrix += gradient
	} else {
		matrix += gradient
		if e.rec.Apply.KLClip != 0 {
			rows += 2 * g * r * r * (o + i)
		}
	}
	list := []pass.Way{{Name: wayMatrix, Flops: matrix}, {Name: wayRows, Flops: rows}}
	if rows < matrix {
		list[0], list[1] = list[1], list[0]
	}
	return list
}

// gradientAnyway reports whether something else than the direction needs the gradients of the weights.
func (e *engine) gradientAnyway() bool {
	return e.c.Options.OutputGrad || e.rec.Apply.Graft == "sgd"
}

// applyKron makes the application of a block with the solutions A^-1 and S^-1, in the way that costs least.
func (e *engine) applyKron(bl *block, cap *captured, v view) {
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return v.apply(b, grads, sols[0], sols[1])
	}
	f := e.factored(cap, v)
	if f == nil {
		return
	}
	bl.ways = e.ways(f)
	if e.applyDual(bl, f) {
		return
	}
	if bl.ways[0].Name != wayRows {
		return
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		dirs, inner := f.apply(b, grads, sols[0], sols[1], e.rec.Apply.Scale, e.rec.Apply.KLClip != 0 && !e.gradientAnyway())
		bl.inner = inner
		return dirs
	}
}
