package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// recurrent computes RNN, GRU and LSTM. The part of the gates that comes from the input, X W^T + b, is one matrix
// product for many steps; that from the hidden state, H R^T, is one a step, added in place. A backward direction runs
// the steps from the last to the first; rows whose sequence is shorter than a step keep their state in it.
type recurrent[T amd64.Float] struct {
	steps, batch, inputs, hidden int
	directions                   []direction[T]
	batchFirst                   bool
	gates                        int // blocks of hidden rows in W and R
	clip                         T   // 0 is none
	cell                         cell[T]
	pool                         *Pool

	chunk      int // steps whose gates are in memory at a time
	ws         *Scratch
	heldPre    *Scratch // [chunk, batch, gates*hidden]
	heldState  *Scratch // h and c, [batch, hidden] each
	heldExtra  *Scratch // of the cell, [batch, hidden]
	rowsBefore func(lo, hi int)
	rowsAfter  func(lo, hi int)

	at stepAt[T]
}

// direction is one pass over the sequence.
type direction[T amd64.Float] struct {
	reverse bool
	acts    []activation[T]
}

// stepAt is what the rows of one step need.
type stepAt[T amd64.Float] struct {
	t, dir  int
	acts    []activation[T]
	pre     []T // gates of this step, [batch, gates*hidden]
	h, c    []T // state
	extra   []T
	peep    []T // peepholes of the direction, or nil
	rbias   []T // recurrent bias, where the cell wants it apart
	lengths []int32
	y       []T // all of Y, or nil
}

// cell is what tells the recurrent operators from each other.
type cell[T amd64.Float] struct {
	// before reads the gates of a row that need no second product, and prepares extra for it.
	before func(r *recurrent[T], n int)
	// after computes the new state of a row.
	after func(r *recurrent[T], n int)
	// own is the number of gate blocks that the first product with the state makes.
	own int
	// apart says that the last gate's product goes to extra, with the unmodified state and the recurrent bias.
	apart bool
}

// Formal inputs of the recurrent operators.
const (
	rnnX, rnnW, rnnR, rnnB, rnnLengths, rnnH0, rnnC0, rnnPeepholes = 0, 1, 2, 3, 4, 5, 6, 7
)

// chunkBytes bounds the gates that are computed ahead.
const chunkBytes = 8 << 20

func makeRecurrent[T amd64.Float](c *Call, gates int, defaults []string, cl cell[T]) (Run, error) {
	r := &recurrent[T]{gates: gates, cell: cl, pool: c.Pool, batchFirst: c.Node.Int("layout", 0) != 0, clip: T(c.Node.Float("clip", 0))}
	if err := r.geometry(c); err != nil {
		return nil, err
	}
	if err := r.readDirections(c, defaults); err != nil {
		return nil, err
	}
	state := r.batch * r.hidden
	width := r.gates * r.hidden
	size := sizeOf[T]()
	r.chunk = min(max(1, chunkBytes/max(1, size*r.batch*width)), max(1, r.steps))
	r.ws = c.Scratch(max(GemmWorkspace[T](c.Pool, r.chunk*r.batch, width, r.inputs), GemmWorkspace[T](c.Pool, r.batch, width, r.hidden)))
	r.heldPre = c.Scratch(size * r.chunk * r.batch * width)
	r.heldState = c.Scratch(2 * size * state)
	r.heldExtra = c.Scratch(size * state)
	r.rowsBefore = func(lo, hi int) {
		for n := lo; n < hi; n++ {
			if r.active(n) {
				r.cell.before(r, n)
			}
		}
	}
	r.rowsAfter = func(lo, hi int) {
		for n := lo; n < hi; n++ {
			r.finish(n)
		}
	}
	return r.run, nil
}

