package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// gridAxes bounds the spatial axes of GridSample.
const gridAxes = 3

// gridSampler is ONNX GridSample: X [N, C, in...] interpolated at the points grid [N, out..., axes], whose coordinates
// run from -1 to 1, the last axis of X first.
type gridSampler[T amd64.Float] struct {
	axes, channels int
	in             []int // spatial sizes
	step           []int
	image, points  int // elements of a channel, points of a sequence
	align          bool
	mode, padding  string

	x, y []T
	grid []T
	body func(lo, hi int)
}

func makeGridSample[T amd64.Float](c *Call) (Run, error) {
	x, grid := c.In[0].Shape, c.In[1].Shape
	if c.In[1].Elem != c.In[0].Elem {
		return nil, c.Errorf(graph.ErrUnsupported, "X and grid are of types %s and %s; insert a Cast", c.In[0].Elem, c.In[1].Elem)
	}
	axes := len(x) - 2
	if axes < 1 || len(grid) != len(x) || grid[len(grid)-1] != axes || grid[0] != x[0] {
		return nil, c.Errorf(graph.ErrInvalid, "grid of shape %v does not fit X of shape %v", grid, x)
	}
	if axes > gridAxes {
		return nil, c.Errorf(graph.ErrUnsupported, "%d spatial axes, at most %d", axes, gridAxes)
	}
	s := &gridSampler[T]{
		axes: axes, channels: x[1], in: x[2:], step: strides(x[2:]), image: Count(x[2:]), points: Count(grid[1 : len(grid)-1]),
		align: c.Node.Int("align_corners", 0) != 0, mode: c.Node.Str("mode", "linear"), padding: c.Node.Str("padding_mode", "zeros"),
	}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "bicubic":
		s.mode = "cubic"
	case "linear", "cubic", "nearest":
	default:
		return nil, c.Errorf(graph.ErrInvalid, "mode is %q, want linear, cubic or nearest", s.mode)
	}
	if s.padding != "zeros" && s.padding != "border" && s.padding != "reflection" {
		return nil, c.Errorf(graph.ErrInvalid, "padding_mode is %q, want zeros, border or reflection", s.padding)
	}
	if s.image == 0 && s.padding != "zeros" {
		return nil, c.Errorf(graph.ErrInvalid, "X of shape %v is empty: padding_mode %s has nothing to show", x, s.padding)
	}
	s.body = s.span
	n := x[0] * s.points
	return func(in, out []*Tensor) error {
		s.x, s.grid, s.y = Data[T](in[0]), Data[T](in[1]), Data[T](out[0])
		c.Pool.For(n, grainFor(8*s.channels), s.body)
		s.x, s.grid, s.y = nil, nil, nil
		return nil
	}, nil
}

// gridTaps are the elements of a channel that make a point.
type gridTaps struct {
	n      int
	at     [64]int // -1 is outside
	weight [64]float64
}

func (s *gridSampler[T]) span(lo, hi int) {
	var taps gridTaps
	for p := lo; p < hi; p++ {
		s.taps(&taps, s.grid[p*s.axes:(p+1)*s.axes])
		batch, at := p/s.points, p%s.points
		for ch := range s.channels {
			plane := batch*s.channels + ch
			x := s.x[plane*s.image : (plane+1)*s.image]
			sum := 0.0
			for i, o := range taps.at[:taps.n] {
				if o >= 0 {
					sum += taps.weight[i] * float64(x[o])
				}
			}
			s.y[plane*s.points+at] = T(sum)
		}
	}
}

// taps combines the taps of the axes.
func (s *gridSampler[T]) taps(t *gridTaps, point []T) {
	t.n, t.at[0], t.weight[0] = 1, 0, 1
	for i, size := range s.in {
		var at [4]int
		var weight [4]float64
		n := s.axisTaps(float64(point[s.axes-1-i]), size, &at, &weight)
		for k := t.n - 1; k >= 0; k-- {
			base, w := t.at[k], t.weight[k]
			for j := n - 1; j >= 0; j-- {
				to := k*n + j
				if t.weight[to] = w * weight[j]; base < 0 || at[j] < 0 {
					t.at[to] = -1
				} else {
					t.at[to] = base + at[j]*s.step[i]
				}
			}
		}
		t.n *= n
	}
}

// axisTaps are the taps along an axis of the given size for coordinate g. A coordinate that is not a number gives one
// of weight NaN.
func (s *gridSampler[T]) axisTaps(g float64, size int, at *[4]int, weight *[4]float64) int {
	low, high := -0.5, float64(size)-0.5
	x := ((g+1)*float64(size) - 1) / 2
	if s.align {
		low, high = 0, float64(size-1)
		x = (g + 1) / 2 * float64(size-1)
	}
	if s.mode == "nearest" {
		x = math.RoundToEven(x)
	}
	if x < low || x > high {
		switch s.padding {
		case "border":
			x = min(max(x, 0), float64(size-1))
		case "reflection":
			x = reflect(x, low, high)
		default:
			x = min(max(x, -4), float64(size+4))
		}
	}
	if x != x {
		at[0], weight[0] = min(0, size-1), x
		return 1
	}
	down := math.Floor(x)
	first, n := 0, 2
	switch s.mode {
	case "nearest":
		at[0], weight[0] = s.inside(int(math.Round(x)), size, low, high), 1
		return 1
	case "cubic":
		first, n = -1, 4
	}
	for k := range n {
		d := float64(first+k) - (x - down)
		at[k] = s.inside(int(down)+first+k, size, low, high)
		if s.mode == "cubic" {
			weight[k] = cubicKernel(d, -0.75)
		} else {
			weight[k] = max(0, 1-math.Abs(d))
		}
	}
	return n
}

// inside is the element that position i shows; -1 is zero.
func (s *gridSampler[T]) inside(i, size int, low, high float64) int {
	if i >= 0 && i < size {
		return i
	}
	switch s.padding {
	case "border":
		return min(max(i, 0), size-1)
	case "reflection":
		return min(max(int(reflect(float64(i), low, high)), 0), size-1)
	}
	return -1
}

// reflect folds x into low..high at its ends.
func reflect(x, low, high float64) float64 {
	wide := high - low
	if wide <= 0 {
		return low
	}
	x = math.Mod(math.Abs(x-low), 2*wide)
	if x > wide {
		x = 2*wide - x
	}
	return low + x
}
