package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// maxDirect is the number of output channels per input channel up to which a convolution of one channel per group is
// done without a product of matrices, which would have too few rows.
const maxDirect = 4

// depthwise is a convolution of groups of one input channel: each output plane is a sum of shifted lines.
type depthwise[T amd64.Float] struct {
	p           *patches
	outs, total int // output channels of a group, of all groups
	x, w, b, y  []T
}

func newDepthwise[T amd64.Float](pool *Pool, p *patches, images, groups, outs int) func(x, w, bias, y []T) {
	d := &depthwise[T]{p: p, outs: outs, total: groups * outs}
	body, grain := d.planes, grainFor(p.places*p.kernels)
	return func(x, w, bias, y []T) {
		d.x, d.w, d.b, d.y = x, w, bias, y
		pool.For(images*d.total, grain, body)
		d.x, d.w, d.b, d.y = nil, nil, nil, nil
	}
}

// planes computes output planes lo..hi, counted over images and channels.
func (d *depthwise[T]) planes(lo, hi int) {
	for i := lo; i < hi; i++ {
		p, m := d.p, i%d.total
		y := d.y[i*p.places : (i+1)*p.places]
		if d.b != nil {
			setAll(y, d.b[m])
		} else {
			clear(y)
		}
		x := d.x[i/d.outs*p.image:][:p.image]
		for k, w := range d.w[m*p.kernels : (m+1)*p.kernels] {
			d.addShifted(y, x, k, w)
		}
	}
}

// addShifted adds w times the elements of x under kernel element k.
func (d *depthwise[T]) addShifted(y, x []T, k int, w T) {
	p := d.p
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
		dst, src := y[line*p.width+lo:line*p.width+hi], x[int(at)+from:]
		if p.step == 1 {
			src = src[:len(dst)]
			for i, v := range src {
				dst[i] += w * v
			}
			continue
		}
		for i := range dst {
			dst[i] += w * src[i*p.step]
		}
	}
}
