package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// pixelwise is a convolution, or a transposed one, whose products have images for columns: an element of the output is
// the weight, as a matrix [outs, kernels*ins], times the inputs under it, a matrix [kernels*ins, images], of which only
// the rows that lie inside the image are multiplied. The inputs are turned once, so that images stand side by side, and
// need no copies of patches. It is for batches that fill vectors; padding costs nothing, nor do the gaps that the
// stride of a transposed convolution leaves.
//
// A task is a block of images, a group, a band of lines of the output and some rows of the weight.
type pixelwise[T amd64.Float] struct {
	g              *amd64.GEMM[T]
	images, groups int
	ins, outs      int // channels of a group
	pixelMap
	weightAt weightLayout

	lanes            int // images of a block
	lines            int // of a band
	rows, rowTiles   int // rows of the weight of a task
	blocks, bands    int
	groundLines      int // of a band's inputs, at most
	depths           []depthRange
	packing, tasks   *tasks
	weights          *Scratch // [groups*outs, kernels*ins] in tiles, each k-major
	natural          slotScratch
	ground, products slotScratch
	x, w, b, y       []T
}

// weightLayout is where the weight of output m, input c and kernel element k lies: group*group + m*m + c*c + k.
type weightLayout struct{ group, out, in int }

// depthRange is a part [lo, hi) of the products of one line of the kernel: tap*ins + channel.
type depthRange struct{ line, lo, hi int }

// Bounds of a task, in elements.
const (
	pixelGround   = 1 << 19 // of the inputs that a band reads
	pixelMost     = 1 << 20 // the same where a line alone needs more
	pixelProducts = 1 << 18
	pixelRows     = 256
	pixelWork     = 128 // multiply-adds for each element that is turned, below which it does not pay
	pixelMinDepth = 16  // channels below which products are too short
)

// newPixelwise prepares y = x * w + bias over a map, or gives nil where another way is better.
func newPixelwise[T amd64.Float](c *Call, m pixelMap, layout weightLayout, images, groups, ins, outs int) func(x, w, bias, y []T) {
	lanes := amd64.MatrixOf[T](c.Pool.Kernels()).Lanes
	if vectors := ceilDiv(images, lanes) * lanes; 4*vectors > 5*images || ins < pixelMinDepth || outs < pixelMinDepth {
		return nil
	}
	turned := m.inLines*m.inLine*ins + m.outLines*m.outLine*outs
	if m.pairs()*ins*outs < pixelWork*turned {
		return nil
	}
	v := pixelwiseOf[T](c, m, layout, images, groups, ins, outs)
	if v == nil {
		return nil
	}
	return v.run
}

// pixelwiseOf prepares the convolution; nil where the inputs of a line do not fit the caches.
func pixelwiseOf[T amd64.Float](c *Call, m pixelMap, layout weightLayout, images, groups, ins, outs int) *pixelwise[T] {
	g := amd64.MatrixOf[T](c.Pool.Kernels())
	v := &pixelwise[T]{g: g, images: images, groups: groups, ins: ins, outs: outs, pixelMap: m, weightAt: layout}
	if m.outLines*m.outLine*images*outs == 0 || !v.plan(c) {
		return nil
	}
	return v
}

