package precondition

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// wayDual never makes a factor: those of this step's rows alone are a rowFactor each.
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

// factors are A and S of this step, as inputFactor and outputFactor make them; count is what the squares of A's rows were divided
// by.
func (d *dual) factors(b *op.Builder) (a, s rowFactor, count *graph.Value) {
	x, count, z, weight := d.e.samples(b, d.cap, d.v)
	if scale := d.e.rec.Curvature.Scale; scale != 0 {
		count, weight = b.Scale(count, 1/scale), b.Scale(weight, scale)
	}
	return rowFactor{d.e, b.Div(x, b.Sqrt(count))}, rowFactor{d.e, b.Mul(z, b.Sqrt(weight))}, count
}

// apply gives directions and, where it is asked for, their inner product with the gradient.
func (d *dual) apply(b *op.Builder, grads []*graph.Value, inner bool) (dirs []*graph.Value, product *graph.Value) {
	e, v := d.e, d.v
	x, g := d.factored.rows(b)
	a, s, count := d.factors(b)
	dampA, dampS := e.factorDamping(b, v.squares(b, a.x), float64(v.in), v.squares(b, s.x), float64(v.out))
	var p *graph.Value
	if e.reduces() {
		p = a.of(b, x, dampA)
	} else { // the rows of A
		p = b.Mul(a.ofItself(b, dampA), b.Sqrt(count))
	}
	q := s.of(b, g, dampS)
	if scale := d.e.rec.Apply.Scale; scale != 0 && scale != 1 {
		q = b.Scale(q, scale)
	}
	var bias *graph.Value
	if !d.v.joint && len(grads) > 1 {
		column := s.of(b, b.Reshape(grads[1], 1, -1), dampS)
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
