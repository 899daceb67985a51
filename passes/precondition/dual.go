package precondition

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// wayDual never makes a factor: a statistic of this step alone, C = Z^T Z / n of R rows Z, is inverted through its Gram
// matrix K = Z Z^T, R x R, by Sherman, Morrison and Woodbury:
//
//	Y (C + d I)^-1 = (Y - Y Z^T (K + n d I)^-1 Z) / d, which for Y = Z is n (K + n d I)^-1 Z.
const wayDual = "Gram duals"

// dual is a block whose factors are inverted so. There is no state: statistics are of this step, and solved on this step.
type dual struct {
	*factored
	e           *engine
	rowsA, rows float64 // of the statistics: inputs, output gradients
}

// dual is the dual form of a block, or nil where the record or the layer does not allow it: statistics that outlive a step,
// factors that outlive a step, groups, no damping.
func (e *engine) dual(f *factored) *dual {
	acc, sol := e.rec.Accumulate, e.rec.Solve
	if f == nil || acc.Kind != "none" || sol.Every > 1 || acc.Every > 1 || acc.Schedule != "" || sol.Damping.Kind == "none" || f.v.groups > 1 ||
		e.rec.Apply.Graft == "sgd" {
		return nil
	}
	d := &dual{factored: f, e: e, rowsA: f.count}
	if e.reduces() {
		d.rowsA = 0
		for _, l := range f.cap.layers {
			shape, _ := (op.Counter{Sizes: e.sizes}).Shape(l.Out)
			d.rowsA += float64(shape[0])
		}
	}
	d.rows = d.rowsA * float64(len(f.cap.g))
	return d
}

// flops are those of a step: Gram matrices, their inverses, and the application.
func (d *dual) flops() float64 {
	o, i := float64(d.v.out), float64(d.v.in)
	side := func(rows, n float64) float64 { return 2*rows*rows*n + math.Pow(rows, 3) + 4*rows*d.count*n }
	total := side(d.rowsA, i) + side(d.rows, o) + 2*d.count*o*i
	if d.e.rec.Apply.KLClip != 0 {
		total += 2 * d.count * d.count * (o + i)
	}
	return total
}

// primal are the operations of statistics, inverses and application in another way.
func (d *dual) primal(way pass.Way) pass.Way {
	o, i := float64(d.v.out), float64(d.v.in)
	way.Flops += 2*d.rowsA*i*i + 2*d.rows*o*o + i*i*i + o*o*o
	return way
}

// statistic is C = Z^T Z / n.
type statistic struct{ z, n *graph.Value }

func (s statistic) trace(b *op.Builder) *graph.Value { return b.Div(b.Sum(b.Square(s.z)), s.n) }

// statistics are A and S of this step, as inputFactor and outputFactor make them.
func (d *dual) statistics(b *op.Builder, x *graph.Value) (a, s statistic) {
	e, v := d.e, d.v
	a.z = x
	if e.reduces() {
		var zs []*graph.Value
		for _, l := range d.cap.layers {
			zs = append(zs, v.rowsIn(e, b, l))
		}
		a.z = v.withOnes(b, joined(b, zs))
	}
	a.n = b.CountOf(a.z, e.elem, 0)
	var zs []*graph.Value
	for draw := range len(d.cap.g) {
		for use, l := range d.cap.layers {
			zs = append(zs, v.rowsOut(e, b, l, d.cap.g[draw][use]))
		}
	}
	s.z, s.n = joined(b, zs), e.dataSize()
	if d.cap.factor != nil {
		s.z = b.Mul(s.z, d.cap.factor)
	}
	samples := 1.0
	if n := float64(e.rec.Curvature.Samples); e.rec.Curvature.Source == "mc" && n > 1 {
		samples = n
	}
	if e.rec.Preset == "asdl" {
		samples *= samples
		if !v.perPosition {
			a.n = e.dataSize()
		}
	}
	s.n = b.Scale(s.n, samples)
	if scale := e.rec.Curvature.Scale; scale != 0 && scale != 1 {
		a.n, s.n = b.Scale(a.n, 1/scale), b.Scale(s.n, 1/scale)
	}
	return a, s
}

func joined(b *op.Builder, xs []*graph.Value) *graph.Value {
	if len(xs) == 1 {
		return xs[0]
	}
	return b.Concat(0, xs...)
}

// times is Y (C + damp I)^-1.
func (s statistic) times(b *op.Builder, y, damp *graph.Value) *graph.Value {
	k := b.Gemm(s.z, s.z, false, true)
	inverse := call(b, inverseFunction(1), b.Add(k, b.Mul(eye(b, k), b.Mul(s.n, damp))))
	if y == s.z {
		return b.Mul(b.MatMul(inverse, s.z), s.n)
	}
	return b.Div(b.Sub(y, b.MatMul(b.MatMul(b.Gemm(y, s.z, false, true), inverse), s.z)), damp)
}

// apply gives directions and, where it is asked for, their inner product with the gradient.
func (d *dual) apply(b *op.Builder, grads []*graph.Value, inner bool) (dirs []*graph.Value, product *graph.Value) {
	x, g := d.factored.rows(b)
	a, s := d.statistics(b, x)
	dampA, dampS := d.e.factorDamping(b, a.trace(b), float64(d.v.in), s.trace(b), float64(d.v.out))
	p, q := a.times(b, x, dampA), s.times(b, g, dampS)
	if scale := d.e.rec.Apply.Scale; scale != 0 && scale != 1 {
		q = b.Scale(q, scale)
	}
	var bias *graph.Value
	if !d.v.joint && len(grads) > 1 {
		column := s.times(b, b.Reshape(grads[1], 1, -1), dampS)
		bias = b.ReshapeLike(column, grads[1])
	}
	dirs = d.v.parameters(b, b.Gemm(q, p, true, false), bias, grads)
	if inner {
		product = d.inner(b, p, q, x, g)
		if bias != nil {
			product = b.Add(product, b.Sum(b.Mul(bias, grads[1])))
		}
	}
	return dirs, product
}

// applyDual makes the block a stateless one if that costs least, and reports whether it did.
func (e *engine) applyDual(bl *block, f *factored) bool {
	d := e.dual(f)
	if d == nil {
		return false
	}
	ways := []pass.Way{{Name: wayDual, Flops: d.flops()}}
	for _, w := range bl.ways {
		ways = append(ways, d.primal(w))
	}
	if ways[0].Flops >= ways[1].Flops {
		bl.ways = append(ways[1:], ways[0])
		return false
	}
	bl.ways = ways
	bl.stats, bl.sols, bl.fresh, bl.solve = nil, nil, nil, nil
	bl.always, bl.guard, bl.inverts = true, true, true
	bl.note.Treatment += ", by Gram matrices of their rows"
	bl.apply = func(b *op.Builder, grads, _, _ []*graph.Value) []*graph.Value {
		dirs, inner := d.apply(b, grads, e.rec.Apply.KLClip != 0 && !e.gradientAnyway())
		bl.inner = inner
		return dirs
	}
	return true
}
