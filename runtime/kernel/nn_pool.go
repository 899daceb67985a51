package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// planes runs a pooling operator plane by plane (one image and channel).
type planes struct {
	p     *patches
	count int
	body  func(lo, hi int)
	grain int
}

// pooling is the geometry of a pooling operator over input 0.
func (c *Call) pooling() (*window, planes, error) {
	x := c.In[0].Shape
	if err := c.rankAtLeast(0, 3); err != nil {
		return nil, planes{}, err
	}
	w, err := c.window(x[2:], nil)
	if err != nil {
		return nil, planes{}, err
	}
	p := newPatches(w, w.in, w.out)
	return w, planes{p: p, count: x[0] * x[1], grain: grainFor(p.places * p.kernels)}, nil
}

// maxPool is ONNX MaxPool. Padding never wins. A NaN under the window does. Of equal elements, the first one does.
type maxPool[T numeric] struct {
	planes
	at           []int64 // place of an element in column-major order; nil with storage_order=0
	x, y         []T
	index        []int64
	firstOfPlace []int32 // an element under each place, to start from
}

func makeMaxPool[T numeric](c *Call) (Run, error) {
	m, _, err := newMaxPool[T](c)
	if err != nil {
		return nil, err
	}
	m.body = m.span
	pool := c.Pool
	return func(in, out []*Tensor) error {
		m.x, m.y, m.index = Data[T](in[0]), Data[T](out[0]), optional[int64](out, 1)
		pool.For(m.count, m.grain, m.body)
		return nil
	}, nil
}

func newMaxPool[T numeric](c *Call) (*maxPool[T], *window, error) {
	w, planes, err := c.pooling()
	if err != nil {
		return nil, nil, err
	}
	m := &maxPool[T]{planes: planes}
	if c.Node.Int("storage_order", 0) != 0 {
		m.at = columnMajor(w.in)
	}
	m.firstOfPlace = make([]int32, m.p.places)
	for i := range m.firstOfPlace {
		m.firstOfPlace[i] = m.p.firstUnder(i)
		if m.firstOfPlace[i] < 0 {
			return nil, nil, c.Errorf(graph.ErrUnsupported, "window %d of kernel %v with pads %v and %v lies in the padding alone; use smaller pads",
				i, w.kernel, w.padLo, w.padHi)
		}
	}
	return m, w, nil
}

// columnMajor numbers the elements of a plane with the first spatial dimension as the fastest.
func columnMajor(shape []int) []int64 {
	at := make([]int64, Count(shape))
	for i := range at {
		rest, size, total := i, Count(shape), 0
		for d := len(shape) - 1; d >= 0; d-- {
			size /= shape[d]
			total += rest % shape[d] * size
			rest /= shape[d]
		}
		at[i] = int64(total)
	}
	return at
}

// firstUnder is the first element of the image under a place, or -1.
func (p *patches) firstUnder(place int) int32 {
	line, x := place/p.width, place%p.width
	if p.kLo[x] >= p.kHi[x] {
		return -1
	}
	for k := 0; k < p.kernels/p.kw; k++ {
		if at := p.lineAt[k*p.lines+line]; at >= 0 {
			return at + int32(x*p.step+p.first[p.kLo[x]])
		}
	}
	return -1
}

func (m *maxPool[T]) span(lo, hi int) {
	for i := lo; i < hi; i++ {
		x, y := m.x[i*m.p.image:(i+1)*m.p.image], m.y[i*m.p.places:(i+1)*m.p.places]
		if m.index == nil {
			m.plane(x, y)
			continue
		}
		index := m.index[i*m.p.places : (i+1)*m.p.places]
		m.planeIndex(x, y, index, int64(i*m.p.image))
	}
}

// plane takes one kernel element after the other over all places.
func (m *maxPool[T]) plane(x, y []T) {
	p := m.p
	for i, at := range m.firstOfPlace {
		y[i] = x[at]
	}
	for k := range p.kernels {
		kx := k % p.kw
		lo, hi := p.lo[kx], p.hi[kx]
		if lo == hi {
			continue
		}
		from := lo*p.step + p.first[kx]
		for line, at := range p.lineAt[k/p.kw*p.lines:][:p.lines] {
			if at >= 0 {
				maxInto(y[line*p.width+lo:line*p.width+hi], x[int(at)+from:], p.step)
			}
		}
	}
}

