package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeConvTranspose is ONNX ConvTranspose: X[N, C, D...], W[C, M/group, k...], B[M]; the transpose of Conv with respect to
// its input, where X takes the place of Conv's output.
func makeConvTranspose[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x, w, groups := c.In[0].Shape, c.In[1].Shape, int(c.Node.Int("group", 1))
	if len(x) < 3 || len(w) != len(x) {
		return nil, c.Errorf(graph.ErrInvalid, "input %v and weight %v, want [N, C, ...] and [C, M/group, ...]", x, w)
	}
	if groups < 1 || w[0] != x[1] || x[1]%groups != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "group=%d does not fit input %v and weight %v", groups, x, w)
	}
	if err := c.vector(w[1]*groups, 2); err != nil {
		return nil, err
	}
	win, err := c.transposedWindow(x[2:], w[2:])
	if err != nil {
		return nil, err
	}
	run := newTransposed[T](c, win, x[0], groups, x[1]/groups, w[1])
	return func(in, out []*Tensor) error {
		run(Data[T](in[0]), Data[T](in[1]), optional[T](in, 2), Data[T](out[0]))
		return nil
	}, nil
}

// transposedWindow is window for ConvTranspose: in is the shape of the places, out that of the image.
//
//	out = stride*(in-1) + output_padding + extent - padLo - padHi
//
// which auto_pad and output_shape solve for the pads: the greater half goes in front, behind for SAME_UPPER.
func (c *Call) transposedWindow(in, kernel []int) (*window, error) {
	w, err := c.windowAttrs(in, kernel)
	if err != nil {
		return nil, err
	}
	rank, mode := len(in), c.Node.Str("auto_pad", "NOTSET")
	extra, shape := c.intsOr("output_padding", rank, 0), c.intsOr("output_shape", 0, 0)
	if len(shape) == rank+2 {
		shape = shape[2:]
	}
	if len(extra) != rank || len(shape) != 0 && len(shape) != rank {
		return nil, c.Errorf(graph.ErrInvalid, "output_padding %v, output_shape %v do not fit %d spatial dimensions", extra, shape, rank)
	}
	for i, n := range in {
		full := w.stride[i]*(n-1) + extra[i] + w.extent(i)
		switch {
		case len(shape) > 0:
			w.out[i] = shape[i]
		case mode == "SAME_UPPER" || mode == "SAME_LOWER":
			w.out[i] = n * w.stride[i]
		default:
			if mode == "VALID" {
				w.padLo[i], w.padHi[i] = 0, 0
			}
			w.out[i] = full - w.padLo[i] - w.padHi[i]
			continue
		}
		total := max(0, full-w.out[i])
		w.padLo[i] = total - total/2
		if mode == "SAME_UPPER" {
			w.padLo[i] = total / 2
		}
		w.padHi[i] = total - w.padLo[i]
	}
	got := c.Out[0].Shape
	for i, n := range w.out {
		if len(got) != rank+2 || got[i+2] != n {
			return nil, c.Errorf(graph.ErrInvalid, "output shape is %v, but the attributes give spatial dimensions %v", got, w.out)
		}
	}
	return w, nil
}

// newTransposed chooses between a convolution with the kernel turned round, which needs unit strides and is best unless
// the image has many more elements than places, and adding up products.
func newTransposed[T amd64.Float](c *Call, w *window, images, groups, ins, outs int) func(x, w, bias, y []T) {
	kernels := Count(w.kernel)
	layout := weightLayout{group: ins * outs * kernels, out: kernels, in: outs * kernels}
	if run := newPixelwise[T](c, mapTransposed(w), layout, images, groups, ins, outs); run != nil {
		return run
	}
	if Count(w.stride) == 1 && Count(w.out)*3 <= Count(w.in)*4 {
		return newTurned[T](c, w, images, groups, ins, outs)
	}
	t := &transposed[T]{p: newPatches(w, w.out, w.in), images: images, groups: groups, ins: ins, outs: outs}
	t.byRows = t.p.kw > t.p.width
	t.plan(c)
	return t.run
}

// newTurned computes a transposed convolution of unit stride as a convolution with the kernel turned round.
func newTurned[T amd64.Float](c *Call, w *window, images, groups, ins, outs int) func(x, w, bias, y []T) {
	turned := &window{in: w.in, out: w.out, kernel: w.kernel, stride: w.stride, dilation: w.dilation}
	for i := range w.in {
		lo := w.extent(i) - 1 - w.padLo[i]
		turned.padLo = append(turned.padLo, lo)
		turned.padHi = append(turned.padHi, w.out[i]-1+w.extent(i)-w.in[i]-lo)
	}
	return newConvolution[T](c, turned, images, groups, ins, outs, true)
}

// Sizes of panels, in elements: a panel should stay in the L2 cache, and both its sides be long enough for Gemm.
const (
	panelElems = 1 << 18
	panelDepth = 384
	panelCols  = 1024
)

