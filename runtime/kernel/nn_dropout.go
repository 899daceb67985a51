package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// dropout is ONNX Dropout. In inference (always before opset 12) it copies and the mask is all true. In training an
// element is kept, and divided by 1-ratio, where a uniform number is not below ratio. The numbers are those of
// randomTable.
type dropout[T amd64.Float] struct {
	draws     *draws
	threshold float64
	scale     T
	x, y      []T
	mask      []bool
	maskT     []T // opset 7: the mask is of the type of the data
	body      func(lo, hi int)
}

func makeDropout[T amd64.Float](c *Call) (Run, error) {
	d := &dropout[T]{draws: newDraws(c.Node)}
	for i, kinds := range [][]graph.Elem{1: {graph.Float32, graph.Float64}, 2: {graph.Bool}} {
		if i > 0 && c.has(i) && (c.In[i].Len() != 1 || !hasElem(kinds, c.In[i].Elem)) {
			return nil, c.Errorf(graph.ErrUnsupported, "input %d is %s%v, want one element of %v", i, c.In[i].Elem, c.In[i].Shape, kinds)
		}
	}
	d.body = d.drop
	pool, modern := c.Pool, c.Opset >= 12
	return func(in, out []*Tensor) error {
		d.x, d.y = Data[T](in[0]), Data[T](out[0])
		d.mask, d.maskT = nil, nil
		if mask := input(out, 1); mask != nil && mask.Elem == graph.Bool {
			d.mask = Data[bool](mask)
		} else if mask != nil {
			d.maskT = Data[T](mask)
		}
		d.threshold = 0
		if train := input(in, 2); modern && train != nil && Data[bool](train)[0] {
			d.threshold = ratioOf(input(in, 1))
			if !(d.threshold >= 0 && d.threshold <= 1) {
				return c.Errorf(graph.ErrInvalid, "ratio %g is not in [0, 1]", d.threshold)
			}
		}
		d.scale = 1
		if d.threshold < 1 {
			d.scale = T(1 / (1 - d.threshold))
		}
		d.draws.next()
		pool.For(len(d.x), 1<<13, d.body)
		return nil
	}, nil
}

func hasElem(list []graph.Elem, e graph.Elem) bool {
	for _, x := range list {
		if x == e {
			return true
		}
	}
	return false
}

// ratioOf is the ratio of a run; 0.5 when the input is missing.
func ratioOf(t *Tensor) float64 {
	switch {
	case t == nil:
		return 0.5
	case t.Elem == graph.Float64:
		return Data[float64](t)[0]
	}
	return float64(Data[float32](t)[0])
}

func (d *dropout[T]) drop(lo, hi int) {
	for i := lo; i < hi; i++ {
		keep := d.threshold == 0 || d.draws.uniform(i) >= d.threshold
		v, one := T(0), T(0)
		if keep {
			v, one = d.x[i]*d.scale, 1
		}
		d.y[i] = v
		if d.mask != nil {
			d.mask[i] = keep
		} else if d.maskT != nil {
			d.maskT[i] = one
		}
	}
}
