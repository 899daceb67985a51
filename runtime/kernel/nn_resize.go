package kernel

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// resizing is the geometry of a Resize or Upsample: for each axis that may change, which positions of the input make each
// position of the output, and with what weights. Interpolation in several axes is one axis after the other.
type resizing struct {
	call          *Call
	axes          []*resizedAxis
	mode          string // nearest, linear, cubic
	transform     string
	nearest       string
	coeff         float64 // of the cubic
	exclude       bool    // taps outside of the input count for nothing
	antialias     bool
	policy        string
	extrapolation float32
	roi, scales   int // inputs, -1 where the form has none
	sizes         int
	given         []float32 // scales as an attribute
}

// resizedAxis are the taps of one axis: position o of the output is the sum of weights[o*taps+k] times position
// index[o*taps+k] of the input. Index -1 is a position outside that shows the extrapolation value.
type resizedAxis struct {
	axis, in, out int
	scale         float64
	start, end    float64 // region of interest, of tf_crop_and_resize
	taps, room    int     // taps in use, and those that there is room for
	index         []int
	weight        []float64
}

// newResizing reads the attributes. Opset 10 and Upsample map positions by x/scale and round down; the newer forms have
// attributes for that.
func newResizing(c *Call) (*resizing, error) {
	n := c.Node
	r := &resizing{
		call: c, mode: n.Str("mode", "nearest"), transform: n.Str("coordinate_transformation_mode", "half_pixel"),
		nearest: n.Str("nearest_mode", "round_prefer_floor"), coeff: float64(n.Float("cubic_coeff_a", -0.75)),
		exclude: n.Int("exclude_outside", 0) != 0, antialias: n.Int("antialias", 0) != 0,
		policy: n.Str("keep_aspect_ratio_policy", "stretch"), extrapolation: n.Float("extrapolation_value", 0),
		roi: 1, scales: 2, sizes: 3,
	}
	if n.Op == "Upsample" || c.Opset < 11 {
		r.transform, r.nearest = "asymmetric", "floor"
		r.roi, r.scales, r.sizes = -1, 1, -1
		r.given = floatList(c, "scales")
	}
	if r.mode == "bilinear" || r.mode == "trilinear" { // names of old forms of Upsample
		r.mode = "linear"
	}
	for _, check := range []struct {
		what, got string
		want      []string
	}{
		{"mode", r.mode, []string{"nearest", "linear", "cubic"}},
		{"nearest_mode", r.nearest, []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}},
		{"keep_aspect_ratio_policy", r.policy, []string{"stretch", "not_larger", "not_smaller"}},
		{"coordinate_transformation_mode", r.transform, []string{
			"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn",
		}},
	} {
		if !slices.Contains(check.want, check.got) {
			return nil, c.Errorf(graph.ErrInvalid, "%s is %q, want one of %v", check.what, check.got, check.want)
		}
	}
	x, y := c.In[0].Shape, c.Out[0].Shape
	if len(x) != len(y) || len(x) > maxAxes {
		return nil, c.Errorf(graph.ErrInvalid, "cannot resize shape %v to %v", x, y)
	}
	for _, i := range []int{r.roi, r.scales} {
		if i >= 0 && c.has(i) && c.In[i].Elem != graph.Float32 && c.In[i].Elem != graph.Float64 {
			return nil, c.Errorf(graph.ErrUnsupported, "input %d is of type %s; insert a Cast to float", i, c.In[i].Elem)
		}
	}
	return r, r.readAxes()
}

func (r *resizing) readAxes() error {
	c := r.call
	x, y := c.In[0].Shape, c.Out[0].Shape
	axes := make([]int, len(x))
	for i := range axes {
		axes[i] = i
	}
	if list, ok := c.Node.Attr("axes"); ok {
		var err error
		if axes, err = c.wrapAxes(list.Ints, len(x)); err != nil {
			return err
		}
	}
	for _, a := range axes {
		if x[a] == 0 && y[a] > 0 {
			return c.Errorf(graph.ErrInvalid, "axis %d is empty: nothing to make %d positions of", a, y[a])
		}
		ax := &resizedAxis{axis: a, in: x[a], out: y[a]}
		ax.room = r.reach(float64(y[a]) / float64(max(x[a], 1)))
		ax.index, ax.weight = make([]int, ax.out*ax.room), make([]float64, ax.out*ax.room)
		r.axes = append(r.axes, ax)
	}
	return nil
}

