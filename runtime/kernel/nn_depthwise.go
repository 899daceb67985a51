package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// maxDirect is the number of output channels per input channel up to which a convolution of one channel per group is
// done without a product of matrices, which would have too few rows.
const maxDirect = 4

// isDepthwise reports whether a convolution is done plane by plane.
func isDepthwise(w *window, ins, outs int) bool {
	last := len(w.in) - 1
	return ins == 1 && outs <= maxDirect && w.out[last] >= w.kernel[last]
}

// planewise is what a convolution of groups of one input channel and its gradient in the weight share: planes spread out on a
// lattice, on which the elements under one kernel element are the plane shifted. Lines of places at one distance are taken
// together with what lies between them, which is computed and dropped, or multiplied by zero.
type planewise[T amd64.Float] struct {
	g                    *amd64.GEMM[T]
	l                    *lattice
	images, groups, outs int
	width                int     // places of a line
	starts               []int32 // of the lines of a band
	pitch                int     // their distance; 0 where lines are taken one by one
	tasks                *tasks
	ground               *ground[T]
	buffer               slotScratch // a band with what lies between its lines
}

func newPlanewise[T amd64.Float](c *Call, w *window, images, groups, outs, tasks int, task func(slot, task int)) planewise[T] {
	p := planewise[T]{
		g: amd64.MatrixOf[T](c.Pool.Kernels()), l: newLattice(w, 1), images: images, groups: groups, outs: outs,
		width: w.out[len(w.out)-1],
	}
	for i, at := range p.l.placeAt(1, 0) {
		if p.width > 0 && i%p.width == 0 {
			p.starts = append(p.starts, at)
		}
	}
	for i := 1; i < len(p.starts); i++ {
		step := int(p.starts[i] - p.starts[i-1])
		if i == 1 && step <= 2*p.width {
			p.pitch = step
		} else if step != p.pitch {
			p.pitch = 0
			break
		}
	}
	p.tasks = newTasks(c.Pool, tasks, task)
	p.ground = newGround[T](c, p.g, p.l, p.tasks.slots, groups, 1)
	p.buffer = c.slotScratch(p.tasks.slots, sizeOf[T]()*outs*p.span(len(p.starts)))
	return p
}

// span is the number of elements from the first to the last of so many lines.
func (p *planewise[T]) span(lines int) int {
	if lines == 0 {
		return 0
	}
	return (lines-1)*p.pitch + p.width
}

// copyLines copies lines between a tensor, where they follow each other, and a buffer.
func (p *planewise[T]) copyLines(lines int, src []T, lds int, dst []T, ldd int) {
	wide := 4 * p.g.Lanes
	for j := 0; j < p.width; j += wide {
		p.g.Copy(lines, min(wide, p.width-j), &src[j], lds, &dst[j], ldd)
	}
}

// depthwise is a convolution of groups of one input channel: each output plane is a weighted sum of shifted planes. A task
// is a plane of the input.
type depthwise[T amd64.Float] struct {
	planewise[T]
	turned     *Scratch // the weight with kernels turned round, if they are to be
	x, w, b, y []T
}

func newDepthwise[T amd64.Float](c *Call, w *window, images, groups, outs int, turned bool) func(x, w, bias, y []T) {
	d := &depthwise[T]{}
	tasks := images * groups
	if Count(w.out) == 0 {
		tasks = 0
	}
	d.planewise = newPlanewise[T](c, w, images, groups, outs, tasks, d.task)
	if turned {
		d.turned = c.Scratch(sizeOf[T]() * groups * outs * d.l.kernels)
	}
	return d.run
}

func (d *depthwise[T]) run(x, w, bias, y []T) {
	if d.turned != nil {
		n, turned := d.l.kernels, ScratchOf[T](d.turned)
		for i := range w {
			turned[i] = w[i/n*n+n-1-i%n]
		}
		w = turned
	}
	d.x, d.w, d.b, d.y = x, w, bias, y
	d.ground.renew()
	d.tasks.run()
	d.x, d.w, d.b, d.y = nil, nil, nil, nil
}

func (d *depthwise[T]) task(slot, t int) {
	group, image := t%d.groups, t/d.groups
	for i := range d.l.bands {
		b := &d.l.bands[i]
		src := d.ground.at(slot, b, d.x, group, image, 1, 0, 1)
		for m := group * d.outs; m < (group+1)*d.outs; m++ {
			d.plane(slot, src, m, b.places/d.width, d.y[(image*d.groups*d.outs+m)*d.l.places+b.first:])
		}
	}
}

