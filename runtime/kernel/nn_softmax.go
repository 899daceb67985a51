package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// softmax is Softmax or LogSoftmax of X seen as [outer, n, inner], along n. Before opset 13 the dimensions from axis
// on are one. The maximum is taken off first, so that no finite input overflows; an input of -inf gives 0 (or -inf);
// a slice of nothing but -inf has no distribution and gives NaN.
type softmax[T amd64.Float] struct {
	outer, n, inner int
	log             bool

	x, y []T
	row  func(y, x []T) // along contiguous elements
}

func makeSoftmax[T amd64.Float](log bool) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		s, err := newSoftmax[T](c, log)
		if err != nil {
			return nil, err
		}
		s.row = softmaxRow[T]
		if log {
			s.row = logSoftmaxRow[T]
		}
		return s.run(c.Pool), nil
	}
}

// newSoftmax settles the axis.
func newSoftmax[T amd64.Float](c *Call, log bool) (*softmax[T], error) {
	def := int64(-1)
	if c.Opset < 13 {
		def = 1
	}
	x := c.In[0].Shape
	s := &softmax[T]{outer: 1, n: 1, inner: 1, log: log}
	if len(x) > 0 && (c.Opset >= 13 || len(x) != int(c.Node.Int("axis", def))) {
		axis, err := c.axis("axis", def, len(x))
		if err != nil {
			return nil, err
		}
		s.outer, s.n, s.inner = Count(x[:axis]), x[axis], Count(x[axis+1:])
		if c.Opset < 13 {
			s.n, s.inner = s.n*s.inner, 1
		}
	} else {
		s.outer = Count(x)
	}
	return s, nil
}

func (s *softmax[T]) run(pool *Pool) Run {
	body := s.rows
	if s.inner > 1 {
		body = s.columns
	}
	return func(in, out []*Tensor) error {
		s.x, s.y = Data[T](in[0]), Data[T](out[0])
		if len(s.x) > 0 {
			pool.For(s.outer, grainFor(8*s.n*s.inner), body)
		}
		return nil
	}
}

func (s *softmax[T]) rows(lo, hi int) {
	for r := lo; r < hi; r++ {
		s.row(s.y[r*s.n:(r+1)*s.n], s.x[r*s.n:(r+1)*s.n])
	}
}

func maxOf[T amd64.Float](x []T) T {
	m := x[0]
	for _, v := range x {
		if v > m || v != v {
			m = v
		}
	}
	return m
}

func softmaxRow[T amd64.Float](y, x []T) {
	m, sum := float64(maxOf(x)), 0.0
	for i, v := range x {
		e := math.Exp(float64(v) - m)
		sum += e
		y[i] = T(e)
	}
	inv := T(1 / sum)
	for i := range y {
		y[i] *= inv
	}
}

func logSoftmaxRow[T amd64.Float](y, x []T) {
	m := float64(maxOf(x))
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - m)
	}
	lse := math.Log(sum)
	for i, v := range x {
		y[i] = T(float64(v) - m - lse)
	}
}

// columns normalises along a dimension that is not the last one.
func (s *softmax[T]) columns(lo, hi int) {
	size := s.n * s.inner
	for o := lo; o < hi; o++ {
		for j := range s.inner {
			s.column(s.y[o*size+j:(o+1)*size], s.x[o*size+j:(o+1)*size])
		}
	}
}

func (s *softmax[T]) column(y, x []T) {
	m := x[0]
	for i := 0; i < len(x); i += s.inner {
		if v := x[i]; v > m || v != v {
			m = v
		}
	}
	sum := 0.0
	for i := 0; i < len(x); i += s.inner {
		e := math.Exp(float64(x[i]) - float64(m))
		sum += e
		y[i] = T(e)
	}
	if s.log {
		lse := math.Log(sum)
		for i := 0; i < len(x); i += s.inner {
			y[i] = T(float64(x[i]) - float64(m) - lse)
		}
		return
	}
	for i := 0; i < len(x); i += s.inner {
		y[i] = T(float64(y[i]) / sum)
	}
}