// geometry reads the sizes and checks the inputs against them.
func (r *recurrent[T]) geometry(c *Call) error {
	if err := c.needs(3); err != nil {
		return err
	}
	for i := range 3 {
		if len(c.In[i].Shape) != 3 {
			return c.Errorf(graph.ErrInvalid, "input %d has shape %v, want rank 3", i, c.In[i].Shape)
		}
	}
	x, w, rec := c.In[rnnX].Shape, c.In[rnnW].Shape, c.In[rnnR].Shape
	r.steps, r.batch, r.inputs, r.hidden = x[0], x[1], x[2], rec[2]
	if r.batchFirst {
		r.steps, r.batch = x[1], x[0]
	}
	rows := r.gates * r.hidden
	if w[1] != rows || w[2] != r.inputs || rec[1] != rows || w[0] != rec[0] {
		return c.Errorf(graph.ErrInvalid, "W of shape %v and R of shape %v do not fit %d gates, input size %d and hidden size %d", w, rec, r.gates, r.inputs, r.hidden)
	}
	dirs := rec[0]
	for _, want := range []struct{ input, n int }{
		{rnnB, dirs * 2 * rows},
		{rnnLengths, r.batch},
		{rnnH0, dirs * r.batch * r.hidden},
		{rnnC0, dirs * r.batch * r.hidden},
		{rnnPeepholes, dirs * 3 * r.hidden},
	} {
		if err := c.vector(want.n, want.input); err != nil {
			return err
		}
	}
	if c.has(rnnLengths) && c.In[rnnLengths].Elem != graph.Int32 {
		return c.Errorf(graph.ErrInvalid, "sequence_lens is of type %s, want int32", c.In[rnnLengths].Elem)
	}
	return nil
}

func (r *recurrent[T]) readDirections(c *Call, defaults []string) error {
	var reverse []bool
	switch d := c.Node.Str("direction", "forward"); d {
	case "forward":
		reverse = []bool{false}
	case "reverse":
		reverse = []bool{true}
	case "bidirectional":
		reverse = []bool{false, true}
	default:
		return c.Errorf(graph.ErrInvalid, "direction is %q, want forward, reverse or bidirectional", d)
	}
	if n := c.In[rnnR].Shape[0]; n != len(reverse) {
		return c.Errorf(graph.ErrInvalid, "R of shape %v has weights for %d directions, want %d", c.In[rnnR].Shape, n, len(reverse))
	}
	acts, err := readActivations[T](c, defaults, len(reverse))
	if err != nil {
		return err
	}
	each := len(defaults)
	for i, rev := range reverse {
		r.directions = append(r.directions, direction[T]{reverse: rev, acts: acts[i*each : (i+1)*each]})
	}
	return nil
}

func (r *recurrent[T]) run(in, out []*Tensor) error {
	state := ScratchOf[T](r.heldState)
	r.at.h, r.at.c = state[:r.batch*r.hidden], state[r.batch*r.hidden:]
	r.at.extra = ScratchOf[T](r.heldExtra)
	r.at.lengths = nil
	if t := input(in, rnnLengths); t != nil {
		r.at.lengths = Data[int32](t)
	}
	r.at.y = optional[T](out, 0)
	for d := range r.directions {
		r.direction(d, in)
		r.store(d, optional[T](out, 1), r.at.h)
		r.store(d, optional[T](out, 2), r.at.c)
	}
	r.at = stepAt[T]{}
	return nil
}

// direction runs the steps of a direction.
func (r *recurrent[T]) direction(d int, in []*Tensor) {
	dir := &r.directions[d]
	rows := r.gates * r.hidden
	x, w, rec := Data[T](in[rnnX]), Data[T](in[rnnW])[d*rows*r.inputs:], Data[T](in[rnnR])[d*rows*r.hidden:]
	var bias []T
	r.at.rbias, r.at.peep = nil, nil
	if t := optional[T](in, rnnB); t != nil {
		bias = t[d*2*rows : (d+1)*2*rows]
		r.at.rbias = bias[rows+r.cell.own*r.hidden:]
	}
	if t := optional[T](in, rnnPeepholes); t != nil {
		r.at.peep = t[d*3*r.hidden : (d+1)*3*r.hidden]
	}
	r.at.dir, r.at.acts = d, dir.acts
	r.load(d, r.at.h, optional[T](in, rnnH0))
	r.load(d, r.at.c, optional[T](in, rnnC0))
	pre := ScratchOf[T](r.heldPre)
	for done := 0; done < r.steps; done += r.chunk {
		count := min(r.chunk, r.steps-done)
		first := done
		if dir.reverse {
			first = r.steps - done - count
		}
		r.fromInput(pre, x, w, bias, first, count)
		for k := range count {
			at := k
			if dir.reverse {
				at = count - 1 - k
			}
			r.at.t, r.at.pre = first+at, pre[at*r.batch*rows:(at+1)*r.batch*rows]
			r.step(rec)
		}
	}
}

// load copies the initial state of a direction, [batch, hidden].
func (r *recurrent[T]) load(d int, dst, src []T) {
	if src == nil {
		clear(dst)
		return
	}
	for n := range r.batch {
		copy(dst[n*r.hidden:(n+1)*r.hidden], src[r.stateRow(d, n):])
	}
}

