package kernel

import (
	"math"
	"slices"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// vectorsFit reports whether a pooling can go along lines of places, as a convolution of one channel does.
func vectorsFit(w *window) bool { return Count(w.out) > 0 && isDepthwise(w, 1, 1) }

// planeMax is MaxPool on planes that are spread out as for a convolution, with what lies outside the image below every number.
type planeMax[T amd64.Float] struct {
	planewise[T]
	m      *maxPool[T]
	border []int32 // places some of whose elements are outside the image
	which  slotScratch
	taps   [][]int32 // by line of places: the element under place 0 of the line, by kernel element
}

func makePlaneMax[T amd64.Float](c *Call) (Run, error) {
	m, w, err := newMaxPool[T](c)
	if err != nil {
		return nil, err
	}
	if !vectorsFit(w) {
		return nil, ErrDecline
	}
	s, x := &planeMax[T]{m: m}, c.In[0].Shape
	s.planewise = newPlanewise[T](c, w, x[0], x[1], 1, m.count, s.task)
	s.ground.outside = T(math.Inf(-1))
	s.which = c.slotScratch(s.tasks.slots, sizeOf[T]()*max(s.span(len(s.starts)), len(s.starts)*s.width))
	s.findTaps()
	return func(in, out []*Tensor) error {
		m.x, m.y, m.index = Data[T](in[0]), Data[T](out[0]), optional[int64](out, 1)
		s.ground.renew()
		s.tasks.run()
		m.x, m.y, m.index = nil, nil, nil
		return nil
	}, nil
}

// findTaps lists the elements under the first place of each line, and the places at the border.
func (s *planeMax[T]) findTaps() {
	p := s.m.p
	for line := range p.lines {
		taps, cut := make([]int32, p.kernels), false
		for k := range taps {
			at := p.lineAt[k/p.kw*p.lines+line]
			taps[k], cut = at+int32(p.first[k%p.kw]), cut || at < 0
		}
		s.taps = append(s.taps, taps)
		for x := range p.width {
			if cut || p.kHi[x]-p.kLo[x] < p.kw {
				s.border = append(s.border, int32(line*p.width+x))
			}
		}
	}
}

func (s *planeMax[T]) task(slot, plane int) {
	m, places := s.m, s.l.places
	y := m.y[plane*places:][:places]
	which := elems[T](s.which.at(slot), max(s.span(len(s.starts)), len(s.starts)*s.width))
	for i := range s.l.bands {
		b := &s.l.bands[i]
		src := s.ground.at(slot, b, m.x, plane%s.groups, plane/s.groups, 1, 0, 1)
		pitch := s.band(slot, src, b.places/s.width, y[b.first:], which)
		if m.index != nil {
			s.number(b, which, pitch, plane)
		}
	}
	if m.index == nil {
		return
	}
	x, index := m.x[plane*m.p.image:][:m.p.image], m.index[plane*places:][:places]
	for _, place := range s.border {
		if math.IsInf(float64(y[place]), -1) { // which may be that of the padding
			index[place] = int64(plane*m.p.image) + m.number(m.bestUnder(x, int(place)))
		}
	}
}

// band computes lines of places; which has the kernel elements that win, in lines at the distance that is returned.
func (s *planeMax[T]) band(slot int, src []T, lines int, y, which []T) int {
	highest := func(n, at int, dst, which []T) {
		s.g.Highest(n, s.l.kernels, &src[at], &s.l.rowAt[0], &dst[0], &which[0])
	}
	switch {
	case s.pitch == 0:
		for i := range lines {
			highest(s.width, int(s.starts[i]), y[i*s.width:], which[i*s.width:])
		}
		return s.width
	case s.pitch == s.width:
		highest(s.span(lines), 0, y, which)
	default:
		buffer := elems[T](s.buffer.at(slot), s.span(lines))
		highest(len(buffer), 0, buffer, which)
		s.copyLines(lines, buffer, s.pitch, y, s.width)
	}
	return s.pitch
}

// number writes the indices of a band of a plane.
func (s *planeMax[T]) number(b *band, which []T, pitch, plane int) {
	m, line := s.m, b.first/s.width
	for i := range b.places / s.width {
		taps := s.taps[line+i]
		index := m.index[plane*s.l.places+b.first+i*s.width:][:s.width]
		at, step := int64(plane*m.p.image), int64(m.p.step)
		if m.at != nil {
			for x, k := range which[i*pitch:][:s.width] {
				if e := int(taps[int(k)]) + x*m.p.step; e >= 0 && e < len(m.at) { // else it is at the border
					index[x] = at + m.at[e]
				}
			}
			continue
		}
		for x, k := range which[i*pitch:][:s.width] {
			index[x] = at + int64(taps[int(k)])
			at += step
		}
	}
}

// planeMean is AveragePool on planes that are spread out: sums of shifted planes.
type planeMean[T amd64.Float] struct {
	planewise[T]
	kernels *amd64.Kernels
	weights []T
	scale   []T // 1/count of each place; nil where it is one number, that of the weights
	x, y    []T
}

func makePlaneMean[T amd64.Float](c *Call) (Run, error) {
	w, planes, err := c.pooling()
	if err != nil {
		return nil, err
	}
	if !vectorsFit(w) {
		return nil, ErrDecline
	}
	s, x := &planeMean[T]{kernels: c.Pool.Kernels(), weights: make([]T, planes.p.kernels)}, c.In[0].Shape
	s.planewise = newPlanewise[T](c, w, x[0], x[1], 1, planes.count, s.task)
	s.scale = sharesOf[T](c, w)
	share := T(1)
	if first := s.scale[0]; !slices.ContainsFunc(s.scale, func(v T) bool { return v != first }) {
		share, s.scale = first, nil
	}
	fill(s.weights, share)
	return func(in, out []*Tensor) error {
		s.x, s.y = Data[T](in[0]), Data[T](out[0])
		s.ground.renew()
		s.tasks.run()
		s.x, s.y = nil, nil
		return nil
	}, nil
}

func (s *planeMean[T]) task(slot, plane int) {
	for i := range s.l.bands {
		b := &s.l.bands[i]
		src := s.ground.at(slot, b, s.x, plane%s.groups, plane/s.groups, 1, 0, 1)
		y := s.y[plane*s.l.places+b.first:][:b.places]
		s.sums(slot, src, s.weights, b.places/s.width, y, 0)
		if s.scale != nil {
			multiply(s.kernels, y, s.scale[b.first:][:b.places])
		}
	}
}

// multiply makes each y the product with its factor.
func multiply[T amd64.Float](k *amd64.Kernels, y, factors []T) {
	if y32, ok := any(y).([]float32); ok {
		k.Mul(y32, y32, any(factors).([]float32))
		return
	}
	for i, f := range factors {
		y[i] *= f
	}
}