// plane computes lines of a plane of output channel m.
func (d *depthwise[T]) plane(slot int, src []T, m, lines int, dst []T) {
	kernels, bias := d.l.kernels, T(0)
	if d.b != nil {
		bias = d.b[m]
	}
	d.sums(slot, src, d.w[m*kernels:(m+1)*kernels], lines, dst, bias)
}

// sums computes lines of bias plus the weighted sum of a shifted plane.
func (p *planewise[T]) sums(slot int, src, w []T, lines int, dst []T, bias T) {
	combine := func(n, at int, dst []T) {
		p.g.Combine(n, len(w), &src[at], &p.l.rowAt[0], &w[0], &dst[0], bias)
	}
	switch {
	case p.pitch == 0:
		for i := range lines {
			combine(p.width, int(p.starts[i]), dst[i*p.width:])
		}
	case p.pitch == p.width:
		combine(p.span(lines), 0, dst)
	default:
		buffer := elems[T](p.buffer.at(slot), p.span(lines))
		combine(len(buffer), 0, buffer)
		p.copyLines(lines, buffer, p.pitch, dst, p.width)
	}
}

// depthwiseGrad is the gradient of a convolution of groups of one input channel in its weight: dot products of planes of
// the output gradient with shifted planes of the input. A task is a group; it adds up all images in order.
type depthwiseGrad[T amd64.Float] struct {
	planewise[T]
	cleared []bool // by slot: what lies between lines of the buffer is zero
	x, gy   []T
	w       []T
}

func newDepthwiseGrad[T amd64.Float](c *Call, w *window, images, groups, outs int) *depthwiseGrad[T] {
	d := &depthwiseGrad[T]{}
	d.planewise = newPlanewise[T](c, w, images, groups, outs, groups, d.task)
	d.cleared = make([]bool, d.tasks.slots)
	return d
}

func (d *depthwiseGrad[T]) run(x, g, w []T) {
	clear(w)
	if d.images*d.l.places == 0 {
		return
	}
	clear(d.cleared)
	d.x, d.gy, d.w = x, g, w
	d.ground.renew()
	d.tasks.run()
	d.x, d.gy, d.w = nil, nil, nil
}

func (d *depthwiseGrad[T]) task(slot, group int) {
	for image := range d.images {
		for i := range d.l.bands {
			b := &d.l.bands[i]
			src := d.ground.at(slot, b, d.x, group, image, 1, 0, 1)
			d.band(slot, src, group, b.places/d.width, d.gy[(image*d.groups+group)*d.outs*d.l.places+b.first:])
		}
	}
}

// band adds what lines of the output gradient contribute.
func (d *depthwiseGrad[T]) band(slot int, src []T, group, lines int, gy []T) {
	n, span := d.l.places, d.span(len(d.starts))
	switch {
	case d.pitch == 0:
		for i := range lines {
			d.dots(d.width, src[d.starts[i]:], group, gy[i*d.width:], n)
		}
		return
	case d.pitch != d.width:
		buffer := elems[T](d.buffer.at(slot), d.outs*span)
		if !d.cleared[slot] {
			clear(buffer)
			d.cleared[slot] = true
		}
		for m := range d.outs {
			d.copyLines(lines, gy[m*n:], d.width, buffer[m*span:], d.pitch)
		}
		gy, n = buffer, span
	}
	d.dots(d.span(lines), src, group, gy, n)
}

// dots adds the dot products of n elements of each output channel, ld apart, with those under each kernel element. Kernel
// elements at equal distances are done together.
func (d *depthwiseGrad[T]) dots(n int, src []T, group int, gy []T, ld int) {
	at, kernels, side := d.l.rowAt, d.l.kernels, d.g.DotSide
	for k := 0; k < kernels; {
		count, step := 1, 0
		for k+count < kernels && count < side {
			next := int(at[k+count] - at[k+count-1])
			if next <= 0 || step > 0 && next != step {
				break
			}
			step = next
			count++
		}
		for m := 0; m < d.outs; m += side {
			d.g.DotTile(min(side, d.outs-m), count, n, &gy[m*ld], ld, &src[at[k]], step, &d.w[(group*d.outs+m)*kernels+k], kernels, 1, 1)
		}
		k += count
	}
}
