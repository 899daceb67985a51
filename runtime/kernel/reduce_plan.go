package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// reducer folds elements of type T in an accumulator of type A.
type reducer[T numeric, A any] struct {
	zero   A                    // the fold of no elements
	row    func(acc A, x []T) A // folds a contiguous run
	cols   func(acc []A, x []T) // folds x[i] into acc[i]
	merge  func(a, b A) A       // joins the folds of two parts
	short  func(acc, x []T)     // if set, adds x[i] to acc[i] for a few rows, whose sum cols folds then
	finish func(acc A, count int) T
}

// columns is the number of accumulators that a task keeps when it folds along leading axes: rows are read whole where they are not
// longer, for memory likes long runs.
const columns = 1024

// parts bounds the number of parts in which one long fold is cut, so that several workers share it. The cut depends
// on the shape only: the result is the same for any number of workers.
const parts = 32

// columnBuffer is the working memory of one loop over tasks.
type columnBuffer[T, A any] struct {
	acc   [columns]A
	short [columns]T
}

// reduction folds input 0 along axes. The source is walked twice: over the kept axes, and for each of their positions
// over the reduced ones. If the last axis is reduced, a position is one output and rows are folded; else a position
// is a block of columns.
type reduction[T numeric, A any] struct {
	reducer[T, A]
	kept    walk // operand 0 is the source
	reduced walk
	inner   int // kept elements that are contiguous in the source and in the output; 1 if the last axis is reduced
	blocks  int // of columns in inner
	parts   int
	partial []A // [parts][outputs], if parts > 1
	buffers freeList[columnBuffer[T, A]]
	src     []T
	dst     []T
}

// plan lays out the fold of a tensor of the given shape; reduce tells of each axis whether it is folded.
func (r *reduction[T, A]) plan(shape []int, reduce []bool, mayAllocate bool) {
	var kept, keptStep, reduced, reducedStep [maxAxes]int
	nk, nr, step, count := 0, 0, 1, Count(shape)
	r.inner = 1
	trailing := true // still among the last kept axes
	for i := len(shape) - 1; i >= 0; i-- {
		switch d := shape[i]; {
		case d == 1:
		case reduce[i]:
			reduced[nr], reducedStep[nr] = d, step
			nr++
			trailing = false
		case trailing:
			r.inner *= d
		default:
			kept[nk], keptStep[nk] = d, step
			nk++
		}
		step *= shape[i]
	}
	reverse(kept[:nk], keptStep[:nk], reduced[:nr], reducedStep[:nr])
	r.kept.reset(kept[:nk], keptStep[:nk])
	r.reduced.reset(reduced[:nr], reducedStep[:nr])
	r.blocks = ceilDiv(r.inner, columns)
	r.parts = 1
	if tasks := r.kept.n * r.blocks; mayAllocate && tasks < 8 && count >= 4*grainCheap {
		r.parts = min(parts, r.reduced.n, ceilDiv(count, grainCheap))
		r.partial = make([]A, r.parts*r.outputs())
	}
}

func reverse(lists ...[]int) {
	for _, l := range lists {
		slices.Reverse(l)
	}
}

func (r *reduction[T, A]) outputs() int { return r.kept.n * r.inner }

func (r *reduction[T, A]) run(pool *Pool, body func(lo, hi int)) {
	perTask := min(r.inner, columns) * r.reduced.n / r.parts
	pool.For(r.kept.n*r.blocks*r.parts, 1+grainCheap/(perTask+1), body)
	if r.parts > 1 {
		r.join()
	}
}

// body does the tasks lo <= t < hi; a task is a part of a block of columns of a kept position.
func (r *reduction[T, A]) body(lo, hi int) {
	buf := r.buffers.get()
	defer r.buffers.put(buf)
	perPosition := r.blocks * r.parts
	for lo < hi {
		position := lo / perPosition
		end := hi
		if perPosition > 1 {
			end = min(hi, (position+1)*perPosition)
			at := r.kept.from(position, position+1)
			for t := lo; t < end; t++ {
				r.task(buf, position, at.off[0], t%perPosition/r.parts, t%r.parts)
			}
		} else {
			step := r.kept.inner(0)
			for at := r.kept.from(lo, hi); at.n > 0; at.next() {
				for j := range at.n {
					r.task(buf, at.pos+j, at.off[0]+j*step, 0, 0)
				}
			}
		}
		lo = end
	}
}

