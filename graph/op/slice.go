package op

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// toEnd is the size from which exporters' bounds mean "to the end" (they write INT32_MAX or INT64_MAX).
const toEnd = math.MaxInt32

// sliceArgs are the arguments of a Slice, from attributes (version 1) or inputs (10).
type sliceArgs struct {
	starts, ends []graph.Dim // nil when unknown
	axes         []int64
	steps        []graph.Dim
	known        bool // whether axes is known
}

func inferSlice(c *Context) error {
	dims, ranked := c.Dims(0)
	a, err := c.sliceArgs()
	if err != nil || !ranked {
		return err
	}
	if !a.known {
		c.Set(0, unknownDims(len(dims))...)
		return nil
	}
	if _, err := c.axisSet("axes", a.axes, len(dims)); err != nil {
		return err
	}
	out := append([]graph.Dim{}, dims...)
	for i, axis := range a.axes {
		k, _ := c.normAxis("axes", axis, len(dims))
		start, end, step := elementOf(a.starts, i), elementOf(a.ends, i), elementOf(a.steps, i)
		if step == graph.Known(0) {
			return c.fail("step of axis %d is 0", k)
		}
		out[k] = slicedSize(dims[k], start, end, step)
	}
	c.Set(0, out...)
	if content := c.Content(0); content != nil && len(dims) == 1 && len(a.axes) == 1 {
		c.setContent(0, slicedContent(content, a))
	}
	return nil
}

func elementOf(v []graph.Dim, i int) graph.Dim {
	if i < len(v) {
		return v[i]
	}
	return graph.UnknownDim
}

func (c *Context) sliceArgs() (a sliceArgs, err error) {
	n := -1
	if starts, ok := c.Ints("starts"); ok {
		ends, _ := c.Ints("ends")
		if len(starts) != len(ends) {
			return a, c.fail("%d starts and %d ends", len(starts), len(ends))
		}
		a.starts, a.ends, n = knownDims(starts), knownDims(ends), len(starts)
		a.axes, a.known = c.Ints("axes")
	} else {
		for i := 1; i < len(c.In); i++ {
			if err := c.wantRank(i, 1); err != nil {
				return a, err
			}
			if k, ok := c.length(i); ok {
				if n >= 0 && k != n {
					return a, c.fail("starts, ends, axes and steps differ in length: %s", c.inputTypes())
				}
				n = k
			}
		}
		a.starts, a.ends, a.steps = c.Content(1), c.Content(2), c.Content(4)
		a.axes, a.known = c.ints(3)
	}
	if n < 0 {
		return a, nil
	}
	if !a.known && !c.Has(3) {
		a.known = true
		for i := range n {
			a.axes = append(a.axes, int64(i))
		}
	}
	if len(a.axes) != n && a.known {
		return a, c.fail("%d axes and %d starts", len(a.axes), n)
	}
	if !c.Has(4) {
		for range n {
			a.steps = append(a.steps, graph.Known(1))
		}
	}
	return a, nil
}

// slicedSize is the size of a slice of an axis of size d. Bounds clamp as in numpy; symbolic ones are taken to lie
// within the axis.
func slicedSize(d, start, end, step graph.Dim) graph.Dim {
	s, ok := step.Int()
	if !ok {
		return graph.UnknownDim
	}
	if n, known := d.Size(); known {
		x, okx := start.Int()
		y, oky := end.Int()
		if okx && oky {
			from, to := clampSlice(n, x, y, s)
			return stepsBetween(graph.Known(from), graph.Known(to), s)
		}
	}
	var from, to graph.Dim
	if s > 0 {
		from, to = sliceBound(d, start, false), sliceBound(d, end, true)
	} else {
		from, to = reverseBound(d, start), reverseBound(d, end)
	}
	if from.IsUnknown() || to.IsUnknown() {
		return graph.UnknownDim
	}
	return stepsBetween(from, to, s)
}

// clampSlice applies numpy's rules for an axis of size n.
func clampSlice(n, start, end, step int64) (from, to int64) {
	lo, hi := int64(0), n
	if step < 0 {
		lo, hi = -1, n-1
	}
	clamp := func(b int64) int64 {
		if b < 0 {
			b += n
		}
		return min(max(b, lo), hi)
	}
	return clamp(start), clamp(end)
}

// sliceBound places a bound of a forward slice in [0, d].
func sliceBound(d, b graph.Dim, isEnd bool) graph.Dim {
	size, sized := d.Size()
	n, known := b.Int()
	switch {
	case known && n >= toEnd:
		return d
	case known && n < -toEnd:
		return graph.Known(0)
	case known && n < 0:
		return addDim(d, b)
	case known && sized:
		return graph.Known(min(n, size))
	case b == d, known && n <= 1, known && !isEnd:
		return b
	case known:
		return graph.UnknownDim // min(n, d)
	}
	lo, hi := sign(b)
	switch {
	case lo:
		return b
	case hi:
		return addDim(d, b)
	}
	return graph.UnknownDim
}

// reverseBound places a bound of a backward slice of a symbolic axis in [-1, d-1].
func reverseBound(d, b graph.Dim) graph.Dim {
	n, known := b.Int()
	switch {
	case known && n >= toEnd:
		return addDim(d, graph.Known(-1))
	case known && n < -toEnd:
		return graph.Known(-1)
	case known && n < 0:
		return addDim(d, b)
	case known && n == 0:
		return b
	}
	return graph.UnknownDim
}

// slicedContent slices a vector's content.
func slicedContent(content []graph.Dim, a sliceArgs) []graph.Dim {
	start, ok1 := elementOf(a.starts, 0).Int()
	end, ok2 := elementOf(a.ends, 0).Int()
	step, ok3 := elementOf(a.steps, 0).Int()
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	from, to := clampSlice(int64(len(content)), start, end, step)
	out := []graph.Dim{}
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, content[i])
		if step > maxContent || step < -maxContent {
			break
		}
	}
	return out
}
