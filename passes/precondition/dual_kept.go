package precondition

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// keptDual is a dual whose rows and inverses are used until the next solve. A state tensor has one shape for batches of all
// sizes: there is room for the rows of the batch that the graph is meant for, and zeros after those of a smaller one, which
// change no factor. On a larger batch the factors are formed and inverted, and fits says so.
type keptDual struct {
	*dual
	sides [2]dualSide // of A, of S
	fits  int         // index among the solutions
}

// dualSide is a side of a layer: dense is the index of its inverse factor among the solutions, rows the index of its rows,
// which the inverse of their Gram matrix and the damping follow, or -1 where there are no fewer rows than numbers in one.
type dualSide struct {
	keptSide
	dense, rows int
}

// keep makes the block one whose solutions are kept.
func (d *dual) keep(bl *block) {
	k := &keptDual{dual: d}
	bl.sols = slices.Clone(bl.sols) // A^-1 and S^-1
	for i, s := range []struct {
		name    string
		n, size int64
	}{{"in", d.v.in, int64(d.rowsA)}, {"out", d.v.out, int64(d.rows)}} {
		side := dualSide{keptSide{d.e, s.n, s.size}, i, -1}
		if s.size < s.n {
			side.rows = len(bl.sols)
			bl.sols = append(bl.sols, curvature("rows_"+s.name, []int64{s.size, s.n}, "zeros"),
				curvature("gram_"+s.name, []int64{s.size, s.size}, "zeros"), curvature("damping_"+s.name, nil, "ones"))
		}
		k.sides[i] = side
	}
	k.fits = len(bl.sols)
	bl.sols = append(bl.sols, curvature("fits", nil, "zeros"))
	bl.stats, bl.fresh, bl.solve = nil, nil, nil
	bl.guard = true
	bl.renew = k.renew
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		dirs, inner := k.apply(b, grads, sols)
		bl.inner = inner
		return dirs
	}
}

func (k *keptDual) renew(b *op.Builder, _, sols []*graph.Value) []*graph.Value {
	a, s, _ := k.factors(b)
	dampA, dampS := k.e.factorDamping(b, k.v.squares(b, a.x), float64(k.v.in), k.v.squares(b, s.x), float64(k.v.out))
	rows, damp := []*graph.Value{a.x, s.x}, []*graph.Value{dampA, dampS}
	fits := k.fit(b, rows)
	return b.If(fits, func(b *op.Builder) []*graph.Value {
		next := slices.Clone(sols)
		for i, side := range k.sides {
			if side.rows < 0 {
				next[side.dense] = side.solve(b, rows[i], damp[i])
				continue
			}
			x := pushed(b, b.Full(b.Ints(side.size, side.n), k.e.elem, 0), rows[i], 0)
			next[side.rows], next[side.rows+1], next[side.rows+2] = x, side.solve(b, x, damp[i]), b.Reshape(damp[i])
		}
		next[k.fits] = b.Float(k.e.elem, 1)
		return next
	}, func(b *op.Builder) []*graph.Value {
		next := slices.Clone(sols)
		for i, side := range k.sides {
			next[side.dense] = k.e.inverse(b, gram(b, rows[i]), damp[i])
		}
		next[k.fits] = b.Float(k.e.elem, 0)
		return next
	})
}

// fit is a bool scalar: there is room for the rows.
func (k *keptDual) fit(b *op.Builder, rows []*graph.Value) *graph.Value {
	var all *graph.Value
	for i, side := range k.sides {
		if side.rows < 0 {
			continue
		}
		fits := b.Compare("LessOrEqual", b.Squeeze(b.DimOf(rows[i], 0), 0), b.Int(side.size))
		if all == nil {
			all = fits
		} else {
			all = b.Op("And", []*graph.Value{all, fits})
		}
	}
	return all
}

// apply gives directions as dual.apply does, by the solutions.
func (k *keptDual) apply(b *op.Builder, grads, sols []*graph.Value) (dirs []*graph.Value, product *graph.Value) {
	x, g := k.factored.rows(b)
	in := []*graph.Value{x, g}
	if !k.v.joint && len(grads) > 1 {
		in = append(in, b.Reshape(grads[1], 1, -1))
	}
	right := func(by func(b *op.Builder, side dualSide, y *graph.Value) *graph.Value) func(b *op.Builder) []*graph.Value {
		return func(b *op.Builder) []*graph.Value {
			out := make([]*graph.Value, len(in))
			for i, y := range in {
				out[i] = by(b, k.sides[min(i, 1)], y)
			}
			return out
		}
	}
	dense := func(b *op.Builder, side dualSide, y *graph.Value) *graph.Value { return b.MatMul(y, sols[side.dense]) }
	byRows := func(b *op.Builder, side dualSide, y *graph.Value) *graph.Value {
		if side.rows < 0 {
			return dense(b, side, y)
		}
		return b.Swap(side.apply(b, b.Swap(y), sols[side.rows], sols[side.rows+1], sols[side.rows+2]))
	}
	fits := b.Compare("Greater", sols[k.fits], b.Float(k.e.elem, 0))
	out := b.If(fits, right(byRows), right(dense))
	q := out[1]
	if scale := k.e.rec.Apply.Scale; scale != 0 && scale != 1 {
		q = b.Scale(q, scale)
	}
	var bias *graph.Value
	if len(out) > 2 {
		bias = b.ReshapeLike(out[2], grads[1])
	}
	return k.directions(b, grads, out[0], q, x, g, bias, k.e.innerNeeded())
}
