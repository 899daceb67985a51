package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeEinsum is ONNX Einsum. Operands are contracted from left to right.
func makeEinsum[T amd64.Float](c *Call) (Run, error) {
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	e, err := parseEinsum(c)
	if err != nil {
		return nil, err
	}
	if len(e.in) == 1 {
		move := newEinsumMove[T](c.Pool, e, e.in[0], e.out, e.absent(e.out, e.in[0]))
		return func(in, out []*Tensor) error {
			move.run(Data[T](out[0]), Data[T](in[0]))
			return nil
		}, nil
	}
	final := e.dense(e.out)
	var steps []*einsumPair[T]
	var held []*Scratch // the results of the steps but the last, if that can be written where it belongs
	at := e.in[0]
	for i := 1; i < len(e.in); i++ {
		var want layout
		if i == len(e.in)-1 {
			want = final
		}
		p := newEinsumPair[T](c, e, at, e.in[i], e.needed(i+1), want)
		steps, at = append(steps, p), p.out
		if i < len(e.in)-1 || !p.final {
			held = append(held, c.Scratch(sizeOf[T]()*p.m*p.n*len(p.cOff)))
		}
	}
	var move *einsumMove[T]
	if len(held) == len(steps) {
		move = newEinsumMove[T](c.Pool, e, at, e.out, nil)
	}
	return func(in, out []*Tensor) error {
		a, y := Data[T](in[0]), Data[T](out[0])
		for i, p := range steps {
			dst := y
			if i < len(held) {
				dst = ScratchOf[T](held[i])
			}
			p.run(a, Data[T](in[i+1]), dst)
			a = dst
		}
		if move != nil {
			move.run(y, a)
		}
		return nil
	}, nil
}

// absent lists the labels of l that are not in kept.
func (e *equation) absent(kept []rune, l layout) (out []rune) {
	for _, label := range e.order {
		if _, ok := l[label]; ok && !slices.Contains(kept, label) {
			out = append(out, label)
		}
	}
	return out
}

// needed is the set of labels of the output and of the operands from i on.
func (e *equation) needed(i int) map[rune]bool {
	keep := map[rune]bool{}
	for _, label := range e.out {
		keep[label] = true
	}
	for _, l := range e.in[i:] {
		for label := range l {
			keep[label] = true
		}
	}
	return keep
}

// einsumMove copies an index set into a dense tensor, adding up over labels that it lacks.
type einsumMove[T amd64.Float] struct {
	outer, sum    []int // offsets in the source
	inner, stride int   // the last label
	dst, src      []T
	body          func(lo, hi int)
	pool          *Pool
}

func newEinsumMove[T amd64.Float](pool *Pool, e *equation, from layout, to, sum []rune) *einsumMove[T] {
	m := &einsumMove[T]{inner: 1, pool: pool, sum: e.offsets(sum, from)}
	if n := len(to); n > 0 {
		m.inner, m.stride = e.size[to[n-1]], from[to[n-1]]
		to = to[:n-1]
	}
	m.outer = e.offsets(to, from)
	m.body = m.span
	return m
}

func (m *einsumMove[T]) run(dst, src []T) {
	if len(src) == 0 {
		clear(dst)
		return
	}
	m.dst, m.src = dst, src
	m.pool.For(len(m.outer), grainFor(m.inner*len(m.sum)), m.body)
	m.dst, m.src = nil, nil
}

func (m *einsumMove[T]) span(lo, hi int) {
	for o := lo; o < hi; o++ {
		dst := m.dst[o*m.inner : (o+1)*m.inner]
		clear(dst)
		for _, s := range m.sum {
			src := m.src[m.outer[o]+s:]
			for i, j := 0, 0; i < len(dst); i, j = i+1, j+m.stride {
				dst[i] += src[j]
			}
		}
	}
}

// einsumPair contracts two operands by matrix products over labels in both (batch, or k when the result lacks them) and in
// one (m, n). Operands are used where they lie if each of their groups has a single stride, else moved to scratch.
type einsumPair[T amd64.Float] struct {
	products[T]
	moveA, moveB *einsumMove[T]
	heldA, heldB *Scratch
	swap         bool // the product is computed transposed
	out          layout
	final        bool // the result is where the output wants it
}

