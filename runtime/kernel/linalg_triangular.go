package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// upperInverse is asdl.UpperInverse(Q[n,n]) -> X[n,n], the inverse of an upper triangular matrix; what is below Q's diagonal
// is not looked at, and is zero in X. Zeros on the diagonal give infinities and NaN. By halves, so that nearly all work is
// in Gemm:
//
//	X12 = -X11 Q12 X22
type upperInverse[T amd64.Float] struct {
	pool *Pool
	n    int
	q, x []T
	tmp  []T // Q12 X22
	ws   []byte
}

// triangularBase is the size that is inverted without blocks.
const triangularBase = 32

func makeUpperInverse[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	v := &upperInverse[T]{pool: c.Pool, n: n}
	tmp, ws := c.Scratch(sizeOf[T]()*n*n), c.Scratch(v.workspace(n))
	return func(in, out []*Tensor) error {
		v.q, v.x, v.tmp, v.ws = Data[T](in[0]), Data[T](out[0]), ScratchOf[T](tmp), ws.Raw
		clear(v.x)
		v.invert(0, n)
		return nil
	}, nil
}

// workspace is the scratch memory of the products for a matrix of size n.
func (v *upperInverse[T]) workspace(n int) int {
	if n <= triangularBase {
		return 0
	}
	h := halfOf(n)
	m := n - h
	return max(triangularWorkspace[T](v.pool, h, m, m), triangularWorkspace[T](v.pool, h, m, h), v.workspace(h), v.workspace(m))
}

// invert writes the inverse of the block of rows and columns from lo to hi.
func (v *upperInverse[T]) invert(lo, hi int) {
	n, size := v.n, hi-lo
	if size <= triangularBase {
		v.base(lo, hi)
		return
	}
	h := halfOf(size)
	m, mid := size-h, lo+h
	v.invert(lo, mid)
	v.invert(mid, hi)
	gemmTriangular(v.pool, false, false, h, m, m, 1, v.q[lo*n+mid:], n, dense, v.x[mid*n+mid:], n, upperTriangle, 0, v.tmp, m, v.ws)
	gemmTriangular(v.pool, false, false, h, m, h, -1, v.x[lo*n+lo:], n, upperTriangle, v.tmp, m, dense, 0, v.x[lo*n+mid:], n, v.ws)
}

// base substitutes backwards, a row of X at a time from the last.
func (v *upperInverse[T]) base(lo, hi int) {
	n := v.n
	for i := hi - 1; i >= lo; i-- {
		row, pivot := v.x[i*n:i*n+hi], 1/v.q[i*n+i]
		row[i] = pivot
		for k := i + 1; k < hi; k++ {
			f := v.q[i*n+k] * pivot
			below := v.x[k*n : k*n+hi]
			for j := k; j < hi; j++ {
				row[j] -= f * below[j]
			}
		}
	}
}
