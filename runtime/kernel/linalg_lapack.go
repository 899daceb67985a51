package kernel

import (
	"math"
	"unsafe"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// libraryRank puts the rows on optional libraries above all others: they decline where they are not faster.
const libraryRank = 20

// Library lists the operators on shared libraries. Without a library they decline.
func Library(l *dl.Libraries) []Row { return libraryFrom(l, lapackSize) }

// libraryFrom is Library for matrices of side smallest and larger.
func libraryFrom(l *dl.Libraries, smallest int) []Row {
	return []Row{
		{
			Domain: graph.Asdl, Op: "SymmetricEigen", Elems: floats, Rank: libraryRank, Note: "lapack",
			Make: byFloat(lapackEigen[float32](l, smallest), lapackEigen[float64](l, smallest)),
		},
	}
}

// lapackSize is the side from which LAPACK is the faster one.
const lapackSize = 64

// lapackEigen is symmetricEigen by LAPACK's dsyevd. In single precision ssyevd is half as fast again, and wrong by some roundings of
// the largest eigenvalue in all of them: as much as the ridge that makes an inverse root exist.
func lapackEigen[T amd64.Float](l *dl.Libraries, smallest int) func(c *Call) (Run, error) {
	return func(c *Call) (Run, error) {
		n, err := c.square()
		if err != nil {
			return nil, err
		}
		if n < smallest || len(c.Out) < 2 {
			return nil, ErrDecline
		}
		lapack, err := l.LAPACK()
		if err != nil {
			return nil, ErrDecline
		}
		routine, ok := lapack.Routine("dsyevd_")
		if !ok {
			return nil, ErrDecline
		}
		return callEigen[T](c, routine, n), nil
	}
}

func callEigen[T amd64.Float](c *Call, routine dl.Routine, n int) Run {
	s := dl.NewSyevd(routine, c.hasOut(1), n)
	matrix, values, work, ints := c.Scratch(8*n*n), c.Scratch(8*n), c.Scratch(8*s.Work), c.Scratch(8*s.IntWork)
	return func(in, out []*Tensor) error {
		v, w := ScratchOf[float64](matrix), ScratchOf[float64](values)
		if n == 0 {
			return nil
		}
		// LAPACK may not end on what is not finite.
		if !loadLower(n, Data[T](in[0]), v) ||
			s.Do(unsafe.Pointer(&v[0]), unsafe.Pointer(&w[0]), unsafe.Pointer(&work.Raw[0]), unsafe.Pointer(&ints.Raw[0])) != 0 {
			setAll(optional[T](out, 0), T(math.NaN()))
			setAll(optional[T](out, 1), T(math.NaN()))
			return nil
		}
		for i := range optional[T](out, 0) {
			optional[T](out, 0)[i] = T(w[i])
		}
		transposeTo(n, optional[T](out, 1), v)
		return nil
	}
}

// loadLower copies the lower triangle of a[n, n] and reports whether it is finite.
func loadLower[T amd64.Float](n int, a []T, to []float64) bool {
	zero := T(0)
	for i := range n {
		row := to[i*n : i*n+i+1]
		for j, e := range a[i*n : i*n+i+1] {
			zero += 0 * e
			row[j] = float64(e)
		}
	}
	return zero == 0
}

// transposeTo writes the transpose of x[n, n] to y, unless that is nil, by blocks that stay in the cache.
func transposeTo[T amd64.Float](n int, y []T, x []float64) {
	const block = 32
	if y == nil {
		return
	}
	for i0 := 0; i0 < n; i0 += block {
		for j0 := 0; j0 < n; j0 += block {
			for i := i0; i < min(i0+block, n); i++ {
				row := y[i*n : (i+1)*n]
				for j := j0; j < min(j0+block, n); j++ {
					row[j] = T(x[j*n+i])
				}
			}
		}
	}
}
