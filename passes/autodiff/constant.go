package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// constOf is the tensor of v if it cannot change from run to run.
func constOf(v *graph.Value) (*graph.Tensor, bool) {
	switch {
	case v == nil:
		return nil, false
	case v.IsInitializer():
		return v.Const(), true
	case v.Def() != nil && v.Def().Is("", "Constant"):
		a, ok := v.Def().Attr("value")
		return a.T, ok && a.T != nil
	}
	return nil, false
}

// constInts is the content of an integer tensor, if known.
func constInts(v *graph.Value) ([]int64, bool) {
	if t, ok := constOf(v); ok {
		return t.Int64s()
	}
	if v == nil || v.Content == nil {
		return nil, false
	}
	ints := make([]int64, len(v.Content))
	for i, d := range v.Content {
		n, ok := d.Int()
		if !ok {
			return nil, false
		}
		ints[i] = n
	}
	return ints, true
}

// constFloat is the number in a constant of one element.
func constFloat(v *graph.Value) (float64, bool) {
	t, ok := constOf(v)
	if !ok || t.Len() != 1 {
		return 0, false
	}
	if f, ok := t.Float64s(); ok {
		return f[0], true
	}
	if n, ok := t.Int64s(); ok {
		return float64(n[0]), true
	}
	return 0, false
}

// piece is a part of a shape: a number, or a run-time int64 tensor of shape [k].
type piece struct {
	n int64
	v *graph.Value
}

// num is a known part of a shape; -1 is solved for by Reshape, 0 copies a dimension.
func num(n int64) piece { return piece{n: n} }

// dimPiece is dimension axis of x: a number where known.
func (c *Call) dimPiece(x *graph.Value, axis int) piece {
	if n, ok := x.Type.Dims[axis].Size(); ok {
		return num(n)
	}
	return piece{v: c.DimOf(x, axis)}
}

// shape joins parts to a shape tensor: a constant if all are known.
func (c *Call) shape(parts ...piece) *graph.Value {
	var vs []*graph.Value
	var run []int64
	flush := func() {
		if len(run) > 0 {
			vs = append(vs, c.Ints(run...))
			run = nil
		}
	}
	for _, p := range parts {
		if p.v == nil {
			run = append(run, p.n)
			continue
		}
		flush()
		vs = append(vs, p.v)
	}
	flush()
	if vs == nil {
		return c.Ints()
	}
	return c.Concat(0, vs...)
}

// axis makes a possibly negative axis count from the front of rank dimensions.
func axis(a int64, rank int) int64 {
	if a < 0 {
		return a + int64(rank)
	}
	return a
}

// axesFrom lists first..rank-1.
func axesFrom(first int64, rank int) []int64 {
	var axes []int64
	for a := first; a < int64(rank); a++ {
		axes = append(axes, a)
	}
	return axes
}

// spatialAxes lists the axes of [N, C, d1, d2, ...] after the channels.
func spatialAxes(rank int) []int64 { return axesFrom(2, rank) }

// batchAxes lists the axes of [N, C, d1, d2, ...] other than the channels.
func batchAxes(rank int) []int64 { return append([]int64{0}, spatialAxes(rank)...) }
