package kernel

import "github.com/asdlc/asdlc/graph"

// strided copies a tensor whose elements lie at a base and strides of the source into a dense one: slices, expansions,
// transpositions and block shuffles are all this.
type strided[T graph.Number] struct {
	walk walk
	base int
	tile tiling
	dst  []T
	src  []T
}

// tiling transposes in blocks: along axis the source is contiguous, along the innermost axis of the output it is not.
type tiling struct {
	on    bool
	axis  int // of the walk
	rows  int // size of that axis
	pitch int // stride of that axis in the output
	cols  int // size of the innermost axis
	step  int // stride of the innermost axis in the source
	bands int // tasks for one pair of these axes
	outer walk
}

// tileSize is the edge of a block: as many rows and columns of 8 bytes fit into the first-level cache.
const tileSize = 32

// plan lays out the copy. shape is the output's; the strides are the source's, in elements.
func (s *strided[T]) plan(shape, strides []int, base int) {
	s.walk.reset(shape, strides)
	s.base = base
	s.tile.plan(&s.walk)
}

func (t *tiling) plan(w *walk) {
	t.on = false
	last := w.axes - 1
	step := w.strides[0][last]
	if w.n == 0 || step == 0 || step == 1 {
		return
	}
	pitch := w.dims[last]
	for i := last - 1; i >= 0; i-- {
		if w.strides[0][i] == 1 && w.dims[i] >= 4 && w.dims[last] >= 4 {
			*t = tiling{
				on: true, axis: i, rows: w.dims[i], pitch: pitch, cols: w.dims[last], step: step,
				bands: (w.dims[i] + tileSize - 1) / tileSize,
			}
			t.outer.over(w, i, last)
			return
		}
		pitch *= w.dims[i]
	}
}

// over plans the walk over the axes of w other than a and b; operand 0 follows the source, operand 1 the output.
func (o *walk) over(w *walk, a, b int) {
	o.axes, o.ops, o.n = 0, 2, 1
	pitch := w.n
	for i := range w.axes {
		pitch /= w.dims[i]
		if i == a || i == b {
			continue
		}
		o.dims[o.axes] = w.dims[i]
		o.strides[0][o.axes] = w.strides[0][i]
		o.strides[1][o.axes] = pitch
		o.n *= w.dims[i]
		o.axes++
	}
	if o.axes == 0 {
		o.axes, o.dims[0] = 1, 1
		o.strides[0][0], o.strides[1][0] = 0, 0
	}
}

// tasks is the extent of the loop that body divides, and its grain.
func (s *strided[T]) tasks() (n, grain int) {
	if s.tile.on {
		t := &s.tile
		return t.outer.n * t.bands, 1 + grainCheap/(tileSize*t.cols)
	}
	return s.walk.n, grainCheap
}

// body copies the tasks lo <= i < hi.
func (s *strided[T]) body(lo, hi int) {
	if s.tile.on {
		s.tiles(lo, hi)
		return
	}
	w := &s.walk
	step := w.inner(0)
	for at := w.from(lo, hi); at.n > 0; at.next() {
		d, i := s.dst[at.pos:at.pos+at.n], s.base+at.off[0]
		switch step {
		case 1:
			copy(d, s.src[i:i+at.n])
		case 0:
			fill(d, s.src[i])
		default:
			for p := range d {
				d[p] = s.src[i]
				i += step
			}
		}
	}
}

func (s *strided[T]) tiles(lo, hi int) {
	t := &s.tile
	for task := lo; task < hi; task++ {
		at := t.outer.from(task/t.bands, task/t.bands+1)
		row := task % t.bands * tileSize
		rows := min(tileSize, t.rows-row)
		from, to := s.base+at.off[0]+row, at.off[1]+row*t.pitch
		for col := 0; col < t.cols; col += tileSize {
			cols := min(tileSize, t.cols-col)
			for r := range rows {
				d := s.dst[to+r*t.pitch+col:][:cols]
				i := from + r + col*t.step
				for p := range d {
					d[p] = s.src[i]
					i += t.step
				}
			}
		}
	}
}

// run copies in[0] to out[0] by the plan.
func (s *strided[T]) run(pool *Pool) Run {
	n, grain := s.tasks()
	body := s.body
	return func(in, out []*Tensor) error {
		s.src, s.dst = Data[T](in[0]), Data[T](out[0])
		pool.For(n, grain, body)
		return nil
	}
}

// smallRank is an error if a shape has more axes than the kernels can walk.
func (c *Call) smallRank(shape []int) error {
	if len(shape) > maxAxes {
		return c.Errorf(graph.ErrUnsupported, "rank %d, at most %d", len(shape), maxAxes)
	}
	return nil
}