func (r *recurrent[T]) store(d int, dst, src []T) {
	if dst == nil {
		return
	}
	for n := range r.batch {
		copy(dst[r.stateRow(d, n):], src[n*r.hidden:(n+1)*r.hidden])
	}
}

// stateRow is where row n of a direction lies in the tensors of states.
func (r *recurrent[T]) stateRow(d, n int) int {
	if r.batchFirst {
		return (n*len(r.directions) + d) * r.hidden
	}
	return (d*r.batch + n) * r.hidden
}

// outRow is where row n of the step lies in Y.
func (r *recurrent[T]) outRow(n int) int {
	dirs := len(r.directions)
	if r.batchFirst {
		return ((n*r.steps+r.at.t)*dirs + r.at.dir) * r.hidden
	}
	return ((r.at.t*dirs+r.at.dir)*r.batch + n) * r.hidden
}

// fromInput computes X W^T + Wb + Rb for count steps from the first on.
func (r *recurrent[T]) fromInput(pre, x, w, bias []T, first, count int) {
	rows := r.gates * r.hidden
	var beta T
	if bias != nil {
		beta = 1
		for row := range count * r.batch {
			dst := pre[row*rows : (row+1)*rows]
			for j := range dst {
				dst[j] = bias[j]
			}
			joint := rows
			if r.cell.apart {
				joint = r.cell.own * r.hidden
			}
			for j := range joint {
				dst[j] += bias[rows+j]
			}
		}
	}
	switch {
	case r.batch == 0 || rows == 0:
	case r.inputs == 0:
		if bias == nil {
			clear(pre[:count*r.batch*rows])
		}
	case r.batchFirst:
		GemmBatched(r.pool, false, true, r.batch, rows, r.inputs, 1, x[first*r.inputs:], r.steps*r.inputs, r.inputs, w, r.inputs, 0,
			beta, pre, rows, r.batch*rows, count, r.ws.Raw)
	default:
		Gemm(r.pool, false, true, count*r.batch, rows, r.inputs, 1, x[first*r.batch*r.inputs:], r.inputs, w, r.inputs, beta, pre, rows, r.ws.Raw)
	}
}

// step advances the state by one step.
func (r *recurrent[T]) step(rec []T) {
	if r.batch == 0 || r.hidden == 0 {
		return
	}
	h := r.hidden
	rows, own := r.gates*h, r.cell.own*h
	grain := 1 + grainCostly/(rows+1)
	Gemm(r.pool, false, true, r.batch, own, h, 1, r.at.h, h, rec, h, 1, r.at.pre, rows, r.ws.Raw)
	if r.cell.apart {
		Gemm(r.pool, false, true, r.batch, h, h, 1, r.at.h, h, rec[own*h:], h, 0, r.at.extra, h, r.ws.Raw)
	}
	if r.cell.before != nil {
		r.pool.For(r.batch, grain, r.rowsBefore)
		if !r.cell.apart {
			Gemm(r.pool, false, true, r.batch, h, h, 1, r.at.extra, h, rec[own*h:], h, 1, r.at.pre[own:], rows, r.ws.Raw)
		}
	}
	r.pool.For(r.batch, grain, r.rowsAfter)
}

// active reports whether the sequence of row n reaches the step.
func (r *recurrent[T]) active(n int) bool {
	return r.at.lengths == nil || r.at.t < int(r.at.lengths[n])
}

// finish computes the new state of row n and its output, zero beyond the sequence's end.
func (r *recurrent[T]) finish(n int) {
	var y []T
	if r.at.y != nil {
		at := r.outRow(n)
		y = r.at.y[at : at+r.hidden]
	}
	if !r.active(n) {
		clear(y)
		return
	}
	r.cell.after(r, n)
	copy(y, r.at.h[n*r.hidden:])
}

// row is the part of a [batch, hidden] tensor for row n.
func (r *recurrent[T]) row(x []T, n int) []T { return x[n*r.hidden : (n+1)*r.hidden] }

// gate is gate k of row n.
func (r *recurrent[T]) gate(k, n int) []T {
	at := (n*r.gates + k) * r.hidden
	return r.at.pre[at : at+r.hidden]
}

// activate applies activation k of the direction in place, to arguments bounded by clip.
func (r *recurrent[T]) activate(k int, x []T) {
	if r.clip > 0 {
		for i, v := range x {
			x[i] = max(-r.clip, min(r.clip, v))
		}
	}
	r.at.acts[k](x)
}
