package op

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

var resizeAttrs = []AttrSpec{
	attrStr("coordinate_transformation_mode", "half_pixel"), attrFloat("cubic_coeff_a", -0.75), attrInt("exclude_outside", 0),
	attrFloat("extrapolation_value", 0), attrStr("mode", "nearest"), attrStr("nearest_mode", "round_prefer_floor"),
}

func resizeIn() []Param {
	return []Param{one("X", "T", anyElem), opt("roi", "", floatElem), opt("scales", "", floatElem), opt("sizes", "", int64Elem)}
}

// inferResize: the output has the given sizes, or floor(size * scale).
func inferResize(c *Context) error {
	x, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	axes := make([]int, len(x))
	for i := range axes {
		axes[i] = i
	}
	if list, ok := c.Ints("axes"); ok {
		if _, err := c.axisSet("axes", list, len(x)); err != nil {
			return err
		}
		axes = axes[:0]
		for _, a := range list {
			k, _ := c.normAxis("axes", a, len(x))
			axes = append(axes, k)
		}
	}
	scalesAt := 2
	if len(c.schema.Inputs) == 2 {
		scalesAt = 1
	}
	out := append([]graph.Dim{}, x...)
	for _, k := range axes {
		out[k] = graph.UnknownDim
	}
	if err := c.resized(out, x, axes, scalesAt); err != nil {
		return err
	}
	c.Set(0, out...)
	return nil
}

func (c *Context) resized(out, x []graph.Dim, axes []int, scalesAt int) error {
	sizes := c.Content(3)
	scales, known := c.floats(scalesAt)
	if a, ok := c.Attr("scales"); ok {
		scales, known = nil, true
		for _, f := range a.Floats {
			scales = append(scales, float64(f))
		}
	}
	switch {
	case c.Has(3) && sizes == nil:
	case c.Has(3):
		if len(sizes) != len(axes) {
			return c.fail("%d sizes for %d axes", len(sizes), len(axes))
		}
		return c.sizedAxes(out, x, axes, sizes)
	case known && len(scales) == 0 && len(axes) > 0:
		return c.fail("neither scales nor sizes are given")
	case known:
		if len(scales) != len(axes) {
			return c.fail("%d scales for %d axes", len(scales), len(axes))
		}
		for i, k := range axes {
			if !(scales[i] > 0) || scales[i] > maxStep {
				return c.fail("scale %g is not positive", scales[i])
			}
			out[k] = scaleDim(x[k], scales[i])
		}
	}
	return nil
}

// sizedAxes applies sizes, and the policy on the aspect ratio (opset 18).
func (c *Context) sizedAxes(out, x []graph.Dim, axes []int, sizes []graph.Dim) error {
	policy := c.Str("keep_aspect_ratio_policy")
	if policy == "" || policy == "stretch" {
		for i, k := range axes {
			out[k] = sizes[i]
		}
		return nil
	}
	if policy != "not_larger" && policy != "not_smaller" {
		return c.fail("keep_aspect_ratio_policy is %q, want stretch, not_larger or not_smaller", policy)
	}
	scale, better := math.Inf(1), math.Min
	if policy == "not_smaller" {
		scale, better = math.Inf(-1), math.Max
	}
	for i, k := range axes {
		want, ok1 := sizes[i].Size()
		have, ok2 := x[k].Size()
		if !ok1 || !ok2 || have == 0 {
			return nil
		}
		scale = better(scale, float64(want)/float64(have))
	}
	for _, k := range axes {
		have, _ := x[k].Size()
		out[k] = graph.Known(int64(math.Round(float64(have) * scale)))
	}
	return nil
}

// scaleDim is floor(d*scale).
func scaleDim(d graph.Dim, scale float64) graph.Dim {
	if n, ok := d.Size(); ok {
		f := math.Floor(float64(n) * scale)
		if f >= 1<<53 {
			return graph.UnknownDim
		}
		return graph.Known(int64(f))
	}
	if scale == math.Trunc(scale) {
		return d.Mul(graph.Known(int64(scale)))
	}
	if inv := 1 / scale; inv == math.Trunc(inv) && inv < maxStep {
		return d.Div(graph.Known(int64(inv)))
	}
	return graph.UnknownDim
}
