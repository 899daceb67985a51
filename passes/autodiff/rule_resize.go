package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// resizeRules are the rows of the interpolation to other sizes, which is linear along each axis.
func resizeRules() []Rule {
	return []Rule{{Op: "Resize", Since: 11, Kind: Linear, Diff: only0, VJP: vjpResize, JVP: jvpResize}}
}

// jvpResize resizes the tangent; beyond the input it is zero.
func jvpResize(c *Call) []*graph.Value {
	return []*graph.Value{c.Op("Resize", append([]*graph.Value{c.d(0)}, c.N.Inputs()[1:]...), c.resizeAttrs("")...)}
}

// resizeAttrs are the node's attributes with extrapolation to zero, but for those in drop.
func (c *Call) resizeAttrs(drop string) []graph.Attr {
	var attrs []graph.Attr
	for _, a := range c.N.Attrs() {
		if a.Name != "extrapolation_value" && a.Name != drop {
			attrs = append(attrs, a)
		}
	}
	return attrs
}

// vjpResize applies, axis by axis, the transposed matrix of the interpolation.
func vjpResize(c *Call) []*graph.Value {
	x, g := c.In(0), c.d(0)
	if !x.Type.Ranked {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	if p := c.N.Str("keep_aspect_ratio_policy", "stretch"); p != "stretch" && c.In(3) != nil {
		return c.unsupported("keep_aspect_ratio_policy is %q; give scales instead", p)
	}
	axes := axesFrom(0, x.Type.Rank())
	if a, ok := c.N.Attr("axes"); ok {
		axes = nil
		for _, k := range a.Ints {
			axes = append(axes, axis(k, x.Type.Rank()))
		}
	}
	for i, a := range axes {
		switch {
		case c.keepsAxis(i, int(a)):
		case c.repeats(i) > 0:
			g = c.sumRepeats(g, int(a), c.repeats(i))
		default:
			g = c.alongAxis(g, c.resizeMatrix(i, len(axes), int(a)), int(a))
		}
	}
	return []*graph.Value{g}
}

// keepsAxis reports whether axis a, which is entry i of the axes that are resized, stays as it is.
func (c *Call) keepsAxis(i, a int) bool {
	if c.N.Str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" {
		return false
	}
	if c.In(3) != nil {
		d := c.In(0).Type.Dims[a]
		return !d.IsUnknown() && c.Out(0).Type.Ranked && c.Out(0).Type.Dims[a] == d
	}
	s, ok := c.scale(i)
	return ok && s == 1
}

// scale is entry i of the scales, if known.
func (c *Call) scale(i int) (float64, bool) {
	t, ok := constOf(c.In(2))
	if !ok {
		return 0, false
	}
	s, ok := t.Float64s()
	if !ok || i >= len(s) {
		return 0, false
	}
	return s[i], true
}

// repeats is how often each element is repeated along entry i of the axes, 0 if it is not as simple as that.
func (c *Call) repeats(i int) int64 {
	s, ok := c.scale(i)
	n := int64(s)
	if !ok || c.In(3) != nil || float64(n) != s || n < 1 || c.N.Str("mode", "nearest") != "nearest" {
		return 0
	}
	switch c.N.Str("coordinate_transformation_mode", "half_pixel") {
	case "asymmetric":
		if c.N.Str("nearest_mode", "round_prefer_floor") == "floor" {
			return n
		}
	case "half_pixel":
		if m := c.N.Str("nearest_mode", "round_prefer_floor"); m == "round_prefer_floor" || m == "round_prefer_ceil" {
			return n
		}
	}
	return 0
}

// sumRepeats adds up the n neighbours along an axis that are copies of one element.
func (c *Call) sumRepeats(g *graph.Value, a int, n int64) *graph.Value {
	var shape []piece
	for i := range g.Type.Rank() {
		switch d := c.dimPiece(c.In(0), i); {
		case i == a:
			shape = append(shape, d, num(n))
		case i > a:
			shape = append(shape, c.dimPiece(g, i))
		default:
			shape = append(shape, d)
		}
	}
	return c.Sum(c.ReshapeTo(g, c.shape(shape...)), int64(a+1))
}

// resizeMatrix is the interpolation along axis a as a matrix [in, out]: what the operator makes of the unit vectors.
func (c *Call) resizeMatrix(i, count, a int) *graph.Value {
	x := c.In(0)
	size := c.dimPiece(x, a)
	square := c.Full(c.shape(size, size), x.Type.Elem, 0)
	in := []*graph.Value{c.Op("EyeLike", []*graph.Value{square}), c.In(1), nil, nil}
	if c.N.Str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" {
		at, one := int64(i), c.Const("roi", op.FloatScalar(c.In(1).Type.Elem, 1, 1))
		from := c.Slice(c.In(1), []int64{at}, []int64{at + 1}, []int64{0})
		to := c.Slice(c.In(1), []int64{at + int64(count)}, []int64{at + int64(count) + 1}, []int64{0})
		in[1] = c.Concat(0, c.Const("roi", op.FloatScalar(c.In(1).Type.Elem, 0, 1)), from, one, to)
	}
	if c.In(3) != nil {
		in[3] = c.shape(size, c.dimPiece(c.Out(0), a))
		if c.Opset() < 13 { // scales are not optional yet
			in[2] = c.In(2)
		}
	} else {
		own := c.Slice(c.In(2), []int64{int64(i)}, []int64{int64(i) + 1}, []int64{0})
		in[2] = c.Concat(0, c.Const("scale", op.FloatScalar(c.In(2).Type.Elem, 1, 1)), own)
		in = in[:3]
	}
	return c.Op("Resize", in, c.resizeAttrs("axes")...)
}

// alongAxis multiplies matrix m [in, out] with the vectors of g along an axis.
func (c *Call) alongAxis(g, m *graph.Value, a int) *graph.Value {
	rank := g.Type.Rank()
	switch a {
	case rank - 1:
		return c.MatMul(g, c.Transpose(m, 1, 0))
	case rank - 2:
		return c.MatMul(m, g)
	}
	perm := axesFrom(0, rank)
	perm[a], perm[rank-1] = perm[rank-1], perm[a]
	return c.Transpose(c.MatMul(c.Transpose(g, perm...), c.Transpose(m, 1, 0)), perm...)
}