func maxInto[T numeric](dst, src []T, step int) {
	for i, j := 0, 0; i < len(dst); i, j = i+1, j+step {
		if v := src[j]; v > dst[i] || v != v {
			dst[i] = v
		}
	}
}

func (m *maxPool[T]) planeIndex(x, y []T, index []int64, base int64) {
	for place := range y {
		best := m.bestUnder(x, place)
		y[place], index[place] = x[best], base+m.number(best)
	}
}

// number is the index of an element of the plane.
func (m *maxPool[T]) number(e int32) int64 {
	if m.at != nil {
		return m.at[e]
	}
	return int64(e)
}

// bestUnder is the element of the plane that wins under a place.
func (m *maxPool[T]) bestUnder(x []T, place int) int32 {
	p := m.p
	line, px := place/p.width, place%p.width
	best := m.firstOfPlace[place]
	top := x[best]
	for k := 0; k < p.kernels/p.kw; k++ {
		at := p.lineAt[k*p.lines+line]
		if at < 0 {
			continue
		}
		for kx := p.kLo[px]; kx < p.kHi[px]; kx++ {
			e := at + int32(px*p.step+p.first[kx])
			v := x[e]
			if v != v {
				return e
			}
			if v > top {
				top, best = v, e
			}
		}
	}
	return best
}

// averagePool is ONNX AveragePool: the mean of the elements under the window that are inside the image, or, with
// count_include_pad, inside the image and its padding.
type averagePool[T amd64.Float] struct {
	planes
	scale []T // 1/count of each place
	x, y  []T
}

func makeAveragePool[T amd64.Float](c *Call) (Run, error) {
	w, planes, err := c.pooling()
	if err != nil {
		return nil, err
	}
	a := &averagePool[T]{planes: planes, scale: sharesOf[T](c, w)}
	a.body = a.span
	pool := c.Pool
	return func(in, out []*Tensor) error {
		a.x, a.y = Data[T](in[0]), Data[T](out[0])
		pool.For(a.count, a.grain, a.body)
		return nil
	}, nil
}

// sharesOf is 1 over the number of elements that an AveragePool divides each place's sum by.
func sharesOf[T amd64.Float](c *Call, w *window) []T {
	scale, withPad := make([]T, Count(w.out)), c.Node.Int("count_include_pad", 0) != 0
	for i := range scale {
		if n := w.countUnder(i, withPad); n > 0 {
			scale[i] = T(1 / float64(n))
		}
	}
	return scale
}

// countUnder is the number of elements under a place, those of the padding included or not. What ceil_mode adds beyond
// the padding never counts.
func (w *window) countUnder(place int, withPad bool) int {
	count := 1
	for d := len(w.in) - 1; d >= 0; d-- {
		at := place%w.out[d]*w.stride[d] - w.padLo[d]
		place /= w.out[d]
		lo, hi := 0, w.in[d]
		if withPad {
			lo, hi = -w.padLo[d], w.in[d]+w.padHi[d]
		}
		n := 0
		for k := range w.kernel[d] {
			if x := at + k*w.dilation[d]; x >= lo && x < hi {
				n++
			}
		}
		count *= n
	}
	return count
}

func (a *averagePool[T]) span(lo, hi int) {
	p := a.p
	for i := lo; i < hi; i++ {
		x, y := a.x[i*p.image:(i+1)*p.image], a.y[i*p.places:(i+1)*p.places]
		clear(y)
		for k := range p.kernels {
			addUnder(p, y, x, k)
		}
		for j, s := range a.scale {
			y[j] *= s
		}
	}
}

