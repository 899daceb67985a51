package kernel

import (
	"github.com/asdlc/asdlc/graph"
)

// col2Im is ONNX Col2Im: columns [N, C*block, L] are added up to images [N, C, image_shape...], the transpose of taking
// patches. If block_shape is not a constant, the geometry is prepared by the first run and by those that change it.
type col2Im[T numeric] struct {
	call  *Call
	block []int
	p     *patches
	x, y  []T
	body  func(lo, hi int)
}

func makeCol2Im[T numeric](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	if len(c.In[0].Shape) != 3 || len(c.Out[0].Shape) < 3 || c.In[2].Len() != len(c.Out[0].Shape)-2 {
		return nil, c.Errorf(graph.ErrInvalid, "columns %v, block_shape %v and images %v do not go together",
			c.In[0].Shape, c.In[2].Shape, c.Out[0].Shape)
	}
	if err := c.indices(2); err != nil {
		return nil, err
	}
	v := &col2Im[T]{call: c, block: make([]int, c.In[2].Len())}
	v.body = v.planes
	if c.In[2].Const != nil {
		if err := v.prepare(c.In[2].Const); err != nil {
			return nil, err
		}
	}
	pool := c.Pool
	return func(in, out []*Tensor) error {
		if err := v.prepare(in[2]); err != nil {
			return err
		}
		v.x, v.y = Data[T](in[0]), Data[T](out[0])
		pool.For(len(v.y)/v.p.image, grainFor(v.p.kernels*v.p.places), v.body)
		return nil
	}, nil
}

// prepare reads block_shape, and makes the geometry if it is another one than before.
func (v *col2Im[T]) prepare(block *Tensor) error {
	same := v.p != nil
	for i := range v.block {
		same = same && v.block[i] == indexAt(block, i)
	}
	if same {
		return nil
	}
	for i := range v.block {
		v.block[i] = indexAt(block, i)
	}
	c := v.call
	cols, out := c.In[0].Shape, c.Out[0].Shape
	w, err := c.windowAttrs(out[2:], v.block)
	if err != nil {
		return err
	}
	if err := w.pad(c); err != nil {
		return err
	}
	if cols[1] != out[1]*Count(w.kernel) || cols[2] != Count(w.out) || cols[0] != out[0] {
		return c.Errorf(graph.ErrInvalid, "columns %v do not give images %v by blocks %v at %v places", cols, out, w.kernel, w.out)
	}
	v.p = newPatches(w, w.in, w.out)
	return nil
}

// planes adds up planes lo..hi of the output.
func (v *col2Im[T]) planes(lo, hi int) {
	p := v.p
	clear(v.y[lo*p.image : hi*p.image])
	for i := lo; i < hi; i++ {
		addPatchColumns(p, v.x[i*p.kernels*p.places:], p.places, v.y[i*p.image:], 0, 0, p.kernels, 0, p.places)
	}
}
