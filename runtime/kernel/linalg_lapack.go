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

// librarySide is the side from which LAPACK is faster than our kernels where those are not in assembler.
const librarySide = 16

// WantsLibrary tells whether LAPACK is faster than a set of kernels. The assembler kernels are as fast on one thread, but for eigenvalues of
// matrices of a thousand rows or more, which take a tenth longer, and two threads make up for that.
func WantsLibrary(k *amd64.Kernels) bool { return !k.Assembler() }

// Library lists the operators on shared libraries. Where there is none, or it would not be faster, they decline.
func Library(l *dl.Libraries) []Row {
	return libraryRows(l, func(c *Call, side int) bool { return side >= librarySide && WantsLibrary(c.Pool.Kernels()) })
}

// libraryRows is Library for those matrices that want says.
func libraryRows(l *dl.Libraries, want func(c *Call, side int) bool) []Row {
	open := func(c *Call, side int, names ...string) ([]dl.Routine, bool) {
		if !want(c, side) {
			return nil, false
		}
		lapack, err := l.LAPACK()
		if err != nil {
			return nil, false
		}
		routines := make([]dl.Routine, len(names))
		for i, name := range names {
			var ok bool
			if routines[i], ok = lapack.Routine(name); !ok {
				return nil, false
			}
		}
		return routines, true
	}
	rows := []Row{
		{Op: "SymmetricEigen", Make: byFloat(lapackEigen[float32](open), lapackEigen[float64](open))},
		{Op: "CholeskyInverse", Make: byFloat(lapackInverse[float32](open, 2, "s"), lapackInverse[float64](open, 2, "d"))},
		{Op: "BatchInverse", Make: byFloat(lapackInverse[float32](open, 3, "s"), lapackInverse[float64](open, 3, "d"))},
	}
	for i := range rows {
		rows[i].Domain, rows[i].Elems, rows[i].Rank, rows[i].Note = graph.Asdl, floats, libraryRank, "lapack"
	}
	return rows
}

// opener gives routines of LAPACK for a call on matrices of a side; false where they are not to be used.
type opener func(c *Call, side int, names ...string) ([]dl.Routine, bool)

// lapackEigen is symmetricEigen by LAPACK's dsyevd. In single precision ssyevd is half as fast again, and wrong by some roundings of
// the largest eigenvalue in all of them: as much as the ridge that makes an inverse root exist.
func lapackEigen[T amd64.Float](open opener) func(c *Call) (Run, error) {
	return func(c *Call) (Run, error) {
		n, err := c.square()
		if err != nil {
			return nil, err
		}
		routines, ok := open(c, n, "dsyevd_")
		if !ok || len(c.Out) < 2 {
			return nil, ErrDecline
		}
		return callEigen[T](c, routines[0], n), nil
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

// lapackInverse is choleskyInverse, of one matrix or, in rank 3, of each of several, by LAPACK's potrf and potri of T, of which
// kind is the letter.
func lapackInverse[T amd64.Float](open opener, rank int, kind string) func(c *Call) (Run, error) {
	return func(c *Call) (Run, error) {
		s := c.In[0].Shape
		if len(s) != rank || s[rank-1] != s[rank-2] {
			return nil, ErrDecline // the portable kernel has the error
		}
		n := s[rank-1]
		routines, ok := open(c, n, kind+"potrf_", kind+"potri_")
		if !ok {
			return nil, ErrDecline
		}
		p := dl.NewPotri(routines[0], routines[1], n)
		return func(in, out []*Tensor) error {
			as, xs := Data[T](in[0]), Data[T](out[0])
			for i := 0; i+n*n <= len(as) && n > 0; i += n * n {
				x := xs[i : i+n*n]
				if !loadLower(n, as[i:i+n*n], x) || p.Do(unsafe.Pointer(&x[0])) != 0 {
					setAll(x, T(math.NaN()))
					continue
				}
				mirrorLower(n, x)
			}
			return nil
		}, nil
	}
}

// loadLower copies the lower triangle of a[n, n] and reports whether it is finite.
func loadLower[T, To amd64.Float](n int, a []T, to []To) bool {
	zero := T(0)
	for i := range n {
		row := to[i*n : i*n+i+1]
		for j, e := range a[i*n : i*n+i+1] {
			zero += 0 * e
			row[j] = To(e)
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

// mirrorLower copies the lower triangle of x[n, n] to the upper one, by blocks that stay in the cache.
func mirrorLower[T amd64.Float](n int, x []T) {
	const block = 32
	for i0 := 0; i0 < n; i0 += block {
		for j0 := 0; j0 <= i0; j0 += block {
			for i := i0; i < min(i0+block, n); i++ {
				for j := j0; j < min(j0+block, i); j++ {
					x[j*n+i] = x[i*n+j]
				}
			}
		}
	}
}
