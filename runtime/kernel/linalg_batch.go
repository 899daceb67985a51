package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// batchEigen is asdl.BatchEigen(A[m,n,n]) -> (w[m,n], V[m,n,n]): eigenvalues and eigenvectors (columns of V) of each of m
// symmetric matrices, by Jacobi's rotations in the order of the function's body, so that vectors come in the same order and with
// the same signs: in round r all pairs i + j = r (mod n). Inside, everything is float64. A matrix that is not finite gives NaN
// in its part of the outputs.
type batchEigen[T amd64.Float] struct {
	n        int
	matrices []float64 // for each matrix: A, and V by rows
	in       []T
	w, v     []T
}

// batchSweeps bounds the sweeps of n rounds, of which some six are usual.
const batchSweeps = 12

func makeBatchEigen[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	s := c.In[0].Shape
	if len(s) != 3 || s[1] != s[2] {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v, want square matrices [m, n, n]", s)
	}
	if len(c.Out) < 2 {
		return nil, c.Errorf(graph.ErrInvalid, "has %d outputs, want eigenvalues and eigenvectors", len(c.Out))
	}
	m, n := s[0], s[1]
	e := &batchEigen[T]{n: n}
	scratch, pool := c.Scratch(8*2*m*n*n), c.Pool
	each := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			e.one(i)
		}
	}
	grain := max(1, 4096/max(1, n*n*n))
	return func(in, out []*Tensor) error {
		e.matrices, e.in = ScratchOf[float64](scratch), Data[T](in[0])
		e.w, e.v = optional[T](out, 0), optional[T](out, 1)
		pool.For(m, grain, each)
		return nil
	}, nil
}

// one diagonalises matrix i.
func (e *batchEigen[T]) one(i int) {
	n := e.n
	size := n * n
	a, v := e.matrices[2*i*size:(2*i+1)*size], e.matrices[(2*i+1)*size:(2*i+2)*size]
	zero := 0.0
	clear(v)
	for k, x := range e.in[i*size : (i+1)*size] {
		a[k] = float64(x)
		zero += 0 * a[k]
	}
	if zero != 0 {
		zero = math.NaN()
	}
	for k := range n {
		v[k*n+k] = 1
		for j := range k { // the body makes every round's matrix symmetric
			x := (a[k*n+j] + a[j*n+k]) / 2
			a[k*n+j], a[j*n+k] = x, x
		}
	}
	if zero == 0 {
		rotateRounds(n, a, v)
	}
	for k := range n {
		if e.w != nil {
			e.w[i*n+k] = T(a[k*n+k] + zero)
		}
		for j := range n {
			if e.v != nil {
				e.v[i*size+j*n+k] = T(v[k*n+j] + zero)
			}
		}
	}
}

// rotateRounds diagonalises a; rows of v become eigenvectors.
func rotateRounds(n int, a, v []float64) {
	for range batchSweeps {
		rotated := false
		for r := range n {
			for p := range n {
				if q := (r - p + n) % n; p < q {
					rotated = jacobiRotate(n, a, v, p, q) || rotated
				}
			}
		}
		if !rotated {
			return
		}
	}
}
