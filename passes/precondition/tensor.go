package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// view is the shape in which a parameter is preconditioned; nil for vectors.
func (e *engine) view(shape []int64) []int64 {
	if len(shape) < 2 {
		return nil
	}
	switch {
	case e.rec.Representation.Sides == "modes" || e.rec.Representation.Sides == "kernel" && len(shape) < 4:
		return shape
	case e.rec.Representation.Sides == "kernel":
		return []int64{shape[0], shape[1], count(shape[2:])}
	}
	rest := int64(1)
	for _, n := range shape[1:] {
		rest *= n
	}
	if shape[0] == 1 || rest == 1 {
		return nil
	}
	return []int64{shape[0], rest}
}

// hasFactor reports whether a side of size n gets a factor that is a matrix.
func (e *engine) hasFactor(n int64) bool {
	r := e.rec.Representation
	return r.MaxSide == 0 || n <= int64(r.MaxSide)
}

// cuts divides each side into nearly equal parts of at most max_side, under on_exceed split.
func (e *engine) cuts(view []int64) [][]int64 {
	r := e.rec.Representation
	cuts := make([][]int64, len(view))
	for d, n := range view {
		parts := int64(1)
		if r.MaxSide > 0 && (r.OnExceed == "" || r.OnExceed == "split") {
			parts = (n + int64(r.MaxSide) - 1) / int64(r.MaxSide)
		}
		for i := range parts {
			cuts[d] = append(cuts[d], n*(i+1)/parts-n*i/parts)
		}
	}
	return cuts
}

// product lists the shapes of the tiles, the last dimension running fastest.
func product(cuts [][]int64) [][]int64 {
	tiles := [][]int64{{}}
	for _, sizes := range cuts {
		var next [][]int64
		for _, t := range tiles {
			for _, n := range sizes {
				next = append(next, append(append([]int64{}, t...), n))
			}
		}
		tiles = next
	}
	return tiles
}

// split cuts a gradient into tiles, in the order of product.
func (e *engine) split(b *op.Builder, g *graph.Value, shape, view []int64, cuts [][]int64) []*graph.Value {
	if len(shape) != len(view) {
		g = b.Reshape(g, view...)
	}
	parts := []*graph.Value{g}
	for d, sizes := range cuts {
		if len(sizes) == 1 {
			continue
		}
		var next []*graph.Value
		for _, p := range parts {
			next = append(next, b.Split(p, int64(d), sizes...)...)
		}
		parts = next
	}
	return parts
}

// join is the inverse of split.
func (e *engine) join(b *op.Builder, parts []*graph.Value, shape, view []int64, cuts [][]int64) *graph.Value {
	for d := len(cuts) - 1; d >= 0; d-- {
		n := len(cuts[d])
		var next []*graph.Value
		for i := 0; i < len(parts); i += n {
			next = append(next, b.Concat(int64(d), parts[i:i+n]...))
		}
		parts = next
	}
	if len(shape) != len(view) {
		return b.Reshape(parts[0], shape...)
	}
	return parts[0]
}

// unfold is the matrix whose rows run over dimension d of x.
func unfold(b *op.Builder, x *graph.Value, d int) *graph.Value {
	rank := x.Type.Rank()
	if d != 0 {
		x = b.Transpose(x, toFront(rank, d)...)
	}
	if rank == 2 {
		return x
	}
	return b.Reshape(x, side(x, 0), -1)
}

// multiply contracts dimension d of x with the symmetric matrix m.
func multiply(b *op.Builder, x, m *graph.Value, d int) *graph.Value {
	rank := x.Type.Rank()
	switch {
	case rank == 2 && d == 0:
		return b.MatMul(m, x)
	case d == rank-1:
		return b.MatMul(x, m)
	}
	perm := toFront(rank, d)
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	front := b.Transpose(x, perm...)
	shape, _ := front.Type.Static()
	y := b.MatMul(m, b.Reshape(front, shape[0], -1))
	return b.Transpose(b.Reshape(y, shape...), back...)
}

func toFront(rank, d int) []int64 {
	perm := []int64{int64(d)}
	for i := range rank {
		if i != d {
			perm = append(perm, int64(i))
		}
	}
	return perm
}