// plan cuts the work into tasks; it reports whether their inputs fit the caches.
func (v *pixelwise[T]) plan(c *Call) bool {
	workers := c.Pool.Size()
	v.lanes = min(v.images, v.g.Cols)
	v.blocks = ceilDiv(v.images, v.lanes)
	v.rowTiles = ceilDiv(v.outs, pixelRows)
	line := v.inLine * v.ins * v.lanes
	v.lines = max(1, min(v.outLines, pixelProducts/(v.outLine*ceilDiv(v.outs, v.rowTiles)*v.lanes)))
	for v.lines > 1 && v.span(v.lines)*line > pixelGround {
		v.lines--
	}
	v.lines = ceilDiv(v.outLines, ceilDiv(v.outLines, v.lines)) // of nearly equal height
	v.bands = ceilDiv(v.outLines, v.lines)
	v.groundLines = v.span(v.lines)
	if v.groundLines*line > pixelMost {
		return false
	}
	for workers > 1 && v.blocks*v.groups*v.bands*v.rowTiles < 4*workers && v.outs/(v.rowTiles+1) >= minRows {
		v.rowTiles++
	}
	v.rows = ceilDiv(v.outs, v.rowTiles)
	v.rowTiles = ceilDiv(v.outs, v.rows)
	each := v.lineTaps * v.ins
	parts := ceilDiv(each, blockDepth)
	for line := range v.kernelLines() {
		for i := range parts {
			v.depths = append(v.depths, depthRange{line, i * each / parts, (i + 1) * each / parts})
		}
	}
	v.tasks = newTasks(c.Pool, v.blocks*v.groups*v.bands*v.rowTiles, v.task)
	v.packing = newTasks(c.Pool, v.groups*v.rowTiles, v.packWeights)
	size, k := sizeOf[T](), v.ins*len(v.taps)
	v.weights = c.Scratch(size*v.groups*v.outs*k + alignment)
	v.natural = c.slotScratch(v.packing.slots, size*k*v.g.Rows)
	v.ground = c.slotScratch(v.tasks.slots, size*v.groundLines*line)
	v.products = c.slotScratch(v.tasks.slots, size*v.lines*v.outLine*v.rows*v.lanes)
	return true
}

func (v *pixelwise[T]) run(x, w, bias, y []T) {
	v.x, v.w, v.b, v.y = x, w, bias, y
	v.packing.run()
	v.tasks.run()
	v.x, v.w, v.b, v.y = nil, nil, nil, nil
}

// packWeights writes some rows of the weight in tiles: row i of a tile of n has the weight of tap t and input c at
// ((t*ins)+c)*n + i.
func (v *pixelwise[T]) packWeights(slot, task int) {
	row, group := task%v.rowTiles, task/v.rowTiles
	m0 := row * v.rows
	rows := min(v.rows, v.outs-m0)
	k := v.ins * len(v.taps)
	packed := ScratchOf[T](v.weights)[(group*v.outs+m0)*k:]
	natural := elems[T](v.natural.at(slot), k*v.g.Rows)
	tiles := ceilDiv(rows, v.g.Rows)
	for t := range tiles {
		lo, hi := t*rows/tiles, (t+1)*rows/tiles
		v.packTile(packed[lo*k:], natural, v.w[group*v.weightAt.group+(m0+lo)*v.weightAt.out:], hi-lo)
	}
}

// packTile writes a tile of n rows, by way of one whose rows are in the weight's own order.
func (v *pixelwise[T]) packTile(tile, natural, w []T, n int) {
	taps := len(v.taps)
	for m := 0; m < n; m += v.g.Lanes {
		rows, from := min(v.g.Lanes, n-m), w[m*v.weightAt.out:]
		if v.weightAt.in == taps {
			v.g.Transpose(rows, v.ins*taps, &from[0], v.weightAt.out, &natural[m], n)
			continue
		}
		for c := range v.ins {
			v.g.Transpose(rows, taps, &from[c*v.weightAt.in], v.weightAt.out, &natural[c*taps*n+m], n)
		}
	}
	for t, tap := range v.taps {
		v.g.Copy(v.ins, n, &natural[tap*n], taps*n, &tile[t*v.ins*n], n)
	}
}

