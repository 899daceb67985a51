package kernel

import (
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
	run := newConvolution[T](c, win, x[0], groups, w[1], w[0]/groups)
	return func(in, out []*Tensor) error {
		run(Data[T](in[0]), Data[T](in[1]), optional[T](in, 2), Data[T](out[0]))
		return nil
	}, nil
}

// newConvolution prepares y = x * w + bias for the given geometry and per-group channel counts, w[groups*outs][ins][k].
func newConvolution[T amd64.Float](c *Call, w *window, images, groups, ins, outs int) func(x, w, bias, y []T) {
	p := newPatches(w, w.in, w.out)
	if ins == 1 && outs <= maxDirect && p.width >= p.kw {
		return newDepthwise[T](c.Pool, p, images, groups, outs)
	}
	v := &convolution[T]{p: p, images: images, groups: groups, ins: ins, outs: outs, k: ins * p.kernels}
	v.single = p.kernels == 1 && Count(w.stride) == 1 && p.places == p.image && w.unpadded()
	v.byRows = p.kw > p.width
	v.plan(c)
	return v.run
}

func (w *window) unpadded() bool {
	for i := range w.in {
		if w.padLo[i] != 0 || w.padHi[i] != 0 {
			return false
		}
	}
	return true
}

// convolution is a product of the weight, as a matrix [outs, k] per group, with the matrix of patches [k, images*places],
// which is formed in panels of bounded size. A task is a group, some rows of the weight, and a tile of columns.
type convolution[T amd64.Float] struct {
	p                    *patches
	images, groups       int
	ins, outs            int  // channels of a group
	k                    int  // ins * kernel elements
	single               bool // a kernel of one element: X is the matrix of patches
	byRows               bool // panels are transposed
	depth                int  // of k in a panel
	cols                 int  // columns of a tile
	colTiles, tileImages int  // tiles of an image, or images of a tile
	rows, rowTiles       int  // rows of the weight in a task

	tasks      *tasks
	panel      slotScratch
	tile       slotScratch // a tile of several images, before it is spread over them
	ws         slotScratch
	x, w, b, y []T
}

// Sizes of panels, in elements: a panel should stay in the L2 cache, and both its sides be long enough for Gemm.
const (
	panelElems = 1 << 18
	panelDepth = 384
	panelCols  = 1024
	minCols    = 128
	minRows    = 64
)

// plan cuts the work into tasks.
func (v *convolution[T]) plan(c *Call) {
	workers := c.Pool.Size()
	v.depth = max(1, ceilDiv(v.k, max(1, ceilDiv(v.k, panelDepth))))
	if v.byRows {
		v.depth = max(1, ceilDiv(v.depth, v.p.kw)) * v.p.kw
	}
	if v.single {
		v.depth = max(1, v.k)
	}
	total := v.images * v.p.places
	cols := min(panelCols, max(minCols, panelElems/min(v.depth, panelDepth)))
	if v.groups*ceilDiv(total, cols) < 2*workers {
		cols = min(cols, max(minCols, ceilDiv(total*v.groups, 2*workers)))
	}
	if v.p.places >= cols {
		v.colTiles, v.tileImages = ceilDiv(v.p.places, cols), 1
		v.cols = min(v.p.places, ceilDiv(ceilDiv(v.p.places, v.colTiles), 32)*32)
		v.colTiles = ceilDiv(v.p.places, v.cols)
	} else {
		v.colTiles, v.tileImages = 1, max(1, min(v.images, cols/max(1, v.p.places)))
		v.cols = v.tileImages * v.p.places
	}
	tiles := v.groups * v.colTiles * ceilDiv(v.images, v.tileImages)
	v.rowTiles = max(1, min(ceilDiv(workers, max(1, tiles)), v.outs/minRows))
	v.rows = ceilDiv(v.outs, v.rowTiles)
	if v.p.places == 0 || v.outs == 0 {
		tiles = 0
	}
	v.tasks = newTasks(c.Pool, tiles*v.rowTiles, v.task)
	v.claim(c)
}

