package kernel

import (
	"unsafe"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeConv is ONNX Conv: X[N, C, D...], W[M, C/group, k...], B[M]. Any rank, group, stride, dilation and padding.
func makeConv[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x, w, groups := c.In[0].Shape, c.In[1].Shape, int(c.Node.Int("group", 1))
	if len(x) < 3 || len(w) != len(x) {
		return nil, c.Errorf(graph.ErrInvalid, "input %v and weight %v, want [N, C, ...] and [M, C/group, ...]", x, w)
	}
	if groups < 1 || w[1]*groups != x[1] || w[0]%groups != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "group=%d does not fit input %v and weight %v", groups, x, w)
	}
	if err := c.vector(w[0], 2); err != nil {
		return nil, err
	}
	win, err := c.window(x[2:], w[2:])
	if err != nil {
		return nil, err
	}
	run := newConvolution[T](c, win, x[0], groups, w[1], w[0]/groups, false)
	return func(in, out []*Tensor) error {
		run(Data[T](in[0]), Data[T](in[1]), optional[T](in, 2), Data[T](out[0]))
		return nil
	}, nil
}

// newConvolution prepares y = x * w + bias for the given geometry and per-group channel counts, w[groups*outs][ins][k].
// With turned, w is [groups*ins][outs][k] with the kernel turned round, as a transposed convolution has it.
func newConvolution[T amd64.Float](c *Call, w *window, images, groups, ins, outs int, turned bool) func(x, w, bias, y []T) {
	if isDepthwise(w, ins, outs) {
		return newDepthwise[T](c, w, images, groups, outs, turned)
	}
	if !turned {
		kernels := Count(w.kernel)
		layout := weightLayout{group: outs * ins * kernels, out: ins * kernels, in: kernels}
		if run := newPixelwise[T](c, mapConv(w), layout, images, groups, ins, outs); run != nil {
			return run
		}
	}
	v := &convolution[T]{
		g: amd64.MatrixOf[T](c.Pool.Kernels()), l: newLattice(w, ins),
		images: images, groups: groups, ins: ins, outs: outs, turned: turned,
	}
	v.k = ins * v.l.kernels
	v.depth = depthOf(v.k)
	v.plan(c)
	return v.run
}

// convolution is a product of the weight, as a matrix [outs, k] per group, with the matrix of patches [k, images*places],
// of which strips are copied out of a lattice. A task is a group, some rows of the weight, and a block of columns: a band of
// places of some images.
type convolution[T amd64.Float] struct {
	g              *amd64.GEMM[T]
	l              *lattice
	images, groups int
	ins, outs      int // channels of a group
	k              int // ins * kernel elements
	turned         bool

	depth          int  // of k at a time
	width          int  // of a strip
	rows, rowTiles int  // rows of the weight in a task
	tileImages     int  // images of a task
	apart          bool // strips run over several images: they are computed aside
	direct         bool // rows of the matrix of patches are rows of the image
	rowAt, placeAt offsets
	alongRows      bool

	packing, tasks *tasks
	weights        *Scratch // [groups*outs, k] in tiles, each k-major
	ground         *ground[T]
	strip          slotScratch
	aside          slotScratch
	x, w, b, y     []T
}

// Bounds of a task, in elements and columns.
const (
	spreadElems = 1 << 18 // of the images spread out for a task: they should stay in the L2 cache
	taskCols    = 1024
	minTaskCol  = 256
	minRows     = 64
)

// plan cuts the work into tasks.
func (v *convolution[T]) plan(c *Call) {
	workers, g, l := c.Pool.Size(), v.g, v.l
	perImage := v.ins * l.plane
	places := l.bands[0].places
	v.tileImages = 1
	if len(l.bands) == 1 && places > 0 {
		v.tileImages = max(1, min(spreadElems/max(1, perImage), taskCols/places, v.images))
		if even := ceilDiv(v.images*v.groups, 2*workers); even*places >= minTaskCol {
			v.tileImages = min(v.tileImages, even)
		}
		v.tileImages = ceilDiv(v.images, max(1, ceilDiv(v.images, v.tileImages)))
	}
	blocks := ceilDiv(v.images, max(1, v.tileImages)) * len(l.bands) * v.groups
	v.rowTiles = max(1, min(ceilDiv(4*workers, max(1, blocks)), v.outs/minRows))
	if workers == 1 || blocks >= 4*workers {
		v.rowTiles = 1
	}
	v.rows = ceilDiv(v.outs, v.rowTiles)
	v.rowTiles = ceilDiv(v.outs, max(1, v.rows))
	v.width = stripWidth(g, v.rows)
	stride := v.ins * l.plane
	if l.plain() {
		stride = v.groups * v.ins * l.image
	}
	v.rowAt, v.placeAt = newOffsets(l.rowAt), newOffsets(l.placeAt(v.tileImages, stride))
	v.alongRows = v.rowAt.mean() > v.placeAt.mean()
	v.apart = v.tileImages > 1 && places%v.width != 0
	v.direct = l.kernels == 1 && v.outs <= 4*g.Rows && !v.apart
	if l.places == 0 || v.outs == 0 {
		blocks = 0
	}
	v.tasks = newTasks(c.Pool, blocks*v.rowTiles, v.task)
	v.packing = newTasks(c.Pool, v.groups*v.rowTiles, v.packWeights)
	v.claim(c)
}