// addUnder adds to each place the element of x under kernel element k.
func addUnder[T amd64.Float](p *patches, y, x []T, k int) {
	kx := k % p.kw
	lo, hi := p.lo[kx], p.hi[kx]
	if lo == hi {
		return
	}
	from := lo*p.step + p.first[kx]
	for line, at := range p.lineAt[k/p.kw*p.lines:][:p.lines] {
		if at < 0 {
			continue
		}
		src := x[int(at)+from:]
		dst := y[line*p.width+lo : line*p.width+hi]
		for i, j := 0, 0; i < len(dst); i, j = i+1, j+p.step {
			dst[i] += src[j]
		}
	}
}

// makeGlobalPool is GlobalAveragePool or GlobalMaxPool: one number for each plane of X[N, C, D...].
func makeGlobalPool[T amd64.Float](ofPlane func(x []T) T) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.rankAtLeast(0, 2); err != nil {
			return nil, err
		}
		var x, y []T
		shape := c.In[0].Shape
		count, size := shape[0]*shape[1], Count(shape[2:])
		if size == 0 {
			return nil, c.Errorf(graph.ErrInvalid, "input %v has empty planes", shape)
		}
		body := func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y[i] = ofPlane(x[i*size : (i+1)*size])
			}
		}
		pool, grain := c.Pool, grainFor(size)
		return func(in, out []*Tensor) error {
			x, y = Data[T](in[0]), Data[T](out[0])
			pool.For(count, grain, body)
			return nil
		}, nil
	}
}

// makeGlobalMean is GlobalAveragePool of float32 on vector kernels: products of the planes with a vector of ones.
func makeGlobalMean(c *Call) (Run, error) {
	if err := c.rankAtLeast(0, 2); err != nil {
		return nil, err
	}
	shape := c.In[0].Shape
	count, size := shape[0]*shape[1], Count(shape[2:])
	k := c.Pool.Kernels()
	if size == 0 || size > shortRun {
		sum := byRuns(k.Sum)
		return makeGlobalPool(func(x []float32) float32 { return float32(sum(0, x) / float64(size)) })(c)
	}
	var x, y []float32
	ones := make([]float32, size)
	fill(ones, 1)
	body := func(lo, hi int) {
		k.F32.DotRows(hi-lo, size, &x[lo*size], size, &ones[0], &y[lo])
		k.DivBy(y[lo:hi], y[lo:hi], float32(size))
	}
	pool, grain := c.Pool, grainFor(size)
	return func(in, out []*Tensor) error {
		if count > 0 {
			x, y = Data[float32](in[0]), Data[float32](out[0])
			pool.For(count, grain, body)
			x, y = nil, nil
		}
		return nil
	}, nil
}

func meanOf[T amd64.Float](x []T) T { return T(sumOf(x) / float64(len(x))) }

// makeLpPool is LpPool: the p-norm of the elements under the window.
func makeLpPool[T amd64.Float](c *Call) (Run, error) {
	_, planes, err := c.pooling()
	if err != nil {
		return nil, err
	}
	var x, y []T
	p, norm := planes.p, float64(c.Node.Int("p", 2))
	body := func(lo, hi int) {
		for i := lo * p.places; i < hi*p.places; i++ {
			y[i] = T(lpUnder(p, x[i/p.places*p.image:], i%p.places, norm))
		}
	}
	pool := c.Pool
	return func(in, out []*Tensor) error {
		x, y = Data[T](in[0]), Data[T](out[0])
		pool.For(planes.count, planes.grain, body)
		return nil
	}, nil
}

// lpUnder is the p-norm of the elements under a place.
func lpUnder[T amd64.Float](p *patches, x []T, place int, norm float64) float64 {
	line, px := place/p.width, place%p.width
	sum := 0.0
	for k := 0; k < p.kernels/p.kw; k++ {
		at := p.lineAt[k*p.lines+line]
		if at < 0 {
			continue
		}
		for kx := p.kLo[px]; kx < p.kHi[px]; kx++ {
			sum += math.Pow(math.Abs(float64(x[int(at)+px*p.step+p.first[kx]])), norm)
		}
	}
	return math.Pow(sum, 1/norm)
}
