package kernel

import (
	"cmp"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeNearest is Resize and Upsample that take the nearest position: each element is moved.
func makeNearest[T graph.Number](c *Call) (Run, error) {
	r, err := newResizing(c)
	if err != nil {
		return nil, err
	}
	if r.mode != "nearest" {
		return nil, ErrDecline
	}
	s := &nearestSampler[T]{axes: len(c.Out[0].Shape)}
	if s.value, err = scalarOf[T](c, r.extrapolation); err != nil {
		return nil, err
	}
	s.shape = c.Out[0].Shape
	step := strides(c.In[0].Shape)
	for i, d := range s.shape {
		table := make([]int, d)
		for o := range table {
			table[o] = o * step[i]
		}
		s.tables = append(s.tables, table)
	}
	prepare := func(in []*Tensor) error {
		if err := r.prepare(in); err != nil {
			return err
		}
		for _, a := range r.axes {
			for o, at := range a.index {
				s.tables[a.axis][o] = max(at*step[a.axis], min(at, 0))
			}
		}
		return nil
	}
	body := s.span
	return resizeRun(c, r, prepare, func(in, out []*Tensor) {
		s.dst, s.src = Data[T](out[0]), Data[T](in[0])
		c.Pool.For(s.rows(), grainFor(s.inner()), body)
		s.dst, s.src = nil, nil
	})
}

// resizeRun is a run that prepares the taps once if it can, else each time.
func resizeRun(c *Call, r *resizing, prepare func(in []*Tensor) error, move func(in, out []*Tensor)) (Run, error) {
	known := r.constant()
	if known {
		if err := prepare(r.constants()); err != nil {
			return nil, err
		}
	}
	empty := c.Out[0].Len() == 0
	return func(in, out []*Tensor) error {
		if empty {
			return nil
		}
		if !known {
			if err := prepare(in); err != nil {
				return err
			}
		}
		move(in, out)
		return nil
	}, nil
}

// scalarOf is v in the element type of input 0, as T.
func scalarOf[T graph.Number](c *Call, v float32) (T, error) {
	var zero T
	conv := casterOf(graph.Float32, c.In[0].Elem)
	if conv == nil {
		return zero, c.Errorf(graph.ErrUnsupported, "tensors of type %s", c.In[0].Elem)
	}
	t := New(c.In[0].Elem, 1)
	conv(t.Raw, Of([]float32{v}, 1).Raw)
	return Data[T](t)[0], nil
}

// nearestSampler gathers elements by a table of offsets an axis; -1 shows a value.
type nearestSampler[T graph.Number] struct {
	axes   int
	shape  []int
	tables [][]int
	value  T
	dst    []T
	src    []T
}

func (s *nearestSampler[T]) inner() int {
	if s.axes == 0 {
		return 1
	}
	return s.shape[s.axes-1]
}

func (s *nearestSampler[T]) rows() int { return len(s.dst) / max(1, s.inner()) }

func (s *nearestSampler[T]) span(lo, hi int) {
	inner := s.inner()
	for row := lo; row < hi; row++ {
		dst := s.dst[row*inner : (row+1)*inner]
		base, rest, inside := 0, row, true
		for i := s.axes - 2; i >= 0; i-- {
			at := s.tables[i][rest%s.shape[i]]
			rest /= s.shape[i]
			base += at
			inside = inside && at >= 0
		}
		if s.axes == 0 {
			dst[0] = s.src[0]
			continue
		}
		for o, at := range s.tables[s.axes-1] {
			if inside && at >= 0 {
				dst[o] = s.src[base+at]
			} else {
				dst[o] = s.value
			}
		}
	}
}

// makeInterpolation is Resize and Upsample in modes linear and cubic.
func makeInterpolation[T amd64.Float](c *Call) (Run, error) {
	r, err := newResizing(c)
	if err != nil {
		return nil, err
	}
	if r.mode == "nearest" {
		return nil, ErrDecline
	}
	passes := make([]*resizePass[T], 0, len(r.axes))
	prepare := func(in []*Tensor) error { return r.prepare(in) }
	if r.constant() {
		if err := r.prepare(r.constants()); err != nil {
			return nil, err
		}
	}
	axes := slices.Clone(r.axes)
	slices.SortStableFunc(axes, func(a, b *resizedAxis) int { return cmp.Compare(a.out*b.in, b.out*a.in) }) // shrink first
	shape := slices.Clone(c.In[0].Shape)
	var held []*Scratch
	for _, a := range axes {
		if r.constant() && a.identity() {
			continue
		}
		p := &resizePass[T]{axis: a, outer: Count(shape[:a.axis]), inner: Count(shape[a.axis+1:]), value: T(r.extrapolation)}
		p.body = p.span
		shape[a.axis] = a.out
		if len(passes) > 0 {
			held = append(held, c.Scratch(sizeOf[T]()*Count(passes[len(passes)-1].shape)))
		}
		p.shape = slices.Clone(shape)
		passes = append(passes, p)
	}
	return resizeRun(c, r, prepare, func(in, out []*Tensor) {
		src := Data[T](in[0])
		if len(passes) == 0 {
			copy(Data[T](out[0]), src)
		}
		for i, p := range passes {
			dst := Data[T](out[0])
			if i < len(held) {
				dst = ScratchOf[T](held[i])
			}
			p.dst, p.src = dst, src
			c.Pool.For(p.outer*p.axis.out, grainFor(p.inner*p.axis.taps), p.body)
			p.dst, p.src = nil, nil
			src = dst
		}
	})
}

// resizePass resizes one axis of [outer, axis, inner].
type resizePass[T amd64.Float] struct {
	axis         *resizedAxis
	outer, inner int
	shape        []int // of the result
	value        T     // of positions outside
	dst, src     []T
	body         func(lo, hi int)
}

func (p *resizePass[T]) span(lo, hi int) {
	a, inner := p.axis, p.inner
	for i := lo; i < hi; i++ {
		o := i % a.out
		src := p.src[i/a.out*a.in*inner:]
		dst := p.dst[i*inner : (i+1)*inner]
		index, weight := a.index[o*a.taps:(o+1)*a.taps], a.weight[o*a.taps:(o+1)*a.taps]
		if index[0] < 0 {
			setAll(dst, p.value)
			continue
		}
		if inner == 1 {
			sum := 0.0
			for k, at := range index {
				if weight[k] != 0 {
					sum += weight[k] * float64(src[at])
				}
			}
			dst[0] = T(sum)
			continue
		}
		begun := false
		for k, at := range index {
			if w := T(weight[k]); w != 0 {
				addScaled(dst, src[at*inner:(at+1)*inner], w, begun)
				begun = true
			}
		}
		if !begun {
			clear(dst)
		}
	}
}

// addScaled is dst = w*x, or dst += w*x.
func addScaled[T amd64.Float](dst, x []T, w T, add bool) {
	dst = dst[:len(x)]
	if !add {
		for i, v := range x {
			dst[i] = w * v
		}
		return
	}
	for i, v := range x {
		dst[i] += w * v
	}
}