// constant reports whether scales, sizes and region are known before the run.
func (r *resizing) constant() bool {
	for _, i := range []int{r.roi, r.scales, r.sizes} {
		if i >= 0 && r.call.has(i) && r.call.In[i].Const == nil && !(i == r.sizes && r.policy == "stretch") && !(i == r.roi && r.transform != "tf_crop_and_resize") {
			return false
		}
	}
	return true
}

// constants are the inputs of the call as a run would see them; only good if constant.
func (r *resizing) constants() []*Tensor {
	in := make([]*Tensor, len(r.call.In))
	for i, s := range r.call.In {
		in[i] = s.Const
	}
	return in
}

// prepare fills the taps of all axes.
func (r *resizing) prepare(in []*Tensor) error {
	if err := r.readScales(in); err != nil {
		return err
	}
	if err := r.readRegion(in); err != nil {
		return err
	}
	for _, a := range r.axes {
		r.fill(a)
	}
	return nil
}

func (r *resizing) readScales(in []*Tensor) error {
	c := r.call
	if r.sizes >= 0 && c.has(r.sizes) {
		for _, a := range r.axes {
			a.scale = float64(a.out) / float64(max(a.in, 1))
		}
		if r.policy == "stretch" {
			return nil
		}
		return r.keepAspect(in[r.sizes])
	}
	count, t := len(r.given), input(in, r.scales)
	if t != nil {
		count = t.Len()
	}
	if count != len(r.axes) {
		return c.Errorf(graph.ErrInvalid, "%d scales for %d axes", count, len(r.axes))
	}
	for i, a := range r.axes {
		if t != nil {
			a.scale = floatAt(t, i)
		} else {
			a.scale = float64(r.given[i])
		}
		if got := int(math.Floor(float64(a.in) * a.scale)); got != a.out {
			return c.Errorf(graph.ErrInvalid, "axis %d of size %d with scale %g gives %d, but the output has %d", a.axis, a.in, a.scale, got, a.out)
		}
	}
	return nil
}

// floatAt reads element i of a float32 or float64 tensor.
func floatAt(t *Tensor, i int) float64 {
	if t.Elem == graph.Float64 {
		return Data[float64](t)[i]
	}
	return float64(Data[float32](t)[i])
}

// keepAspect sets the one scale that all axes have.
func (r *resizing) keepAspect(sizes *Tensor) error {
	if sizes.Len() != len(r.axes) {
		return r.call.Errorf(graph.ErrInvalid, "%d sizes for %d axes", sizes.Len(), len(r.axes))
	}
	scale := math.Inf(1)
	if r.policy == "not_smaller" {
		scale = 0
	}
	for i, a := range r.axes {
		s := float64(indexAt(sizes, i)) / float64(max(a.in, 1))
		if r.policy == "not_smaller" {
			scale = max(scale, s)
		} else {
			scale = min(scale, s)
		}
	}
	for _, a := range r.axes {
		a.scale = scale
	}
	return nil
}

func (r *resizing) readRegion(in []*Tensor) error {
	if r.transform != "tf_crop_and_resize" {
		return nil
	}
	t := input(in, r.roi)
	if t == nil || t.Len() != 2*len(r.axes) {
		return r.call.Errorf(graph.ErrInvalid, "tf_crop_and_resize needs a roi of %d numbers", 2*len(r.axes))
	}
	for i, a := range r.axes {
		a.start, a.end = floatAt(t, i), floatAt(t, len(r.axes)+i)
	}
	return nil
}

