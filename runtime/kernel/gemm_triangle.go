package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// triangle tells which elements of a matrix may differ from zero.
type triangle uint8

const (
	dense triangle = iota
	lowerTriangle
	upperTriangle
)

// triangleOf is the triangle of that name; dense of none.
func triangleOf(name string) triangle {
	switch name {
	case "lower":
		return lowerTriangle
	case "upper":
		return upperTriangle
	}
	return dense
}

// gemmTriangular is Gemm for op(A) or op(B) that are triangular, as ta and tb say, and then square: about half of the work, or a
// quarter. What is stored outside of a triangle counts as zero.
func gemmTriangular[T amd64.Float](p *Pool, transA, transB bool, m, n, k int, alpha T, a []T, lda int, ta triangle, b []T, ldb int, tb triangle,
	beta T, c []T, ldc int, ws []byte,
) {
	if m <= 0 || n <= 0 {
		return
	}
	spec := gemmSpec[T]{
		transA: transA, transB: transB, m: m, n: n, k: max(k, 0), batch: 1, alpha: alpha, beta: beta,
		a: a, lda: lda, b: b, ldb: ldb, c: c, ldc: ldc, ta: ta, tb: tb,
	}
	spec.check()
	runGemm(p, &spec, ws)
}

// triangularWorkspace is what GemmWorkspace is, for gemmTriangular and syrkTriangular.
func triangularWorkspace[T amd64.Float](p *Pool, m, n, k int) int {
	return GemmWorkspace[T](p, m, max(n, 2), k) // a triangular A is packed for a single column too
}

// gemmSymmetric is C = alpha*op(A)*op(B) + beta*C, n x n, for symmetric C and operands whose product is symmetric, as that of
// symmetric matrices that commute: its lower triangle is computed and copied to the upper one.
func gemmSymmetric[T amd64.Float](p *Pool, transA, transB bool, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int, ws []byte) {
	if n <= 0 {
		return
	}
	spec := gemmSpec[T]{
		transA: transA, transB: transB, m: n, n: n, k: max(k, 0), batch: 1, alpha: alpha, beta: beta,
		a: a, lda: lda, b: b, ldb: ldb, c: c, ldc: ldc, lower: true,
	}
	spec.check()
	runGemm(p, &spec, ws)
}

// syrkTriangular is C = op(A) op(A)^T, both triangles of it, for a square triangular op(A) of size n, as gemmTriangular has it.
func syrkTriangular[T amd64.Float](p *Pool, trans bool, n int, a []T, lda int, t triangle, c []T, ldc int, ws []byte) {
	if n <= 0 {
		return
	}
	spec := gemmSpec[T]{
		transA: trans, transB: !trans, m: n, n: n, k: n, batch: 1, alpha: 1,
		a: a, lda: lda, b: a, ldb: lda, c: c, ldc: ldc, lower: true, ta: t, tb: t.transposed(),
	}
	spec.check()
	runGemm(p, &spec, ws)
}

// swapped is the triangle of the transpose, if trans says so.
func (t triangle) swapped(trans bool) triangle {
	if trans {
		return t.transposed()
	}
	return t
}

func (t triangle) transposed() triangle {
	switch t {
	case lowerTriangle:
		return upperTriangle
	case upperTriangle:
		return lowerTriangle
	}
	return dense
}

// span is the part of k in [lo, hi) where both rows [i0, i1) of op(A) and columns [j0, j1) of op(B) may differ from zero.
func (s *gemmSpec[T]) span(i0, i1, j0, j1, lo, hi int) (int, int) {
	switch s.ta {
	case lowerTriangle:
		hi = min(hi, i1)
	case upperTriangle:
		lo = max(lo, i0)
	}
	switch s.tb {
	case lowerTriangle:
		lo = max(lo, j0)
	case upperTriangle:
		hi = min(hi, j1)
	}
	return lo, max(lo, hi)
}

// maskA clears what lies outside of a triangular op(A) in a packed block of it.
func (j *gemmJob[T]) maskA(i, rows, p, depth int, packed []T) {
	if j.ta == upperTriangle && p >= i+rows-1 || j.ta == lowerTriangle && p+depth-1 <= i {
		return
	}
	tiles := ceilDiv(rows, j.g.Rows)
	for t := range tiles {
		lo, hi := t*rows/tiles, (t+1)*rows/tiles
		for q := range depth {
			column := packed[lo*depth+q*(hi-lo):][:hi-lo]
			diagonal := p + q - i - lo // row of the tile
			if j.ta == upperTriangle {
				clear(column[min(max(diagonal+1, 0), hi-lo):])
			} else {
				clear(column[:min(max(diagonal, 0), hi-lo)])
			}
		}
	}
}

// maskB does that for a packed strip of op(B).
func (j *gemmJob[T]) maskB(col, width, p, depth int, packed []T) {
	if j.tb == upperTriangle && p+depth-1 <= col || j.tb == lowerTriangle && p >= col+width-1 {
		return
	}
	for q := range depth {
		row := packed[q*j.plan.width:][:width]
		diagonal := p + q - col
		if j.tb == upperTriangle {
			clear(row[:min(max(diagonal, 0), width)])
		} else {
			clear(row[min(max(diagonal+1, 0), width):])
		}
	}
}

// uneven reports whether rectangles of C of one size are of unequal work.
func (s *gemmSpec[T]) uneven() bool { return s.lower || s.ta != dense || s.tb != dense }
