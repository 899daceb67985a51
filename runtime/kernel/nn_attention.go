package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// Formal inputs and outputs of Attention.
const (
	attnQ, attnK, attnV, attnMask, attnPastK, attnPastV, attnKnown = 0, 1, 2, 3, 4, 5, 6
	attnPresentK, attnPresentV, attnScores                         = 1, 2, 3
)

// What of the scores the fourth output of Attention shows.
const (
	scoresRaw, scoresCapped, scoresMasked, scoresSoftmax = 0, 1, 2, 3
)

// heads is how the matrices [length, size] of the heads lie in a tensor: [batch, heads, length, size], or
// [batch, length, heads*size].
type heads struct {
	batch, heads, length, size int
	joint                      bool
}

func (h heads) ld() int {
	if h.joint {
		return h.heads * h.size
	}
	return h.size
}

func (h heads) at(b, head int) int {
	if h.joint {
		return b*h.length*h.heads*h.size + head*h.size
	}
	return (b*h.heads + head) * h.length * h.size
}

// attention computes scaled dot-product attention (Vaswani et al. 2017), a head at a time, with fewer heads of keys
// and values than of queries if asked for (Ainslie et al. 2023).
type attention[T amd64.Float] struct {
	q, k, v, y  heads // k and v as the products read them
	newK, newV  heads // as given
	past, total int   // lengths
	scale, cap  T
	causal      bool
	mode        int
	mask        maskLayout

	heldK, heldV *Scratch // joined keys and values, where no output holds them
	work         slotScratch
	ws           slotScratch
	tasks        *tasks
	tanh         activation[T]

	in, out []*Tensor
	kv      [2][]T
}

// maskLayout is how the mask is broadcast to [batch, heads, length, total].
type maskLayout struct {
	batch, head, row, col int // strides
	cols                  int // columns; keys beyond are masked
}

func makeAttention[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	a := &attention[T]{cap: T(c.Node.Float("softcap", 0)), causal: c.Node.Int("is_causal", 0) != 0, mode: int(c.Node.Int("qk_matmul_output_mode", 0))}
	if err := a.geometry(c); err != nil {
		return nil, err
	}
	if err := a.readMask(c); err != nil {
		return nil, err
	}
	if f, given := c.Node.Attr("scale"); given {
		a.scale = T(f.F)
	} else {
		a.scale = T(1 / math.Sqrt(float64(max(1, a.q.size))))
	}
	a.tanh = activationOf[T](c.Pool, "tanh", rnnFunctions["tanh"])
	if a.past > 0 {
		if !c.hasOut(attnPresentK) {
			a.heldK = c.Scratch(sizeOf[T]() * a.q.batch * a.k.heads * a.total * a.k.size)
		}
		if !c.hasOut(attnPresentV) {
			a.heldV = c.Scratch(sizeOf[T]() * a.q.batch * a.v.heads * a.total * a.v.size)
		}
	}
	a.tasks = newTasks(c.Pool, a.q.batch*a.q.heads, a.head)
	a.work = c.slotScratch(a.tasks.slots, sizeOf[T]()*a.q.length*a.total)
	a.ws = c.slotScratch(a.tasks.slots, max(
		GemmWorkspace[T](a.tasks.inner, a.q.length, a.total, a.q.size), GemmWorkspace[T](a.tasks.inner, a.q.length, a.v.size, a.total)))
	return a.run, nil
}