func (v *convolution[T]) claim(c *Call) {
	slots, size := v.tasks.slots, sizeOf[T]()
	v.weights = c.Scratch(size*v.groups*v.outs*v.k + alignment)
	v.ground = newGround[T](c, v.g, v.l, slots, v.groups, v.tileImages)
	v.strip = c.slotScratch(slots, size*v.depth*v.width)
	if v.apart {
		v.aside = c.slotScratch(slots, size*v.rows*len(v.placeAt.at))
	}
}

func (v *convolution[T]) run(x, w, bias, y []T) {
	v.x, v.w, v.b, v.y = x, w, bias, y
	v.ground.renew()
	v.packing.run()
	v.tasks.run()
	v.x, v.w, v.b, v.y = nil, nil, nil, nil
}

// tiles is the number of tiles that so many rows are cut into; tile i of n holds rows [i*rows/n, (i+1)*rows/n).
func (v *convolution[T]) tiles(rows int) int { return ceilDiv(rows, v.g.Rows) }

// packWeights writes some rows of the weight in tiles: element (i, p) of a tile of n rows is at p*n+i.
func (v *convolution[T]) packWeights(_, task int) {
	row, group := task%v.rowTiles, task/v.rowTiles
	m0 := row * v.rows
	rows := min(v.rows, v.outs-m0)
	packed := ScratchOf[T](v.weights)[(group*v.outs+m0)*v.k:]
	tiles := v.tiles(rows)
	for t := range tiles {
		lo, hi := t*rows/tiles, (t+1)*rows/tiles
		for m := lo; m < hi; m += v.g.Lanes {
			v.packTile(packed[lo*v.k:], group, m0+m, min(v.g.Lanes, hi-m), m-lo, hi-lo)
		}
	}
}

// packTile writes rows m..m+n of a group's weight as rows from..from+n of a tile of ld rows.
func (v *convolution[T]) packTile(tile []T, group, m, n, from, ld int) {
	if v.k == 0 {
		return
	}
	if !v.turned {
		v.g.Transpose(n, v.k, &v.w[(group*v.outs+m)*v.k], v.k, &tile[from], ld)
		return
	}
	kernels := v.l.kernels
	for i := range v.ins {
		src := v.w[((group*v.ins+i)*v.outs+m)*kernels:]
		v.g.Transpose(n, kernels, &src[0], kernels, &tile[(i*kernels+kernels-1)*ld+from], -ld)
	}
}

// task computes rows of a group for a block of columns.
func (v *convolution[T]) task(slot, t int) {
	row, t := t%v.rowTiles, t/v.rowTiles
	at, t := t%len(v.l.bands), t/len(v.l.bands)
	group, block := t%v.groups, t/v.groups
	b := &v.l.bands[at]
	image := block * v.tileImages
	images := min(v.tileImages, v.images-image)
	m0 := row * v.rows
	rows := min(v.rows, v.outs-m0)
	src := v.ground.at(slot, b, v.x, group, image, images, 0, v.ins)
	y := v.y[(image*v.groups*v.outs+group*v.outs+m0)*v.l.places+b.first:]
	dst, ld, cols := y, v.l.places, images*b.places
	if v.apart {
		dst, ld = elems[T](v.aside.at(slot), rows*cols), cols
	}
	v.start(dst, ld, group*v.outs+m0, rows, images, b.places)
	beta := T(0)
	if v.b != nil {
		beta = 1
	}
	for k0 := 0; k0 < v.k; k0 += v.depth {
		v.block(slot, src, group, m0, rows, k0, min(k0+v.depth, v.k), cols, b.places, dst, ld, beta)
		beta = 1
	}
	if !v.apart {
		return
	}
	for i := range images {
		for m := range rows {
			copy(y[(i*v.groups*v.outs+m)*v.l.places:][:b.places], dst[m*cols+i*b.places:])
		}
	}
}

// start writes the bias, or zeros where no product follows.
func (v *convolution[T]) start(dst []T, ld, channel, rows, images, places int) {
	if v.b == nil && v.k > 0 {
		return
	}
	for i := range images {
		for m := range rows {
			bias := T(0)
			if v.b != nil {
				bias = v.b[channel+m]
			}
			setAll(dst[v.column(i*places, places)+m*ld:][:places], bias)
		}
	}
}

// column is where column j of a task begins in what it computes.
func (v *convolution[T]) column(j, places int) int {
	if v.apart || v.tileImages == 1 {
		return j
	}
	return j/places*v.groups*v.outs*v.l.places + j%places
}

// block adds the products over k0..k1.
func (v *convolution[T]) block(slot int, src []T, group, m0, rows, k0, k1, cols, places int, dst []T, ld int, beta T) {
	depth, tiles := k1-k0, v.tiles(rows)
	weights := ScratchOf[T](v.weights)[(group*v.outs+m0)*v.k:]
	strip := elems[T](v.strip.at(slot), v.depth*v.width)
	for j := 0; j < cols; j += v.width {
		n := min(v.width, cols-j)
		b, ldb := unsafe.SliceData(strip), v.width
		if v.direct && int(v.placeAt.run[j]) >= n {
			b, ldb = &src[v.rowAt.at[k0]+v.placeAt.at[j]], v.l.plane
		} else {
			packStrip(v.g, strip, v.width, src, v.rowAt, k0, k1, v.placeAt, j, j+n, v.alongRows)
		}
		c := dst[v.column(j, places):]
		for t := range tiles {
			lo, hi := t*rows/tiles, (t+1)*rows/tiles
			v.g.Tile(hi-lo, n, depth, &weights[lo*v.k+k0*(hi-lo)], 1, hi-lo, b, ldb, &c[lo*ld], ld, 1, beta)
		}
	}
}
