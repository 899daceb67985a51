package kernel

import (
	"sync/atomic"

	"github.com/asdlc/asdlc/graph"
)

// positions reads a tensor of int32 or int64 as indices of an axis.
type positions struct {
	narrow []int32
	wide   []int64
}

func positionsOf(t *Tensor) positions {
	if t.Elem == graph.Int32 {
		return positions{narrow: Data[int32](t)}
	}
	return positions{wide: Data[int64](t)}
}

// at is index i; negative ones count from the end of an axis of size d. What is out of range stays so.
func (p positions) at(i, d int) int {
	v := 0
	if p.narrow != nil {
		v = int(p.narrow[i])
	} else {
		v = int(p.wide[i])
	}
	if v < 0 {
		v += d
	}
	return v
}

// outOfRange remembers the first bad index that a parallel loop meets, by its place in the index tensor.
type outOfRange struct{ place atomic.Int64 }

func (o *outOfRange) reset() { o.place.Store(-1) }

func (o *outOfRange) record(i int) {
	for old := o.place.Load(); old < 0 || int64(i) < old; old = o.place.Load() {
		if o.place.CompareAndSwap(old, int64(i)) {
			return
		}
	}
}

// err names the bad index of tensor t, for an axis of size d.
func (o *outOfRange) err(c *Call, t *Tensor, d int) error {
	i := int(o.place.Load())
	if i < 0 {
		return nil
	}
	return c.Errorf(graph.ErrInvalid, "index %d at place %d is out of range for size %d", indexAt(t, i), i, d)
}

// gather copies the entries of input 0 that input 1 selects along an axis.
func gather[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.indices(1); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	axis, err := c.axis("axis", 0, len(x))
	if err != nil {
		return nil, err
	}
	d, inner, count := x[axis], Count(x[axis+1:]), c.In[1].Len()
	var bad outOfRange
	offsets := c.Scratch(8 * count)
	var at []int64 // offsets of the entries in a slice of src
	var dst, src []T
	body := func(lo, hi int) {
		for lo < hi {
			row, first := lo/count, lo%count
			some := at[first:min(count, first+hi-lo)]
			from, to := src[row*d*inner:][:d*inner], dst[lo*inner:][:len(some)*inner]
			if inner == 1 {
				for k, p := range some {
					to[k] = from[p]
				}
			} else {
				for k, p := range some {
					copy(to[k*inner:][:inner], from[p:])
				}
			}
			lo += len(some)
		}
	}
	n, grain := Count(x[:axis])*count, 1+grainCheap/(inner+1)
	if n*inner != c.Out[0].Len() {
		return nil, c.Errorf(graph.ErrInvalid, "shape %v, want that of %d entries of %d elements", c.Out[0].Shape, n, inner)
	}
	return func(in, out []*Tensor) error {
		index := positionsOf(in[1])
		dst, src, at = Data[T](out[0]), Data[T](in[0]), ScratchOf[int64](offsets)
		bad.reset()
		for k := range count {
			p := index.at(k, d)
			if p < 0 || p >= d {
				bad.record(k)
				return bad.err(c, in[1], d)
			}
			at[k] = int64(p * inner)
		}
		if inner > 0 {
			c.Pool.For(n, grain, body)
		}
		return nil
	}, nil
}

// gatherElements picks, for each place of the index tensor, the element of input 0 at the same place except along an
// axis, where the index says which.
func gatherElements[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.indices(1); err != nil {
		return nil, err
	}
	w := &walk{}
	axis, step, err := c.elementWalk(w)
	if err != nil {
		return nil, err
	}
	d := c.In[0].Shape[axis]
	var bad outOfRange
	var index positions
	var dst, src []T
	body := func(lo, hi int) {
		along := w.inner(0)
		for at := w.from(lo, hi); at.n > 0; at.next() {
			off := at.off[0]
			for i := at.pos; i < at.pos+at.n; i++ {
				p := index.at(i, d)
				if p < 0 || p >= d {
					bad.record(i)
					return
				}
				dst[i] = src[off+p*step]
				off += along
			}
		}
	}
	return func(in, out []*Tensor) error {
		index, dst, src = positionsOf(in[1]), Data[T](out[0]), Data[T](in[0])
		bad.reset()
		c.Pool.For(w.n, grainCheap, body)
		return bad.err(c, in[1], d)
	}, nil
}

