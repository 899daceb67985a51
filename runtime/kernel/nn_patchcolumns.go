package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// patchColumns is asdl.PatchColumns(X[N, C, D...], indices[m]) -> [N, m, P]: some elements of the patches that a Conv sees at its P
// places, ordered (channel, kernel positions) as PatchGram orders them. The other elements are not made.
type patchColumns[T amd64.Float] struct {
	p        *patches
	channels int
	index    []int64
	x, y     []T
}

func makePatchColumns[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.indices(1); err != nil {
		return nil, err
	}
	x, count := c.In[0].Shape, c.In[1].Len()
	if len(x) < 3 {
		return nil, c.Errorf(graph.ErrInvalid, "input %v, want [N, C, ...]", x)
	}
	w, err := c.windowAttrs(x[2:], nil)
	if err != nil {
		return nil, err
	}
	if err := w.pad(c); err != nil {
		return nil, err
	}
	v := &patchColumns[T]{p: newPatches(w, w.in, w.out), channels: x[1]}
	if want := x[0] * count * v.p.places; want != c.Out[0].Len() {
		return nil, c.Errorf(graph.ErrInvalid, "output %v, want %d elements", c.Out[0].Shape, want)
	}
	index, size, body, grain := c.Scratch(8*count), x[1]*v.p.kernels, v.rows, grainFor(v.p.places)
	var bad outOfRange
	return func(in, out []*Tensor) error {
		v.index, v.x, v.y = ScratchOf[int64](index)[:count], Data[T](in[0]), Data[T](out[0])
		at := positionsOf(in[1])
		bad.reset()
		for i := range v.index {
			p := at.at(i, size)
			if p < 0 || p >= size {
				bad.record(i)
				return bad.err(c, in[1], size)
			}
			v.index[i] = int64(p)
		}
		c.Pool.For(x[0]*count, grain, body)
		v.x, v.y = nil, nil
		return nil
	}, nil
}

// rows makes rows lo to hi of [N m, P].
func (v *patchColumns[T]) rows(lo, hi int) {
	p := v.p
	for r := lo; r < hi; r++ {
		image, k := r/len(v.index), int(v.index[r%len(v.index)])
		plane := v.x[(image*v.channels+k/p.kernels)*p.image:][:p.image]
		k %= p.kernels
		first, begin, end := p.first[k%p.kw], p.lo[k%p.kw], p.hi[k%p.kw]
		row := v.y[r*p.places:][:p.places]
		for _, at := range p.lineAt[k/p.kw*p.lines:][:p.lines] {
			line := row[:p.width]
			row = row[p.width:]
			if at < 0 || begin >= end {
				clear(line)
				continue
			}
			clear(line[:begin])
			clear(line[end:])
			from := plane[int(at)+begin*p.step+first:]
			if p.step == 1 {
				copy(line[begin:end], from)
				continue
			}
			for i := range line[begin:end] {
				line[begin+i] = from[i*p.step]
			}
		}
	}
}
