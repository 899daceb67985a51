package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// square checks that input 0 is a square matrix of a floating type and gives its size.
func (c *Call) square() (int, error) {
	if err := c.needs(1); err != nil {
		return 0, err
	}
	s := c.In[0].Shape
	if len(s) != 2 || s[0] != s[1] {
		return 0, c.Errorf(graph.ErrInvalid, "input of shape %v, want a square matrix", s)
	}
	return s[0], nil
}

// choleskyInverse is asdl.CholeskyInverse(A[n,n]) -> X[n,n], the inverse of a symmetric positive definite matrix: with
// A = L L^T and I = L^-1, X = I^T I, which is exactly symmetric. The lower triangle of A is used. If A is not positive
// definite in T's arithmetic or not finite, all of X is NaN.
//
// Both L and I come from one recursion over halves, so that nearly all work is in Gemm and Syrk:
//
//	L21 = A21 I11^T    A22 <- A22 - L21 L21^T    I21 = -I22 L21 I11
type choleskyInverse[T amd64.Float] struct {
	pool *Pool
	n    int
	a    []T // X's memory: what is left to factor, then products
	inv  []T // I, and L21 where I21 is not known yet
	ws   []byte
}

// choleskyBase is the size that is factored without blocks.
const choleskyBase = 32

func makeCholeskyInverse[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	return inverses[T](c, n), nil
}

// makeBatchInverse is asdl.BatchInverse(A[m,n,n]) -> X[m,n,n]: choleskyInverse of each of m matrices. One that fails is NaN,
// the others are not affected.
func makeBatchInverse[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	s := c.In[0].Shape
	if len(s) != 3 || s[1] != s[2] {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v, want square matrices [m, n, n]", s)
	}
	return inverses[T](c, s[1]), nil
}

// inverses inverts the matrices of side n that the input holds one after the other.
func inverses[T amd64.Float](c *Call, n int) Run {
	v := &choleskyInverse[T]{pool: c.Pool, n: n}
	inv, ws := c.Scratch(sizeOf[T]()*n*n), c.Scratch(v.workspace(n))
	return func(in, out []*Tensor) error {
		as, xs := Data[T](in[0]), Data[T](out[0])
		for i := 0; i+n*n <= len(as) && n > 0; i += n * n {
			x := xs[i : i+n*n]
			v.a, v.inv, v.ws = x, ScratchOf[T](inv), ws.Raw
			if !v.load(as[i:i+n*n]) || !v.factor(0, n) {
				setAll(x, T(math.NaN()))
				continue
			}
			syrkTriangular(v.pool, true, n, v.inv, n, upperTriangle, x, n, v.ws)
		}
		return nil
	}
}

// workspace is the scratch memory of the products for a matrix of size n.
func (v *choleskyInverse[T]) workspace(n int) int {
	bytes := GemmWorkspace[T](v.pool, n, n, n)
	if n <= choleskyBase {
		return bytes
	}
	h := halfOf(n)
	m := n - h
	return max(bytes, GemmWorkspace[T](v.pool, m, h, h), GemmWorkspace[T](v.pool, m, m, h), GemmWorkspace[T](v.pool, m, h, m),
		v.workspace(h), v.workspace(m))
}

// halfOf is the size of the leading block of a matrix of size n, a multiple of the base.
func halfOf(n int) int { return (n/2 + choleskyBase - 1) / choleskyBase * choleskyBase }

// load copies A's lower triangle and reports whether it is finite.
func (v *choleskyInverse[T]) load(a []T) bool {
	n := v.n
	clear(v.inv)
	zero := T(0)
	for i := range n {
		row := a[i*n : i*n+i+1]
		for _, e := range row {
			zero += 0 * e // NaN once an element is not finite
		}
		copy(v.a[i*n:], row)
	}
	return zero == 0
}

// factor turns the diagonal block of size n at o into L and I; false when a pivot is not positive.
func (v *choleskyInverse[T]) factor(o, n int) bool {
	if n <= choleskyBase {
		return v.factorBase(o, n)
	}
	h, ld := halfOf(n), v.n
	m := n - h
	if !v.factor(o, h) {
		return false
	}
	i11, i21, i22 := v.inv[o*ld+o:], v.inv[(o+h)*ld+o:], v.inv[(o+h)*ld+o+h:]
	a21, a22 := v.a[(o+h)*ld+o:], v.a[(o+h)*ld+o+h:]
	gemmTriangular(v.pool, false, true, m, h, h, 1, a21, ld, dense, i11, ld, upperTriangle, 0, i21, ld, v.ws)
	Syrk(v.pool, false, m, h, -1, i21, ld, 1, a22, ld, v.ws)
	if !v.factor(o+h, m) {
		return false
	}
	gemmTriangular(v.pool, false, false, m, h, h, 1, i21, ld, dense, i11, ld, lowerTriangle, 0, a21, ld, v.ws)
	gemmTriangular(v.pool, false, false, m, h, m, -1, i22, ld, lowerTriangle, a21, ld, dense, 0, i21, ld, v.ws)
	return true
}

// factorBase is factor for small n: L row by row by dot products, then I row by row from those above.
func (v *choleskyInverse[T]) factorBase(o, n int) bool {
	ld := v.n
	for i := range n {
		li := v.a[(o+i)*ld+o:][:n]
		for j := range i {
			lj := v.a[(o+j)*ld+o:][:j]
			s := li[j]
			for k, e := range lj {
				s -= e * li[k]
			}
			li[j] = s * v.inv[(o+j)*ld+o+j]
		}
		d := li[i]
		for _, e := range li[:i] {
			d -= e * e
		}
		if !(d > 0) || math.IsInf(float64(d), 0) {
			return false
		}
		li[i] = T(math.Sqrt(float64(d)))
		v.inv[(o+i)*ld+o+i] = 1 / li[i]
		v.invertRow(o, i)
	}
	return true
}

// invertRow computes row i of I: I[i, :i] = -L[i, :i] I[:i, :i] / L[i, i].
func (v *choleskyInverse[T]) invertRow(o, i int) {
	ld := v.n
	row := v.inv[(o+i)*ld+o:][:i+1]
	scale := -row[i]
	for k, e := range v.a[(o+i)*ld+o:][:i] {
		e *= scale
		for j, w := range v.inv[(o+k)*ld+o:][:k+1] {
			row[j] += e * w
		}
	}
}
