package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// rotary turns pairs of features by angles that depend on the position (Su et al. 2021, arXiv:2104.09864).
type rotary[T amd64.Float] struct {
	call        *Call
	layout      heads
	pairs       int // that are turned; the features after them stay
	width       int // of a row of the caches
	interleaved bool
	positions   bool // the caches are looked up by position_ids

	x, y, cos, sin []T
	ids            *Tensor
	body           func(lo, hi int)
}

func makeRotary[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	r := &rotary[T]{call: c, interleaved: c.Node.Int("interleaved", 0) != 0, positions: c.has(3)}
	if err := r.geometry(c); err != nil {
		return nil, err
	}
	r.body = r.span
	tokens := r.layout.batch * r.layout.length
	return func(in, out []*Tensor) error {
		r.x, r.y, r.cos, r.sin, r.ids = Data[T](in[0]), Data[T](out[0]), Data[T](in[1]), Data[T](in[2]), input(in, 3)
		if r.ids != nil && r.width > 0 {
			rows := len(r.cos) / r.width
			for i := range tokens {
				if p := indexAt(r.ids, i); p < 0 || p >= rows {
					return c.Errorf(graph.ErrInvalid, "position_ids[%d] is %d, but the caches have %d rows", i, p, rows)
				}
			}
		}
		c.Pool.For(tokens, grainFor(r.layout.heads*r.layout.size), r.body)
		r.x, r.y, r.cos, r.sin, r.ids = nil, nil, nil, nil, nil
		return nil
	}, nil
}

func (r *rotary[T]) geometry(c *Call) error {
	s, n := c.In[0].Shape, int(c.Node.Int("num_heads", 0))
	switch {
	case len(s) == 4:
		r.layout = heads{batch: s[0], heads: s[1], length: s[2], size: s[3]}
	case len(s) == 3 && n > 0 && s[2]%n == 0:
		r.layout = heads{batch: s[0], heads: n, length: s[1], size: s[2] / n, joint: true}
	default:
		return c.Errorf(graph.ErrInvalid, "X has shape %v, want rank 4, or rank 3 and an attribute num_heads that divides its last dimension", s)
	}
	turned := int(c.Node.Int("rotary_embedding_dim", 0))
	if turned == 0 {
		turned = r.layout.size
	}
	r.pairs = turned / 2
	cache := c.In[1].Shape
	if turned%2 != 0 || turned > r.layout.size || len(cache) == 0 || cache[len(cache)-1] < r.pairs || c.In[2].Len() != c.In[1].Len() {
		return c.Errorf(graph.ErrInvalid, "caches of shapes %v and %v do not fit %d features of %d", cache, c.In[2].Shape, turned, r.layout.size)
	}
	r.width = cache[len(cache)-1]
	tokens := r.layout.batch * r.layout.length
	if r.positions {
		if err := c.indices(3); err != nil {
			return err
		}
		return c.vector(tokens, 3)
	}
	return c.vector(tokens*r.width, 1)
}

// span turns all heads of some tokens.
func (r *rotary[T]) span(lo, hi int) {
	l := r.layout
	for token := lo; token < hi; token++ {
		at := token
		if r.positions {
			at = indexAt(r.ids, token)
		}
		cos, sin := r.cos[at*r.width:at*r.width+r.pairs], r.sin[at*r.width:at*r.width+r.pairs]
		for h := range l.heads {
			off := l.at(token/l.length, h) + token%l.length*l.ld()
			r.turn(r.y[off:off+l.size], r.x[off:off+l.size], cos, sin)
		}
	}
}

func (r *rotary[T]) turn(y, x, cos, sin []T) {
	first, step := r.pairs, 1 // the second of a pair, and from pair to pair
	if r.interleaved {
		first, step = 1, 2
	}
	for i, c := range cos {
		a, b := x[i*step], x[i*step+first]
		y[i*step] = c*a - sin[i]*b
		y[i*step+first] = sin[i]*a + c*b
	}
	copy(y[2*r.pairs:], x[2*r.pairs:])
}