func (v *convolution[T]) claim(c *Call) {
	slots, size := v.tasks.slots, sizeOf[T]()
	if !v.single || v.tileImages > 1 {
		v.panel = c.slotScratch(slots, size*v.depth*v.cols)
	}
	if v.tileImages > 1 {
		v.tile = c.slotScratch(slots, size*v.rows*v.cols)
	}
	v.ws = c.slotScratch(slots, GemmWorkspace[T](v.tasks.inner, v.rows, v.cols, v.depth))
}

func (v *convolution[T]) run(x, w, bias, y []T) {
	v.x, v.w, v.b, v.y = x, w, bias, y
	v.tasks.run()
	v.x, v.w, v.b, v.y = nil, nil, nil, nil
}

// task computes rows of a group for a tile of columns.
func (v *convolution[T]) task(slot, t int) {
	row, t := t%v.rowTiles, t/v.rowTiles
	tile, t := t%v.colTiles, t/v.colTiles
	group, block := t%v.groups, t/v.groups
	image, places := block*v.tileImages, v.p.places
	j0 := image*places + tile*v.cols
	j1 := min(j0+v.cols, (image+1)*places)
	if v.tileImages > 1 {
		j1 = min(j0+v.cols, v.images*places)
	}
	m0 := group*v.outs + row*v.rows
	m1 := min(m0+v.rows, (group+1)*v.outs)
	if m0 >= m1 {
		return
	}
	channels := v.groups * v.outs
	if v.tileImages == 1 {
		v.product(slot, group, m0, m1, j0, j1, v.y[(image*channels+m0)*places+tile*v.cols:], places)
		return
	}
	cols := j1 - j0
	dst := elems[T](v.tile.at(slot), (m1-m0)*cols)
	v.product(slot, group, m0, m1, j0, j1, dst, cols)
	for m := m0; m < m1; m++ {
		for j := 0; j < cols; j += places {
			i := image + j/places
			copy(v.y[(i*channels+m)*places:][:places], dst[(m-m0)*cols+j:])
		}
	}
}

// product computes dst = W[m0:m1] * patches[:, j0:j1] + bias, panel after panel.
func (v *convolution[T]) product(slot, group, m0, m1, j0, j1 int, dst []T, ld int) {
	beta := T(0)
	cols := j1 - j0
	if v.b != nil {
		beta = 1
		for m := m0; m < m1; m++ {
			setAll(dst[(m-m0)*ld:][:cols], v.b[m])
		}
	}
	stride := v.groups * v.ins * v.p.image
	x := v.x[group*v.ins*v.p.image:]
	ws := v.ws.at(slot)
	if v.single && v.tileImages == 1 {
		image, place := j0/v.p.places, j0%v.p.places
		Gemm(v.tasks.inner, false, false, m1-m0, cols, v.k, 1, v.w[m0*v.k:], v.k,
			x[image*stride+place:], v.p.places, beta, dst, ld, ws)
		return
	}
	for k0 := 0; k0 < v.k; k0 += v.depth {
		k1 := min(k0+v.depth, v.k)
		panel, pld := elems[T](v.panel.at(slot), (k1-k0)*cols), cols
		if v.byRows {
			pld = k1 - k0
			patchRows(v.p, panel, pld, x, stride, k0, k1, j0, j1)
		} else {
			patchColumns(v.p, panel, pld, x, stride, k0, k1, j0, j1)
		}
		Gemm(v.tasks.inner, false, v.byRows, m1-m0, cols, k1-k0, 1, v.w[m0*v.k+k0:], v.k, panel, pld, beta, dst, ld, ws)
		beta = 1
	}
	if v.k == 0 && v.b == nil {
		for m := m0; m < m1; m++ {
			clear(dst[(m-m0)*ld:][:cols])
		}
	}
}