// geometry reads the layouts of the tensors.
func (a *attention[T]) geometry(c *Call) error {
	for i, h := range []*heads{&a.q, &a.newK, &a.newV} {
		s := c.In[i].Shape
		if c.In[i].Elem != c.In[0].Elem {
			return c.Errorf(graph.ErrUnsupported, "inputs 0 and %d are of types %s and %s; insert a Cast", i, c.In[0].Elem, c.In[i].Elem)
		}
		name := "kv_num_heads"
		if i == 0 {
			name = "q_num_heads"
		}
		n := int(c.Node.Int(name, 0))
		switch {
		case len(s) == 4:
			*h = heads{batch: s[0], heads: s[1], length: s[2], size: s[3]}
		case len(s) == 3 && n > 0 && s[2]%n == 0:
			*h = heads{batch: s[0], heads: n, length: s[1], size: s[2] / n, joint: true}
		default:
			return c.Errorf(graph.ErrInvalid, "input %d has shape %v, want rank 4, or rank 3 and an attribute %s that divides its last dimension", i, s, name)
		}
	}
	q, k, v := a.q, a.newK, a.newV
	if k.heads == 0 || q.heads%k.heads != 0 || v.heads != k.heads || k.size != q.size || k.length != v.length || k.batch != q.batch || v.batch != q.batch {
		return c.Errorf(graph.ErrInvalid, "queries, keys and values of shapes %v, %v, %v do not fit", c.In[0].Shape, c.In[1].Shape, c.In[2].Shape)
	}
	a.k, a.v, a.total = k, v, k.length
	a.y = heads{batch: q.batch, heads: q.heads, length: q.length, size: v.size, joint: len(c.Out[0].Shape) == 3}
	if c.has(attnPastK) != c.has(attnPastV) {
		return c.Errorf(graph.ErrInvalid, "past_key and past_value are to be given together")
	}
	if c.has(attnPastK) {
		pk, pv := c.In[attnPastK], c.In[attnPastV]
		if len(pk.Shape) != 4 || len(pv.Shape) != 4 || pk.Shape[2] != pv.Shape[2] || pk.Len() != q.batch*k.heads*pk.Shape[2]*k.size || pv.Len() != q.batch*k.heads*pv.Shape[2]*v.size {
			return c.Errorf(graph.ErrInvalid, "past of shapes %v and %v does not fit keys and values of shapes %v and %v", pk.Shape, pv.Shape, c.In[1].Shape, c.In[2].Shape)
		}
		a.past = pk.Shape[2]
		a.total += a.past
	}
	if a.past > 0 {
		a.k = heads{batch: q.batch, heads: k.heads, length: a.total, size: k.size}
		a.v = heads{batch: q.batch, heads: v.heads, length: a.total, size: v.size}
	}
	if c.has(attnKnown) && c.In[attnKnown].Len() != q.batch {
		return c.Errorf(graph.ErrInvalid, "nonpad_kv_seqlen has shape %v, want one length for each of %d", c.In[attnKnown].Shape, q.batch)
	}
	return nil
}

func (a *attention[T]) readMask(c *Call) error {
	if !c.has(attnMask) {
		return nil
	}
	m := c.In[attnMask]
	if m.Elem != graph.Bool && m.Elem != c.In[0].Elem {
		return c.Errorf(graph.ErrUnsupported, "attn_mask is of type %s, want bool or %s; insert a Cast", m.Elem, c.In[0].Elem)
	}
	a.mask.cols = a.total
	if n := dimFromEnd(m.Shape, 1); n != a.total && (n != 1 || c.Opset >= 24) {
		a.mask.cols = n
	}
	steps, ok := broadcastStrides(m.Shape, []int{a.q.batch, a.q.heads, a.q.length, a.mask.cols})
	if !ok || len(m.Shape) < 2 || a.mask.cols > a.total {
		return c.Errorf(graph.ErrInvalid, "attn_mask of shape %v does not broadcast to [%d %d %d %d]", m.Shape, a.q.batch, a.q.heads, a.q.length, a.total)
	}
	a.mask.batch, a.mask.head, a.mask.row, a.mask.col = steps[0], steps[1], steps[2], steps[3]
	return nil
}

func (a *attention[T]) run(in, out []*Tensor) error {
	a.in, a.out = in, out
	a.kv[0] = a.join(a.newK, a.heldK, in[attnK], input(in, attnPastK), input(out, attnPresentK))
	a.kv[1] = a.join(a.newV, a.heldV, in[attnV], input(in, attnPastV), input(out, attnPresentV))
	a.tasks.run()
	a.in, a.out, a.kv = nil, nil, [2][]T{}
	return nil
}

