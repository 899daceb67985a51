package autodiff

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// resizeRules are the rows of the interpolation to other sizes, which is linear along each axis.
func resizeRules() []Rule {
	return []Rule{{Op: "Resize", Since: 11, Kind: Linear, Diff: only0, VJP: vjpResize, JVP: jvpResize}}
}

// jvpResize resizes the tangent; beyond the input it is zero.
func jvpResize(c *Call) []*graph.Value {
	return []*graph.Value{c.Op("Resize", append([]*graph.Value{c.d(0)}, c.N.Inputs()[1:]...), c.attrsBut("extrapolation_value")...)}
}

// vjpResize applies, axis by axis, the transposed matrix of the interpolation.
func vjpResize(c *Call) []*graph.Value {
	x, g := c.In(0), c.d(0)
	if !x.Type.Ranked {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	if c.shiftsAxes() && c.Opset() < 18 || c.keepsAspect() && c.transform() == "tf_crop_and_resize" {
		return c.unsupported("the derivative of coordinate_transformation_mode=%s in this form is not known; use opset 18 and no keep_aspect_ratio_policy", c.transform())
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
		case c.keepsAspect():
			g = c.alongAxis(g, c.commonScaleMatrix(i, axes), int(a))
		default:
			g = c.alongAxis(g, c.resizeMatrix(i, len(axes), int(a)), int(a))
		}
	}
	return []*graph.Value{g}
}

func (c *Call) transform() string {
	return c.N.Str("coordinate_transformation_mode", "half_pixel")
}

// shiftsAxes reports whether an axis of scale 1 is moved by half an element, as tf_half_pixel_for_nn does unless the
// nearest element is found by rounding down.
func (c *Call) shiftsAxes() bool {
	down := strings.HasSuffix(c.N.Str("nearest_mode", "round_prefer_floor"), "floor")
	return c.transform() == "tf_half_pixel_for_nn" && (c.N.Str("mode", "nearest") != "nearest" || !down)
}

// keepsAspect reports whether all axes have the scale that one of the sizes gives.
func (c *Call) keepsAspect() bool {
	return c.In(3) != nil && c.N.Str("keep_aspect_ratio_policy", "stretch") != "stretch"
}

// keepsAxis reports whether axis a, which is entry i of the axes that are resized, stays as it is.
func (c *Call) keepsAxis(i, a int) bool {
	if c.transform() == "tf_crop_and_resize" || c.shiftsAxes() || c.keepsAspect() {
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
	switch c.transform() {
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
	size := c.dimPiece(c.In(0), a)
	in := []*graph.Value{c.unitVectors(size), c.In(1), nil, nil}
	entry := func(v *graph.Value, at int) *graph.Value {
		return c.Slice(v, []int64{int64(at)}, []int64{int64(at) + 1}, []int64{0})
	}
	if c.transform() == "tf_crop_and_resize" {
		in[1] = c.Concat(0, entry(c.In(1), i), entry(c.In(1), i+count))
	}
	if c.In(3) != nil {
		in[3] = c.tensor(c.dimPiece(c.Out(0), a))
	} else {
		in = []*graph.Value{in[0], in[1], entry(c.In(2), i)}
	}
	if c.Opset() >= 18 {
		return c.Op("Resize", in, append(c.attrsBut("extrapolation_value", "axes"), graph.Is("axes", 1))...)
	}
	return c.Op("Resize", c.bothAxes(in, size), c.attrsBut("extrapolation_value")...)
}

// unitVectors is the identity matrix of that size.
func (c *Call) unitVectors(size piece) *graph.Value {
	return c.Op("EyeLike", []*graph.Value{c.Full(c.shape(size, size), c.In(0).Type.Elem, 0)})
}

// bothAxes writes the inputs of a Resize of the second axis of a matrix as those of both, as Resize before opset 18 wants.
func (c *Call) bothAxes(in []*graph.Value, size piece) []*graph.Value {
	number := func(like *graph.Value, v float64) *graph.Value {
		return c.Const("whole", op.FloatScalar(like.Type.Elem, v, 1))
	}
	if c.transform() == "tf_crop_and_resize" {
		from, to := c.Slice(in[1], []int64{0}, []int64{1}, []int64{0}), c.Slice(in[1], []int64{1}, []int64{2}, []int64{0})
		in[1] = c.Concat(0, number(in[1], 0), from, number(in[1], 1), to)
	}
	if len(in) > 3 {
		in[3] = c.Concat(0, c.tensor(size), in[3])
		if c.Opset() < 13 { // scales are not optional yet
			in[2] = c.In(2)
		}
	} else {
		in[2] = c.Concat(0, number(in[2], 1), in[2])
	}
	return in
}

// commonScaleMatrix is the matrix of entry i of the axes if all have one scale, for which the operator must see all of
// them: it resizes images [in, 1, axes...] that are unit vectors along one axis and constant along the others.
func (c *Call) commonScaleMatrix(i int, axes []int64) *graph.Value {
	size := c.dimPiece(c.In(0), int(axes[i]))
	shape, wide := []piece{size, num(1)}, []piece{size, num(1)}
	var others []int64
	for k, a := range axes {
		d := c.dimPiece(c.In(0), int(a))
		if wide = append(wide, d); k == i {
			shape = append(shape, d)
			continue
		}
		shape, others = append(shape, num(1)), append(others, int64(k)+2)
	}
	images := c.Expand(c.ReshapeTo(c.unitVectors(size), c.shape(shape...)), c.shape(wide...))
	in := append([]*graph.Value{images}, c.N.Inputs()[1:]...)
	attrs := append(c.attrsBut("extrapolation_value", "axes"), graph.Is("axes", axesFrom(2, len(axes)+2)...))
	m := c.Op("Resize", in, attrs...)
	for k := len(others) - 1; k >= 0; k-- {
		m = c.Gather(m, c.Int(0), others[k])
	}
	return c.Squeeze(m, 1)
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
