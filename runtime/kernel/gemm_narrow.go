package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// A product with few rows or columns does not pay for packing its large operand, and few columns do not fill vectors. Such
// products are formed in two other ways, which are chosen by form and shape alone: as dot products along k, where rows of A
// and columns of B are stored so, and as the rows of C^T, where A is stored transposed.

// Bounds of narrow products, in elements.
const (
	narrowSide  = 16   // of the narrow side of dot products along stored rows
	narrowCols  = 12   // columns that do not fill vectors
	narrowDepth = 64   // of dot products: their lanes are added up at the end
	dotDepth    = 1024 // of k at a time
)

// isNarrowDots reports whether the product is formed as dot products. A few columns of B are turned for it.
func (s *gemmSpec[T]) isNarrowDots() bool {
	if s.transA || s.m == 1 || s.n == 1 || s.k < narrowDepth || s.special() {
		return false
	}
	if s.transB {
		return min(s.m, s.n) <= narrowSide
	}
	return s.n <= narrowCols && s.k >= 2*narrowDepth && s.m > s.n
}

// isNarrowRows reports whether the product is formed as rows of C^T.
func (s *gemmSpec[T]) isNarrowRows() bool {
	return s.transA && s.n > 1 && s.n <= narrowCols && s.m >= s.n && s.k > 0 && !s.special()
}

// special reports whether a part of the product is left out.
func (s *gemmSpec[T]) special() bool { return s.lower || s.ta != dense || s.tb != dense }

// narrowElems is the scratch memory of a task, in elements.
func narrowElems[T amd64.Float](g *amd64.GEMM[T], n, k int) int {
	if n > narrowCols {
		return 0
	}
	return narrowCols * max(min(k, dotDepth), g.WideCols, g.Cols)
}

// narrowDots computes a rectangle of C by dot products.
func (j *gemmJob[T]) narrowDots(r rect, scratch []T) {
	rows, cols, beta := r.i1-r.i0, r.j1-r.j0, j.beta
	for p0 := 0; p0 < j.k; p0 += dotDepth {
		depth := min(dotDepth, j.k-p0)
		a := j.a[r.a+r.i0*j.lda+p0:]
		b, ldb := j.columnsOfB(r, p0, depth, scratch)
		c := j.c[r.c+r.i0*j.ldc+r.j0:]
		tile := func(i, n, l, w int) {
			j.g.DotTile(n, w, depth, &a[i*j.lda], j.lda, &b[l*ldb], ldb, &c[i*j.ldc+l], j.ldc, j.alpha, beta)
		}
		if rows >= cols {
			eachTile(rows, cols, j.g.DotSide, tile)
		} else {
			eachTile(cols, rows, j.g.DotSide, func(l, w, i, n int) { tile(i, n, l, w) })
		}
		beta = 1
	}
}

// columnsOfB gives rows p0..p0+depth of the columns of a rectangle, each column contiguous.
func (j *gemmJob[T]) columnsOfB(r rect, p0, depth int, scratch []T) (b []T, ld int) {
	if j.transB {
		return j.b[r.b+r.j0*j.ldb+p0:], j.ldb
	}
	for p := 0; p < depth; p += j.g.Lanes {
		j.g.Transpose(min(j.g.Lanes, depth-p), r.j1-r.j0, &j.b[r.b+(p0+p)*j.ldb+r.j0], j.ldb, &scratch[p], depth)
	}
	return scratch, depth
}

// narrowRows computes a rectangle of C as that of C^T: op(B)^T, of few rows, times A as it is stored.
func (j *gemmJob[T]) narrowRows(r rect, scratch []T) {
	width, rows := stripWidth(j.g, r.j1-r.j0), r.j1-r.j0
	rsb, csb := 1, j.ldb // strides of rows and columns of op(B)^T
	if j.transB {
		rsb, csb = j.ldb, 1
	}
	tiles, depth := ceilDiv(rows, j.g.Rows), depthOf(j.k)
	for i := r.i0; i < r.i1; i += width {
		n := min(width, r.i1-i)
		for p0 := 0; p0 < j.k; p0 += depth {
			beta := T(1)
			if p0 == 0 {
				beta = 0
			}
			for t := range tiles {
				lo, hi := t*rows/tiles, (t+1)*rows/tiles
				j.g.Tile(hi-lo, n, min(depth, j.k-p0), &j.b[r.b+(r.j0+lo)*rsb+p0*csb], rsb, csb, &j.a[r.a+p0*j.lda+i], j.lda,
					&scratch[lo*width], width, j.alpha, beta)
			}
		}
		j.turnBack(scratch, width, r.c+i*j.ldc+r.j0, n, rows)
	}
}

// turnBack writes n rows of C, of so many columns, from their transpose.
func (j *gemmJob[T]) turnBack(src []T, ld, at, n, cols int) {
	if j.beta == 0 {
		for l := 0; l < cols; l += j.g.Lanes {
			j.g.Transpose(min(j.g.Lanes, cols-l), n, &src[l*ld], ld, &j.c[at+l], j.ldc)
		}
		return
	}
	for i := range n {
		row := j.c[at+i*j.ldc:][:cols]
		for l := range row {
			row[l] = src[l*ld+i] + j.beta*row[l]
		}
	}
}

// eachTile visits tiles of at most side x side, the second dimension within the first.
func eachTile(outer, inner, side int, visit func(i, n, l, w int)) {
	high, wide := ceilDiv(outer, side), ceilDiv(inner, side)
	for t := range high {
		lo, hi := t*outer/high, (t+1)*outer/high
		for u := range wide {
			from, to := u*inner/wide, (u+1)*inner/wide
			visit(lo, hi-lo, from, to-from)
		}
	}
}