// elementWalk walks the index tensor (input 1); the operand is the place in input 0, the axis left out.
func (c *Call) elementWalk(w *walk) (axis, step int, err error) {
	x, index := c.In[0].Shape, c.In[1].Shape
	if err := c.smallRank(x); err != nil {
		return 0, 0, err
	}
	if axis, err = c.axis("axis", 0, len(x)); err != nil {
		return 0, 0, err
	}
	if len(x) != len(index) {
		return 0, 0, c.Errorf(graph.ErrInvalid, "indices of shape %v for data of shape %v", index, x)
	}
	for i := range x {
		if i != axis && index[i] > x[i] {
			return 0, 0, c.Errorf(graph.ErrInvalid, "indices of shape %v exceed data of shape %v", index, x)
		}
	}
	s := strides(x)
	step = s[axis]
	s[axis] = 0
	w.reset(index, s)
	return axis, step, nil
}

// ndIndex locates the slices that an index tensor of shape [..., k] selects: each tuple indexes the k axes of the
// data after the batch axes, and selects a run of the rest.
type ndIndex struct {
	tuple  int   // k
	dims   []int // of the axes that are indexed
	steps  []int // their strides
	run    int   // elements of a slice
	slices int
	batch  int // slices of one batch
	leap   int // elements of one batch
}

func (c *Call) planND(batchDims int) (ndIndex, error) {
	x, index := c.In[0].Shape, c.In[1].Shape
	if len(index) == 0 || batchDims < 0 || batchDims >= len(index) || batchDims+index[len(index)-1] > len(x) {
		return ndIndex{}, c.Errorf(graph.ErrInvalid, "indices of shape %v for data of shape %v and batch_dims %d", index, x, batchDims)
	}
	k := index[len(index)-1]
	for i := range batchDims {
		if x[i] != index[i] {
			return ndIndex{}, c.Errorf(graph.ErrInvalid, "batch axes of shapes %v and %v differ", x, index)
		}
	}
	if c.In[1].Elem != graph.Int64 {
		return ndIndex{}, c.Errorf(graph.ErrInvalid, "indices of type %s, want int64", c.In[1].Elem)
	}
	return ndIndex{
		tuple: k, dims: x[batchDims : batchDims+k], steps: strides(x)[batchDims : batchDims+k],
		run: Count(x[batchDims+k:]), slices: Count(index[:len(index)-1]),
		batch: Count(index[batchDims : len(index)-1]), leap: Count(x[batchDims:]),
	}, nil
}

// at is the offset of slice i; bad is the place of an index that is out of range, or -1.
func (n *ndIndex) at(index []int64, i int) (off, bad int) {
	off = i / n.batch * n.leap
	for j, d := range n.dims {
		p := int(index[i*n.tuple+j])
		if p < 0 {
			p += d
		}
		if p < 0 || p >= d {
			return 0, i*n.tuple + j
		}
		off += p * n.steps[j]
	}
	return off, -1
}

// err names the index at place bad.
func (n *ndIndex) err(c *Call, index []int64, bad int) error {
	return c.Errorf(graph.ErrInvalid, "index %d at place %d is out of range for size %d", index[bad], bad, n.dims[bad%n.tuple])
}

func gatherND[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	nd, err := c.planND(int(c.Node.Int("batch_dims", 0)))
	if err != nil {
		return nil, err
	}
	if nd.slices*nd.run != c.Out[0].Len() {
		return nil, c.Errorf(graph.ErrInvalid, "shape %v, want %d slices of %d elements", c.Out[0].Shape, nd.slices, nd.run)
	}
	var bad outOfRange
	var index []int64
	var dst, src []T
	body := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			off, wrong := nd.at(index, i)
			if wrong >= 0 {
				bad.record(wrong)
				return
			}
			copy(dst[i*nd.run:][:nd.run], src[off:])
		}
	}
	return func(in, out []*Tensor) error {
		index, dst, src = Data[int64](in[1]), Data[T](out[0]), Data[T](in[0])
		bad.reset()
		if nd.run > 0 {
			c.Pool.For(nd.slices, 1+grainCheap/(nd.run+1), body)
		}
		if i := bad.place.Load(); i >= 0 {
			return nd.err(c, index, int(i))
		}
		return nil
	}, nil
}

func gatherTable() []Row {
	return []Row{
		bySize("Gather", 0, gather[uint8], gather[uint16], gather[uint32], gather[uint64]),
		bySize("GatherElements", 0, gatherElements[uint8], gatherElements[uint16], gatherElements[uint32], gatherElements[uint64]),
		bySize("GatherND", 0, gatherND[uint8], gatherND[uint16], gatherND[uint32], gatherND[uint64]),
	}
}
