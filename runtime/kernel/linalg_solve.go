package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// upperSolve is asdl.UpperSolve(Q[n,n], B) -> X of B's shape, for an upper triangular Q of which what is below the diagonal is not
// looked at: op(Q) X = B, or with attribute right X op(Q) = B; with trans, op(Q) is Q^T. By halves, so that nearly all work
// is in Gemm, down to blocks that are multiplied with the inverse of Q's block. Zeros on the diagonal give infinities and NaN.
type upperSolve[T amd64.Float] struct {
	pool         *Pool
	right, trans bool
	n, other     int // sides of X
	q, x         []T
	block, tmp   []T // the inverse of a block of Q, and what it is multiplied with
	invert       upperInverse[T]
	ws           []byte
}

// solveBase is the size of the blocks of Q that are inverted.
const solveBase = 128

func makeUpperSolve[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	v := &upperSolve[T]{pool: c.Pool, n: n, right: c.Node.Int("right", 0) != 0, trans: c.Node.Int("trans", 0) != 0}
	side := 0
	if v.right {
		side = 1
	}
	shape := c.In[1].Shape
	if len(shape) != 2 || shape[side] != n {
		return nil, c.Errorf(graph.ErrInvalid, "right-hand side of shape %v beside a matrix of side %d", shape, n)
	}
	v.other = shape[1-side]
	v.invert.pool = c.Pool
	base := min(n, solveBase)
	block, tmp, inner := c.Scratch(3*sizeOf[T]()*base*base), c.Scratch(sizeOf[T]()*base*v.other), c.Scratch(max(v.workspace(n), v.invert.workspace(base)))
	return func(in, out []*Tensor) error {
		v.q, v.x, v.block, v.tmp, v.ws = Data[T](in[0]), Data[T](out[0]), ScratchOf[T](block), ScratchOf[T](tmp), inner.Raw
		if b := Data[T](in[1]); len(b) > 0 && &b[0] != &v.x[0] {
			copy(v.x, b)
		}
		if v.other > 0 {
			v.solve(0, n)
		}
		v.q, v.x = nil, nil
		return nil
	}, nil
}

// workspace is the scratch memory of the products for a matrix of size n.
func (v *upperSolve[T]) workspace(n int) int {
	if n <= solveBase {
		return triangularWorkspace[T](v.pool, n, v.other, n) + triangularWorkspace[T](v.pool, v.other, n, n)
	}
	h := halfOf(n)
	m := n - h
	here := max(GemmWorkspace[T](v.pool, h, v.other, m), GemmWorkspace[T](v.pool, m, v.other, h), GemmWorkspace[T](v.pool, v.other, m, h),
		GemmWorkspace[T](v.pool, v.other, h, m))
	return max(here, v.workspace(h), v.workspace(m))
}

// solve replaces rows (columns) lo to hi of the right-hand side, from which what the solved ones contribute has been taken, by
// those of X.
func (v *upperSolve[T]) solve(lo, hi int) {
	if hi-lo <= solveBase {
		v.base(lo, hi)
		return
	}
	mid := lo + halfOf(hi-lo)
	if v.right == v.trans { // from the last one on
		v.solve(mid, hi)
		v.subtract(lo, mid, mid, hi)
		v.solve(lo, mid)
		return
	}
	v.solve(lo, mid)
	v.subtract(mid, hi, lo, mid)
	v.solve(mid, hi)
}

// subtract takes from rows (columns) lo to hi what the solved ones from a to b contribute.
func (v *upperSolve[T]) subtract(lo, hi, a, b int) {
	n, other := v.n, v.other
	part := v.q[min(lo, a)*n+max(lo, a):] // above the diagonal
	if v.right {
		Gemm(v.pool, false, v.trans, other, hi-lo, b-a, -1, v.x[a:], n, part, n, 1, v.x[lo:], n, v.ws)
		return
	}
	Gemm(v.pool, v.trans, false, hi-lo, other, b-a, -1, part, n, v.x[a*other:], other, 1, v.x[lo*other:], other, v.ws)
}

// base multiplies rows (columns) lo to hi with the inverse of Q's block.
func (v *upperSolve[T]) base(lo, hi int) {
	n, k, other := v.n, hi-lo, v.other
	size := k * k
	q, inverse, tmp := v.block[:size], v.block[size:2*size], v.block[2*size:3*size]
	for i := range k {
		copy(q[i*k:(i+1)*k], v.q[(lo+i)*n+lo:])
	}
	v.invert.n, v.invert.q, v.invert.x, v.invert.tmp, v.invert.ws = k, q, inverse, tmp, v.ws
	clear(inverse)
	v.invert.invert(0, k)
	if v.right {
		for i := range other {
			copy(v.tmp[i*k:(i+1)*k], v.x[i*n+lo:])
		}
		gemmTriangular(v.pool, false, v.trans, other, k, k, 1, v.tmp, k, dense, inverse, k, upperTriangle.swapped(v.trans), 0, v.x[lo:], n, v.ws)
		return
	}
	copy(v.tmp[:k*other], v.x[lo*other:])
	gemmTriangular(v.pool, v.trans, false, k, other, k, 1, inverse, k, upperTriangle.swapped(v.trans), v.tmp, other, dense, 0, v.x[lo*other:], other, v.ws)
}
