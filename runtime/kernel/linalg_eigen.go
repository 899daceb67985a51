package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// symmetricEigen is asdl.SymmetricEigen(A[n,n]) -> (w[n], V[n,n]): A = V diag(w) V^T, w ascending, the columns of V
// orthonormal. The lower triangle of A is used. Inside, everything is float64. An A that is not finite, or an iteration
// that does not end, gives NaN everywhere.
//
// Small matrices go through cyclic Jacobi, larger ones through Householder tridiagonalisation and implicit QL (Golub and
// Van Loan, Matrix Computations, 8.5 and 8.3).
type symmetricEigen[T amd64.Float] struct {
	n     int
	a, v  []float64 // v holds eigenvectors as rows
	d, e  []float64 // diagonal, subdiagonal
	order []int64
	tri   *tridiagonal
}

// jacobiSize is the size up to which Jacobi is used.
const jacobiSize = 4

func makeSymmetricEigen[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	if len(c.Out) < 2 {
		return nil, c.Errorf(graph.ErrInvalid, "has %d outputs, want eigenvalues and eigenvectors", len(c.Out))
	}
	s := &symmetricEigen[T]{n: n}
	if n > jacobiSize {
		s.tri = newTridiagonal(c, n)
	}
	matrices, vectors, order := c.Scratch(8*2*n*n), c.Scratch(8*2*n), c.Scratch(8*n)
	return func(in, out []*Tensor) error {
		m, v := ScratchOf[float64](matrices), ScratchOf[float64](vectors)
		s.a, s.v, s.d, s.e, s.order = m[:n*n], m[n*n:], v[:n], v[n:], ScratchOf[int64](order)
		w, x := optional[T](out, 0), optional[T](out, 1)
		if !s.load(Data[T](in[0])) || !s.solve() {
			setAll(w, T(math.NaN()))
			setAll(x, T(math.NaN()))
			return nil
		}
		s.store(w, x)
		return nil
	}, nil
}

// load copies the lower triangle of A to both and reports whether it is finite.
func (s *symmetricEigen[T]) load(a []T) bool {
	zero := 0.0
	for i := range s.n {
		for j, e := range a[i*s.n : i*s.n+i+1] {
			v := float64(e)
			zero += 0 * v
			s.a[i*s.n+j], s.a[j*s.n+i] = v, v
		}
	}
	return zero == 0
}

func (s *symmetricEigen[T]) solve() bool {
	if s.tri == nil {
		return jacobi(s.n, s.a, s.v, s.d)
	}
	return s.tri.eigen(s.a, s.v, s.d, s.e)
}

// store sorts the eigenvalues and writes them with their vectors as columns.
func (s *symmetricEigen[T]) store(w, x []T) {
	for i := range s.order {
		s.order[i] = int64(i)
	}
	sortByValue(s.order, s.d)
	for to, from := range s.order {
		if w != nil {
			w[to] = T(s.d[from])
		}
		if x == nil {
			continue
		}
		for i, e := range s.v[int(from)*s.n : (int(from)+1)*s.n] {
			x[i*s.n+to] = T(e)
		}
	}
}

// sortByValue sorts indices by the values they point at: a heap sort, which allocates nothing.
func sortByValue(index []int64, value []float64) {
	sift := func(root, end int) {
		for {
			child := 2*root + 1
			if child >= end {
				return
			}
			if child+1 < end && value[index[child]] < value[index[child+1]] {
				child++
			}
			if value[index[root]] >= value[index[child]] {
				return
			}
			index[root], index[child] = index[child], index[root]
			root = child
		}
	}
	for i := len(index)/2 - 1; i >= 0; i-- {
		sift(i, len(index))
	}
	for end := len(index) - 1; end > 0; end-- {
		index[0], index[end] = index[end], index[0]
		sift(0, end)
	}
}

// jacobi diagonalises a by cyclic sweeps of rotations; rows of v become eigenvectors, d eigenvalues. It reports whether
// the off-diagonal elements vanished.
func jacobi(n int, a, v, d []float64) bool {
	const sweeps = 60
	clear(v)
	for i := range n {
		v[i*n+i] = 1
	}
	for range sweeps {
		rotated := false
		for p := range n {
			for q := p + 1; q < n; q++ {
				rotated = jacobiRotate(n, a, v, p, q) || rotated
			}
		}
		if !rotated {
			for i := range n {
				d[i] = a[i*n+i]
			}
			return true
		}
	}
	return false
}

// jacobiRotate zeroes a[p,q]; false when it is nothing beside the diagonal elements already.
func jacobiRotate(n int, a, v []float64, p, q int) bool {
	app, aqq, apq := a[p*n+p], a[q*n+q], a[p*n+q]
	if math.Abs(apq) <= 0x1p-54*math.Sqrt(math.Abs(app))*math.Sqrt(math.Abs(aqq)) || math.Abs(apq) < 0x1p-1000 {
		a[p*n+q], a[q*n+p] = 0, 0
		return false
	}
	tau := (aqq - app) / (2 * apq)
	t := 1 / (math.Abs(tau) + math.Hypot(1, tau))
	if tau < 0 {
		t = -t
	}
	c := 1 / math.Hypot(1, t)
	s := t * c
	for k := range n {
		if k == p || k == q {
			continue
		}
		x, y := a[p*n+k], a[q*n+k]
		x, y = c*x-s*y, s*x+c*y
		a[p*n+k], a[k*n+p], a[q*n+k], a[k*n+q] = x, x, y, y
	}
	a[p*n+p], a[q*n+q] = app-t*apq, aqq+t*apq
	a[p*n+q], a[q*n+p] = 0, 0
	for k := range n {
		x, y := v[p*n+k], v[q*n+k]
		v[p*n+k], v[q*n+k] = c*x-s*y, s*x+c*y
	}
	return true
}