// einsumRoles sorts labels by where they occur.
func einsumRoles(e *equation, a, b layout, keep map[rune]bool) (batch, m, n, k, sumA, sumB []rune) {
	for _, l := range e.order {
		_, inA := a[l]
		_, inB := b[l]
		switch {
		case inA && inB && keep[l]:
			batch = append(batch, l)
		case inA && inB:
			k = append(k, l)
		case inA && keep[l]:
			m = append(m, l)
		case inB && keep[l]:
			n = append(n, l)
		case inA:
			sumA = append(sumA, l)
		case inB:
			sumB = append(sumB, l)
		}
	}
	return batch, m, n, k, sumA, sumB
}

// newEinsumPair prepares the contraction of a and b. The result is laid out as final, or densely as batch, m, n if that
// is nil or Gemm cannot write it.
func newEinsumPair[T amd64.Float](c *Call, e *equation, a, b layout, keep map[rune]bool, final layout) *einsumPair[T] {
	p := &einsumPair[T]{out: final}
	batch, m, n, k, sumA, sumB := einsumRoles(e, a, b, keep)
	p.m, p.n, p.k = Count(e.sizes(m)), Count(e.sizes(n)), Count(e.sizes(k))
	ok := false
	if final != nil {
		p.swap, p.ldc, ok = e.target(m, n, final)
	}
	p.final = ok
	if !ok {
		p.out = e.dense(slices.Concat(batch, m, n))
		p.swap, p.ldc = false, max(1, p.n)
	}
	a, p.transA, p.lda, p.moveA, p.heldA = einsumOperand[T](c, e, a, batch, m, k, sumA)
	b, p.transB, p.ldb, p.moveB, p.heldB = einsumOperand[T](c, e, b, batch, k, n, sumB)
	p.aOff, p.bOff, p.cOff = e.offsets(batch, a), e.offsets(batch, b), e.offsets(batch, p.out)
	if p.swap { // C^T = B^T A^T
		p.m, p.n = p.n, p.m
		p.transA, p.transB, p.lda, p.ldb = !p.transB, !p.transA, p.ldb, p.lda
		p.aOff, p.bOff = p.bOff, p.aOff
	}
	p.plan(c)
	return p
}

// target finds how Gemm can write [m, n] to that layout: as it is, or transposed.
func (e *equation) target(m, n []rune, l layout) (swap bool, ld int, ok bool) {
	sm, okM := e.flat(m, l)
	sn, okN := e.flat(n, l)
	rows, cols := Count(e.sizes(m)), Count(e.sizes(n))
	if !okM || !okN {
		return false, 0, false
	}
	if (cols == 1 || sn == 1) && (rows == 1 || sm >= cols) {
		return false, max(sm, cols), true
	}
	if (rows == 1 || sm == 1) && (cols == 1 || sn >= rows) {
		return true, max(sn, rows), true
	}
	return false, 0, false
}

// einsumOperand finds how Gemm can read an operand as matrices [rows, cols], moving it if it cannot.
func einsumOperand[T amd64.Float](c *Call, e *equation, l layout, batch, rows, cols, sum []rune) (at layout, trans bool, ld int, move *einsumMove[T], held *Scratch) {
	sr, okR := e.flat(rows, l)
	sc, okC := e.flat(cols, l)
	r, n := Count(e.sizes(rows)), Count(e.sizes(cols))
	if okR && okC && len(sum) == 0 {
		switch {
		case (n == 1 || sc == 1) && (r == 1 || sr >= n):
			return l, false, max(sr, n), nil, nil
		case (r == 1 || sr == 1) && (n == 1 || sc >= r):
			return l, true, max(sc, r), nil, nil
		}
	}
	to := slices.Concat(batch, rows, cols)
	held = c.Scratch(sizeOf[T]() * Count(e.sizes(to)))
	return e.dense(to), false, n, newEinsumMove[T](c.Pool, e, l, to, sum), held
}

func (p *einsumPair[T]) run(a, b, dst []T) {
	if p.moveA != nil {
		held := ScratchOf[T](p.heldA)
		p.moveA.run(held, a)
		a = held
	}
	if p.moveB != nil {
		held := ScratchOf[T](p.heldB)
		p.moveB.run(held, b)
		b = held
	}
	if p.swap {
		a, b = b, a
	}
	p.products.run(a, b, dst)
}
