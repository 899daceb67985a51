package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeConvWeightGrad is asdl.ConvWeightGrad: the gradient of a Conv in its weight, from its input X[N, C, D...] and the
// gradient G[N, M, ...] in its output; the attributes are Conv's. The output is [M, C/group, kernel_shape...].
func makeConvWeightGrad[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x, g, groups := c.In[0].Shape, c.In[1].Shape, int(c.Node.Int("group", 1))
	if len(x) < 3 || len(g) != len(x) || g[0] != x[0] || groups < 1 || x[1]%groups != 0 || g[1]%groups != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "input %v and output gradient %v, want [N, C, ...] and [N, M, ...] in %d groups", x, g, groups)
	}
	w, err := c.windowAttrs(x[2:], nil)
	if err != nil {
		return nil, err
	}
	copy(w.out, g[2:])
	var run func(x, g, w []T)
	if isDepthwise(w, x[1]/groups, g[1]/groups) {
		run = newDepthwiseGrad[T](c, w, x[0], groups, g[1]/groups).run
	} else {
		run = newWeightGrad[T](c, w, x[0], groups, x[1]/groups, g[1]/groups, false).run
	}
	return func(in, out []*Tensor) error {
		run(Data[T](in[0]), Data[T](in[1]), Data[T](out[0]))
		return nil
	}, nil
}

// weightGrad is the product of the output gradient, as a matrix [outs, images*places] per group, with the transposed
// matrix of patches [images*places, k], whose strips are copied out of a lattice; or, under gram, of the matrix of patches
// with its transpose, [k, k], of which the tiles above the diagonal are left out. A task is a group, some rows, and some
// columns; it adds up all images in order.
type weightGrad[T amd64.Float] struct {
	m              *amd64.GEMM[T]
	l              *lattice
	images, groups int
	ins, outs, k   int
	gram           bool

	tileImages     int
	rows, rowTiles int // rows of a task
	cols, colTiles int // columns of a task
	width          int // of a strip
	depth          int
	rowAt, placeAt offsets
	alongRows      bool

	tasks   *tasks
	ground  *ground[T]
	strip   slotScratch
	grads   slotScratch // rows of the gradient in tiles, each place-major
	x, g, w []T
}

func newWeightGrad[T amd64.Float](c *Call, w *window, images, groups, ins, outs int, gram bool) *weightGrad[T] {
	v := &weightGrad[T]{
		m: amd64.MatrixOf[T](c.Pool.Kernels()), l: newLattice(w, ins),
		images: images, groups: groups, ins: ins, outs: outs, gram: gram,
	}
	v.k = ins * v.l.kernels
	if gram {
		v.outs = v.k
	}
	v.plan(c)
	return v
}

func (v *weightGrad[T]) plan(c *Call) {
	l, workers := v.l, c.Pool.Size()
	v.tileImages = 1
	if len(l.bands) == 1 { // the number must not depend on the workers: sums are formed image block by image block
		v.tileImages = max(1, min(spreadElems/max(1, v.ins*l.plane), taskCols/max(1, l.places), v.images))
	}
	stride := v.ins * l.plane
	if l.plain() {
		stride = v.groups * v.ins * l.image
	}
	v.rowAt, v.placeAt = newOffsets(l.rowAt), newOffsets(l.placeAt(v.tileImages, stride))
	v.alongRows = v.placeAt.mean() >= v.rowAt.mean()
	v.depth = min(blockDepth, max(1, len(v.placeAt.at)))

	v.width = stripWidth(v.m, v.outs)
	strips := ceilDiv(v.k, v.width)
	v.colTiles = max(1, min(ceilDiv(4*workers, v.groups), strips/4))
	v.rowTiles = max(1, min(ceilDiv(2*workers, v.groups*v.colTiles), v.outs/(2*v.m.Rows)))
	if workers == 1 {
		v.rowTiles, v.colTiles = 1, 1
	}
	v.cols = max(1, ceilDiv(strips, v.colTiles)) * v.width
	v.rows = max(1, ceilDiv(v.outs, v.rowTiles))
	v.colTiles, v.rowTiles = ceilDiv(v.k, v.cols), ceilDiv(v.outs, v.rows)

	v.tasks = newTasks(c.Pool, v.groups*v.colTiles*v.rowTiles, v.task)
	slots, size := v.tasks.slots, sizeOf[T]()
	v.ground = newGround[T](c, v.m, l, slots, v.groups, v.tileImages)
	v.strip = c.slotScratch(slots, size*v.depth*v.width)
	v.grads = c.slotScratch(slots, size*v.depth*v.rows)
}