// source is the position in the input, a real number, of position o of the output; ok is false where it shows the
// extrapolation value.
func (r *resizing) source(a *resizedAxis, o int) (x float64, ok bool) {
	pos, in, wide := float64(o), float64(a.in), a.scale*float64(a.in)
	switch r.transform {
	case "align_corners":
		if wide == 1 {
			return 0, true
		}
		return pos * (in - 1) / (wide - 1), true
	case "asymmetric":
		return pos / a.scale, true
	case "tf_half_pixel_for_nn":
		return (pos + 0.5) / a.scale, true
	case "pytorch_half_pixel":
		if wide == 1 {
			return -0.5, true
		}
	case "half_pixel_symmetric":
		adjust := float64(a.out) / wide
		return in/2*(1-adjust) + (pos+0.5)/a.scale - 0.5, true
	case "tf_crop_and_resize":
		x = 0.5 * (a.start + a.end) * (in - 1)
		if wide != 1 {
			x = a.start*(in-1) + pos*(a.end-a.start)*(in-1)/(wide-1)
		}
		return x, x >= 0 && x <= in-1
	}
	return (pos+0.5)/a.scale - 0.5, true
}

// reach is the number of taps at a scale. Antialiasing stretches the kernel where the scale is below 1.
func (r *resizing) reach(scale float64) int {
	if !r.antialias {
		scale = 1
	}
	first, _ := r.first(scale)
	if r.mode == "nearest" {
		return 1
	}
	return 2 - 2*first
}

// first is the first tap relative to the position rounded down, and the scale of the kernel.
func (r *resizing) first(scale float64) (int, float64) {
	if !r.antialias {
		scale = 1
	}
	stretch := max(min(scale, 1), 1e-6)
	support := 1.0
	if r.mode == "cubic" {
		support = 2
	}
	return int(math.Floor(-support/stretch)) + 1, stretch
}

// fill computes the taps of an axis.
func (r *resizing) fill(a *resizedAxis) {
	first, stretch := r.first(a.scale)
	a.taps = min(r.reach(a.scale), a.room)
	for o := range a.out {
		x, inside := r.source(a, o)
		index, weight := a.index[o*a.taps:(o+1)*a.taps], a.weight[o*a.taps:(o+1)*a.taps]
		switch {
		case !inside:
			for k := range index {
				index[k], weight[k] = -1, 0
			}
		case r.mode == "nearest":
			index[0], weight[0] = min(max(r.round(x), 0), a.in-1), 1
		default:
			r.kernel(a, x, first, stretch, index, weight)
		}
	}
}

// round is the position that nearest takes.
func (r *resizing) round(x float64) int {
	down := math.Floor(x)
	switch part := x - down; {
	case r.nearest == "round_prefer_floor" && part > 0.5, r.nearest == "round_prefer_ceil" && part >= 0.5, r.nearest == "ceil" && part > 0:
		return int(down) + 1
	}
	return int(down)
}

// kernel computes the taps around x; taps outside of the input show its border.
func (r *resizing) kernel(a *resizedAxis, x float64, first int, stretch float64, index []int, weight []float64) {
	down := math.Floor(x)
	sum := 0.0
	for k := range index {
		at := int(down) + first + k
		w := r.weigh((float64(first+k) - (x - down)) * stretch)
		if r.exclude && (at < 0 || at >= a.in) {
			w = 0
		}
		index[k], weight[k] = min(max(at, 0), a.in-1), w
		sum += w
	}
	if (r.exclude || r.antialias) && sum != 0 {
		for k := range weight {
			weight[k] /= sum
		}
	}
}

// weigh is the interpolation kernel at distance d.
func (r *resizing) weigh(d float64) float64 {
	if r.mode == "linear" {
		return max(0, 1-math.Abs(d))
	}
	return cubicKernel(d, r.coeff)
}

// cubicKernel is the cubic convolution kernel (Keys 1981) with parameter a.
func cubicKernel(d, a float64) float64 {
	d = math.Abs(d)
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

// identity reports whether the axis stays as it is.
func (a *resizedAxis) identity() bool {
	if a.in != a.out {
		return false
	}
	for o := range a.out {
		for k := range a.taps {
			w := a.weight[o*a.taps+k]
			if i := a.index[o*a.taps+k]; i < 0 || i == o && w != 1 || i != o && w != 0 {
				return false
			}
		}
	}
	return true
}