// transposed adds products of the weight's transpose, [outs*kernel, ins] per group, with X, [ins, images*places], to the
// images that the places look at. A task is a group, some output channels, and a block of images, which it alone writes.
type transposed[T amd64.Float] struct {
	p              *patches
	images, groups int
	ins, outs      int // channels of a group
	byRows         bool
	cols           int // columns of a product
	tileImages     int // images of a task; their places are joined when they are few
	rows, rowTiles int // output channels of a task

	tasks      *tasks
	panel      slotScratch // X of several images
	product    slotScratch
	ws         slotScratch
	x, w, b, y []T
}

func (t *transposed[T]) plan(c *Call) {
	workers := c.Pool.Size()
	t.rows = max(1, min(t.outs, panelDepth/t.p.kernels))
	t.cols = min(panelCols, max(minRows, panelElems/(t.rows*t.p.kernels)))
	t.tileImages = 1
	if t.p.places < t.cols {
		t.tileImages = max(1, min(t.cols/max(1, t.p.places), ceilDiv(t.images*t.groups*ceilDiv(t.outs, t.rows), 2*workers)))
		t.tileImages = min(t.tileImages, max(1, t.images))
	}
	t.cols = min(t.cols, t.tileImages*t.p.places)
	t.rowTiles = ceilDiv(t.outs, t.rows)
	blocks := ceilDiv(t.images, t.tileImages)
	t.tasks = newTasks(c.Pool, blocks*t.groups*t.rowTiles, t.task)
	slots, size := t.tasks.slots, sizeOf[T]()
	if t.tileImages > 1 {
		t.panel = c.slotScratch(slots, size*t.ins*t.cols)
	}
	m, n := t.rows*t.p.kernels, t.cols
	t.product = c.slotScratch(slots, size*m*n)
	if t.byRows {
		m, n = n, m
	}
	t.ws = c.slotScratch(slots, GemmWorkspace[T](t.tasks.inner, m, n, t.ins))
}

func (t *transposed[T]) run(x, w, bias, y []T) {
	t.x, t.w, t.b, t.y = x, w, bias, y
	t.tasks.run()
	t.x, t.w, t.b, t.y = nil, nil, nil, nil
}

func (t *transposed[T]) task(slot, task int) {
	row, task := task%t.rowTiles, task/t.rowTiles
	group, block := task%t.groups, task/t.groups
	i0 := block * t.tileImages
	i1 := min(i0+t.tileImages, t.images)
	m0 := row * t.rows
	m1 := min(m0+t.rows, t.outs)
	t.start(group, m0, m1, i0, i1)
	if t.ins == 0 {
		return
	}
	for j0 := i0 * t.p.places; j0 < i1*t.p.places; j0 += t.cols {
		t.add(slot, group, m0, m1, j0, min(j0+t.cols, i1*t.p.places))
	}
}

// start writes the bias to the planes of a task.
func (t *transposed[T]) start(group, m0, m1, i0, i1 int) {
	for i := i0; i < i1; i++ {
		for m := group*t.outs + m0; m < group*t.outs+m1; m++ {
			plane := t.y[(i*t.groups*t.outs+m)*t.p.image:][:t.p.image]
			if t.b != nil {
				setAll(plane, t.b[m])
			} else {
				clear(plane)
			}
		}
	}
}

// add adds what columns j0..j1 contribute.
func (t *transposed[T]) add(slot, group, m0, m1, j0, j1 int) {
	x, ldx := t.columns(slot, group, j0, j1)
	m, n, ldw := (m1-m0)*t.p.kernels, j1-j0, t.outs*t.p.kernels
	w := t.w[group*t.ins*ldw+m0*t.p.kernels:]
	dst, ws := elems[T](t.product.at(slot), m*n), t.ws.at(slot)
	stride := t.groups * t.outs * t.p.image
	y := t.y[(group*t.outs+m0)*t.p.image:]
	if t.byRows {
		Gemm(t.tasks.inner, true, false, n, m, t.ins, 1, x, ldx, w, ldw, 0, dst, m, ws)
		addPatchRows(t.p, dst, m, y, stride, 0, m, j0, j1)
	} else {
		Gemm(t.tasks.inner, true, false, m, n, t.ins, 1, w, ldw, x, ldx, 0, dst, n, ws)
		addPatchColumns(t.p, dst, n, y, stride, 0, m, j0, j1)
	}
}

// columns is X as a matrix [ins, j0..j1]: a view of one image, or a copy of several.
func (t *transposed[T]) columns(slot, group, j0, j1 int) (x []T, ld int) {
	places := t.p.places
	channels := t.groups * t.ins
	image, place := j0/places, j0%places
	if t.tileImages == 1 {
		return t.x[(image*channels+group*t.ins)*places+place:], places
	}
	n := j1 - j0
	panel := elems[T](t.panel.at(slot), t.ins*n)
	for c := range t.ins {
		row, from, plane := panel[c*n:(c+1)*n], place, image*channels+group*t.ins+c
		for len(row) > 0 {
			got := copy(row, t.x[plane*places+from:(plane+1)*places])
			row, from, plane = row[got:], 0, plane+channels
		}
	}
	return panel, n
}