func (v *weightGrad[T]) run(x, g, w []T) {
	if v.images*v.l.places == 0 {
		clear(w)
		return
	}
	v.x, v.g, v.w = x, g, w
	v.ground.renew()
	v.tasks.run()
	v.x, v.g, v.w = nil, nil, nil
}

func (v *weightGrad[T]) task(slot, t int) {
	row, t := t%v.rowTiles, t/v.rowTiles
	col, group := t%v.colTiles, t/v.colTiles
	r := rect{i0: row * v.rows, i1: min((row+1)*v.rows, v.outs), j0: col * v.cols, j1: min((col+1)*v.cols, v.k)}
	beta := T(0)
	for image := 0; image < v.images; image += v.tileImages {
		images := min(v.tileImages, v.images-image)
		for b := range v.l.bands {
			v.addImages(slot, group, image, images, &v.l.bands[b], r, beta)
			beta = 1
		}
	}
}

// addImages adds what the places of a band of some images contribute to a rectangle of the weight's gradient.
func (v *weightGrad[T]) addImages(slot, group, image, images int, b *band, r rect, beta T) {
	c0, c1 := v.channels(r)
	src := v.ground.at(slot, b, v.x, group, image, images, c0, c1)
	strip, grads := elems[T](v.strip.at(slot), v.depth*v.width), elems[T](v.grads.at(slot), v.depth*v.rows)
	rows := r.i1 - r.i0
	tiles := ceilDiv(rows, v.m.Rows)
	total := images * b.places
	for p0 := 0; p0 < total; p0 += v.depth {
		depth := min(v.depth, total-p0)
		if v.gram {
			v.packPatches(grads, src, r.i0, rows, p0, depth)
		} else {
			v.packGrads(grads, group, r.i0, rows, image, b, p0, depth)
		}
		for j := r.j0; j < r.j1; j += v.width {
			n := min(v.width, r.j1-j)
			packStrip(v.m, strip, v.width, src, v.placeAt, p0, p0+depth, v.rowAt, j, j+n, v.alongRows)
			for t := range tiles {
				lo, hi := t*rows/tiles, (t+1)*rows/tiles
				if v.gram && j >= r.i0+hi {
					continue
				}
				v.m.Tile(hi-lo, n, depth, &grads[lo*depth], 1, hi-lo, &strip[0], v.width,
					&v.w[(group*v.outs+r.i0+lo)*v.k+j], v.k, 1, beta)
			}
		}
		beta = 1
	}
}

// packPatches writes places p0..p0+depth of rows of the matrix of patches in tiles, as packGrads does.
func (v *weightGrad[T]) packPatches(dst, src []T, i0, rows, p0, depth int) {
	tiles := ceilDiv(rows, v.m.Rows)
	for t := range tiles {
		lo, hi := t*rows/tiles, (t+1)*rows/tiles
		packStrip(v.m, dst[lo*depth:], hi-lo, src, v.placeAt, p0, p0+depth, v.rowAt, i0+lo, i0+hi, v.alongRows)
	}
}

// packGrads writes places p0..p0+depth of rows of the gradient in tiles: element (i, p) of a tile of n rows is at p*n+i.
func (v *weightGrad[T]) packGrads(dst []T, group, m0, rows, image int, b *band, p0, depth int) {
	tiles := ceilDiv(rows, v.m.Rows)
	for p := 0; p < depth; {
		at := (p0 + p) % b.places
		run := min(depth-p, b.places-at)
		src := v.g[(((image+(p0+p)/b.places)*v.groups+group)*v.outs+m0)*v.l.places+b.first+at:]
		for t := range tiles {
			lo, hi := t*rows/tiles, (t+1)*rows/tiles
			for m := lo; m < hi; m += v.m.Lanes {
				v.m.Transpose(min(v.m.Lanes, hi-m), run, &src[m*v.l.places], v.l.places, &dst[lo*depth+p*(hi-lo)+m-lo], hi-lo)
			}
		}
		p += run
	}
}

// channels are those that the rows and columns of r look at.
func (v *weightGrad[T]) channels(r rect) (c0, c1 int) {
	c0, c1 = r.j0/v.l.kernels, ceilDiv(r.j1, v.l.kernels)
	if v.gram {
		c0, c1 = min(c0, r.i0/v.l.kernels), max(c1, ceilDiv(r.i1, v.l.kernels))
	}
	return c0, c1
}