func (r *reduction[T, A]) task(buf *columnBuffer[T, A], position, base, blk, part int) {
	n := r.reduced.n
	from, to := n*part/r.parts, n*(part+1)/r.parts
	o := position*r.inner + blk*columns
	if r.inner == 1 {
		acc := r.foldRows(base, from, to)
		r.put(o, part, acc, n)
		return
	}
	acc := buf.acc[:min(columns, r.inner-blk*columns)]
	for i := range acc {
		acc[i] = r.zero
	}
	r.foldColumns(acc, buf.short[:len(acc)], base+blk*columns, from, to)
	for i, a := range acc {
		r.put(o+i, part, a, n)
	}
}

func (r *reduction[T, A]) put(o, part int, acc A, count int) {
	if r.parts > 1 {
		r.partial[part*r.outputs()+o] = acc
	} else {
		r.dst[o] = r.finish(acc, count)
	}
}

func (r *reduction[T, A]) foldRows(base, from, to int) A {
	w := &r.reduced
	if w.axes == 1 && w.inner(0) == 1 {
		return r.row(r.zero, r.src[base+from:base+to])
	}
	acc := r.zero
	step := w.inner(0)
	for at := w.from(from, to); at.n > 0; at.next() {
		i := base + at.off[0]
		if step == 1 {
			acc = r.row(acc, r.src[i:i+at.n])
			continue
		}
		for range at.n {
			acc = r.row(acc, r.src[i:i+1])
			i += step
		}
	}
	return acc
}

func (r *reduction[T, A]) foldColumns(acc []A, sum []T, base, from, to int) {
	w := &r.reduced
	step := w.inner(0)
	clear(sum)
	rows := 0
	for at := w.from(from, to); at.n > 0; at.next() {
		i := base + at.off[0]
		if r.short != nil {
			for range at.n {
				r.short(sum, r.src[i:i+len(acc)])
				i += step
				if rows++; rows == shortSum {
					r.cols(acc, sum)
					clear(sum)
					rows = 0
				}
			}
			continue
		}
		for range at.n {
			r.cols(acc, r.src[i:i+len(acc)])
			i += step
		}
	}
	if rows > 0 {
		r.cols(acc, sum)
	}
}

// join finishes the folds that were cut into parts, in the order of the parts.
func (r *reduction[T, A]) join() {
	outputs := r.outputs()
	for o := range r.dst {
		acc := r.partial[o]
		for p := 1; p < r.parts; p++ {
			acc = r.merge(acc, r.partial[p*outputs+o])
		}
		r.dst[o] = r.finish(acc, r.reduced.n)
	}
}

// prepare is the Make of a reduction whose axes are an attribute, or (opset 13 and 18 on) input 1.
func (f reducer[T, A]) prepare(c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	if err := c.smallRank(c.In[0].Shape); err != nil {
		return nil, err
	}
	r := &reduction[T, A]{reducer: f}
	reduce := make([]bool, len(c.In[0].Shape))
	body := r.body
	list, known := c.Node.IntList("axes"), true
	if c.has(1) {
		if err := c.indices(1); err != nil {
			return nil, err
		}
		list, known = c.constInts(1)
	}
	if known {
		if err := c.markAxes(reduce, list); err != nil {
			return nil, err
		}
		r.plan(c.In[0].Shape, reduce, true)
		if r.outputs() != c.Out[0].Len() {
			return nil, c.Errorf(graph.ErrInvalid, "reducing axes %v of shape %v does not give shape %v", list, c.In[0].Shape, c.Out[0].Shape)
		}
	}
	read := make([]int64, 0, len(reduce))
	return func(in, out []*Tensor) error {
		if !known {
			read = read[:0]
			for i := range in[1].Len() {
				read = append(read, int64(indexAt(in[1], i)))
			}
			if err := c.markAxes(reduce, read); err != nil {
				return err
			}
			r.plan(c.In[0].Shape, reduce, false)
			if r.outputs() != out[0].Len() {
				return c.Errorf(graph.ErrInvalid, "reducing axes %v of shape %v does not give shape %v", read, c.In[0].Shape, out[0].Shape)
			}
		}
		r.src, r.dst = Data[T](in[0]), Data[T](out[0])
		r.run(c.Pool, body)
		return nil
	}, nil
}

// markAxes sets reduce for the axes listed; none means all, unless noop_with_empty_axes is set.
func (c *Call) markAxes(reduce []bool, list []int64) error {
	all := len(list) == 0 && c.Node.Int("noop_with_empty_axes", 0) == 0
	for i := range reduce {
		reduce[i] = all
	}
	for _, a := range list {
		axis, err := c.wrapAxis(a, len(reduce))
		if err != nil {
			return err
		}
		reduce[axis] = true
	}
	return nil
}