// join puts the past before the new keys or values, [batch, heads, total, size], and returns what the products read.
func (a *attention[T]) join(h heads, held *Scratch, given, past, present *Tensor) []T {
	src := Data[T](given)
	var dst []T
	switch {
	case present != nil:
		dst = Data[T](present)
	case a.past > 0:
		dst = ScratchOf[T](held)
	default:
		return src
	}
	for i := range h.batch * h.heads {
		to := dst[i*a.total*h.size : (i+1)*a.total*h.size]
		if a.past > 0 {
			copy(to[:a.past*h.size], Data[T](past)[i*a.past*h.size:])
		}
		from := src[h.at(i/h.heads, i%h.heads):]
		for t := range h.length {
			copy(to[(a.past+t)*h.size:(a.past+t+1)*h.size], from[t*h.ld():])
		}
	}
	if a.past > 0 {
		return dst
	}
	return src
}

// head computes one head of one sequence.
func (a *attention[T]) head(slot, task int) {
	b, h := task/a.q.heads, task%a.q.heads
	kv := h / (a.q.heads / a.k.heads)
	rows, cols := a.q.length, a.total
	scores := elems[T](a.work.at(slot), rows*cols)
	pool, ws := a.tasks.inner, a.ws.at(slot)
	y := Data[T](a.out[0])[a.y.at(b, h):]
	if rows == 0 || a.v.size == 0 {
		return
	}
	if cols > 0 && a.q.size > 0 {
		Gemm(pool, false, true, rows, cols, a.q.size, a.scale, Data[T](a.in[attnQ])[a.q.at(b, h):], a.q.ld(),
			a.kv[0][a.k.at(b, kv):], a.k.ld(), 0, scores, cols, ws)
	} else {
		clear(scores)
	}
	a.show(scoresRaw, task, scores)
	if a.cap > 0 {
		for i := range scores {
			scores[i] /= a.cap
		}
		a.tanh(scores)
		for i := range scores {
			scores[i] *= a.cap
		}
	}
	a.show(scoresCapped, task, scores)
	for i := range rows {
		a.maskRow(b, h, i, scores[i*cols:(i+1)*cols])
	}
	a.show(scoresMasked, task, scores)
	for i := 0; i < rows && cols > 0; i++ {
		row := scores[i*cols : (i+1)*cols]
		if math.IsInf(float64(maxOf(row)), -1) { // a query that may look at nothing gets nothing
			clear(row)
			continue
		}
		softmaxRow(row, row)
	}
	a.show(scoresSoftmax, task, scores)
	if cols == 0 {
		for i := range rows {
			clear(y[i*a.y.ld() : i*a.y.ld()+a.v.size])
		}
		return
	}
	Gemm(pool, false, false, rows, a.v.size, cols, 1, scores, cols, a.kv[1][a.v.at(b, kv):], a.v.ld(), 0, y, a.y.ld(), ws)
}

// show copies the scores of a head to the output, if they are what it shows.
func (a *attention[T]) show(mode, task int, scores []T) {
	if t := input(a.out, attnScores); t != nil && mode == a.mode {
		copy(Data[T](t)[task*len(scores):], scores)
	}
}

// maskRow adds the mask to the scores of query i; keys after it, and those that are padding, are masked.
func (a *attention[T]) maskRow(b, h, i int, row []T) {
	none := T(math.Inf(-1))
	if t := input(a.in, attnMask); t != nil {
		at := b*a.mask.batch + h*a.mask.head + i*a.mask.row
		if t.Elem == graph.Bool {
			for j, m := 0, Data[bool](t); j < a.mask.cols; j++ {
				if !m[at+j*a.mask.col] {
					row[j] = none
				}
			}
		} else {
			for j, m := 0, Data[T](t); j < a.mask.cols; j++ {
				row[j] += m[at+j*a.mask.col]
			}
		}
		setAll(row[a.mask.cols:], none)
	}
	known, first := len(row), i+a.past // the last key that a causal query sees
	if t := input(a.in, attnKnown); t != nil {
		known = min(len(row), max(0, indexAt(t, b)))
		if a.past == 0 { // queries stand at the end of what is known of a sequence
			first = i + indexAt(t, b) - a.q.length
		}
	}
	if a.causal {
		setAll(row[min(len(row), max(0, first+1)):], none)
	}
	setAll(row[known:], none)
}