func (v *pixelwise[T]) task(slot, t int) {
	row, t := t%v.rowTiles, t/v.rowTiles
	band, t := t%v.bands, t/v.bands
	group, block := t%v.groups, t/v.groups
	r := pixelTask{group: group, image: block * v.lanes, m0: row * v.rows, line: band * v.lines}
	r.images = min(v.lanes, v.images-r.image)
	r.rows = min(v.rows, v.outs-r.m0)
	r.lines = min(v.lines, v.outLines-r.line)
	from, to := v.reach(r.line, r.line+r.lines)
	ground := elems[T](v.ground.at(slot), v.groundLines*v.inLine*v.ins*v.lanes)
	products := elems[T](v.products.at(slot), v.lines*v.outLine*v.rows*v.lanes)
	v.turn(ground, r, from, to)
	v.start(products, r)
	for _, d := range v.depths {
		for i := range r.lines {
			for _, h := range v.lineHits[r.line+i] {
				if h.tap == d.line {
					v.multiply(products[i*v.outLine*r.rows*v.lanes:], ground[(h.at-from)*v.inLine*v.ins*v.lanes:], r, d)
				}
			}
		}
	}
	v.finish(products, r)
}

// pixelTask is what a task computes: rows of a group for some images and lines.
type pixelTask struct{ group, image, images, m0, rows, line, lines int }

// turn writes lines from..to of the inputs so that element (pixel, channel, image) is at (pixel*ins + channel)*lanes + image.
func (v *pixelwise[T]) turn(ground []T, r pixelTask, from, to int) {
	plane, step := v.inLines*v.inLine, v.groups*v.ins*v.inLines*v.inLine
	if from == to {
		return
	}
	for c := range v.ins {
		src := v.x[r.image*step+(r.group*v.ins+c)*plane+from*v.inLine:]
		for i := 0; i < r.images; i += v.g.Lanes {
			v.g.Transpose(min(v.g.Lanes, r.images-i), (to-from)*v.inLine, &src[i*step], step, &ground[c*v.lanes+i], v.ins*v.lanes)
		}
	}
}

// start writes the bias to the products, of which element (pixel, row, image) is at (pixel*rows + row)*lanes + image.
func (v *pixelwise[T]) start(products []T, r pixelTask) {
	one := products[:r.rows*v.lanes]
	if v.b == nil {
		clear(products[:r.lines*v.outLine*len(one)])
		return
	}
	for i := range r.rows {
		setAll(one[i*v.lanes:][:v.lanes], v.b[r.group*v.outs+r.m0+i])
	}
	for p := 1; p < r.lines*v.outLine; p++ {
		copy(products[p*len(one):], one)
	}
}

// multiply adds to a line of products what a range of depths of a line of the kernel contributes from a line of inputs.
func (v *pixelwise[T]) multiply(products, ground []T, r pixelTask, d depthRange) {
	taps := len(v.taps)
	weights := ScratchOf[T](v.weights)[(r.group*v.outs+r.m0)*v.ins*taps:]
	tiles := ceilDiv(r.rows, v.g.Rows)
	for p, runs := range v.lineRuns {
		for _, run := range runs {
			lo, hi := max(d.lo, run.tap*v.ins), min(d.hi, (run.tap+run.n)*v.ins)
			if lo >= hi {
				continue
			}
			b := &ground[(run.at*v.ins+lo-run.tap*v.ins)*v.lanes]
			k := d.line*v.lineTaps*v.ins + lo
			for t := range tiles {
				m0, m1 := t*r.rows/tiles, (t+1)*r.rows/tiles
				v.g.Tile(m1-m0, r.images, hi-lo, &weights[m0*v.ins*taps+k*(m1-m0)], 1, m1-m0, b, v.lanes,
					&products[(p*r.rows+m0)*v.lanes], v.lanes, 1, 1)
			}
		}
	}
}

// finish writes the products to their places in the output.
func (v *pixelwise[T]) finish(products []T, r pixelTask) {
	plane := v.outLines * v.outLine
	step, pixels := v.groups*v.outs*plane, r.lines*v.outLine
	for m := range r.rows {
		dst := v.y[r.image*step+(r.group*v.outs+r.m0+m)*plane+r.line*v.outLine:]
		for p := 0; p < pixels; p += v.g.Lanes {
			v.g.Transpose(min(v.g.Lanes, pixels-p), r.images, &products[(p*r.rows+m)*v.lanes], r.rows*v.lanes, &dst[p], step)
		}
	}
}
