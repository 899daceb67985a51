package precondition

import (
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// wayDual never makes a factor: those of this step's rows alone are a rowFactor each.
const wayDual = "Gram duals"

// dual is a block whose factors are inverted so. Statistics are of this step, and solved on this step. Where every step is
// one, there is no state.
type dual struct {
	*factored
	e           *engine
	rowsA, rows float64 // of the statistics: inputs, output gradients
}

// dual is the dual form of a block, or nil where the record or the layer does not allow it: statistics that outlive a step,
// groups, no damping.
func (e *engine) dual(f *factored) *dual {
	acc, sol := e.rec.Accumulate, e.rec.Solve
	if f == nil || acc.Kind != "none" || sol.Damping.Kind == "none" || f.v.groups > 1 || e.rec.Apply.Graft == "sgd" {
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

// flops are those of a step: Gram matrices and their inverses, and the application.
func (d *dual) flops() float64 {
	o, i := float64(d.v.out), float64(d.v.in)
	solve := func(rows, n float64) float64 { return 2*rows*rows*n + math.Pow(rows, 3) }
	total := (solve(d.rowsA, i)+solve(d.rows, o))/d.period() + 4*d.count*(d.rowsA*i+d.rows*o) + 2*d.count*o*i
	if d.e.rec.Apply.KLClip != 0 {
		total += 2 * d.count * d.count * (o + i)
	}
	return total
}

// primal are the operations of statistics, inverses and application in another way.
func (d *dual) primal(way pass.Way) pass.Way {
	o, i := float64(d.v.out), float64(d.v.in)
	way.Flops += (2*d.rowsA*i*i + 2*d.rows*o*o + i*i*i + o*o*o) / d.period()
	return way
}

// period is the mean number of steps from one solve to the next.
func (d *dual) period() float64 {
	if s := d.e.rec.Accumulate.Schedule; s != "" {
		return float64(len(s)) / float64(max(1, strings.Count(s, "1")))
	}
	return float64(max(1, d.e.rec.Solve.Every))
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
	return d.directions(b, grads, p, q, x, g, bias, inner)
}

// directions are q^T p and bias, and where it is asked for their inner product with the gradient g^T x.
func (d *dual) directions(b *op.Builder, grads []*graph.Value, p, q, x, g, bias *graph.Value, inner bool) (dirs []*graph.Value, product *graph.Value) {
	dirs = d.v.parameters(b, b.Gemm(q, p, true, false), bias, grads)
	if inner {
		product = d.inner(b, p, q, x, g)
		if bias != nil {
			product = b.Add(product, inBias(b, bias, grads[1], d.e.rec.Apply.Scale))
		}
	}
	return dirs, product
}

// applyDual makes the block one of Gram matrices if that costs least, and reports whether it did.
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
	bl.note.Treatment += ", by Gram matrices of their rows"
	if e.rec.Solve.Every > 1 || e.rec.Accumulate.Every > 1 || e.rec.Accumulate.Schedule != "" {
		d.keep(bl)
		return true
	}
	bl.stats, bl.sols, bl.fresh, bl.solve = nil, nil, nil, nil
	bl.always, bl.guard, bl.inverts = true, true, true
	bl.apply = func(b *op.Builder, grads, _, _ []*graph.Value) []*graph.Value {
		dirs, inner := d.apply(b, grads, e.innerNeeded())
		bl.inner = inner
		return dirs
	}
	return true
}
