package kernel

// A product with one row or one column reads its matrix once and is bound by memory. With the matrix stored row after
// row along k it is a set of dot products (dotTask); stored the other way, the tiles of one row serve it.

// asRow turns a product with one contiguous column, C = A*b, into the one with a row, C^T = b^T * A^T.
func (s *gemmSpec[T]) asRow() {
	if s.n != 1 || s.m == 1 || s.ldc != 1 {
		return
	}
	s.m, s.n = 1, s.m
	s.a, s.b = s.b, s.a
	s.transA, s.transB = !s.transB, !s.transA
	s.lda, s.ldb = s.ldb, s.lda
	s.strideA, s.strideB = s.strideB, s.strideA
	s.ta, s.tb = s.tb.transposed(), s.ta.transposed()
	s.ldc = s.n
}

// isDots reports whether the product is a row of dot products along stored rows of B.
func (s *gemmSpec[T]) isDots() bool { return s.m == 1 && s.transB && s.k > 0 && !s.special() }

// dotTask computes the elements j0 <= j < j1 of a row of dot products.
func (j *gemmJob[T]) dotTask(r rect, scratch []T) {
	x := j.a[r.a:]
	if j.transA && j.lda != 1 {
		packed := scratch[:j.k]
		for p := range packed {
			packed[p] = x[p*j.lda]
		}
		x, scratch = packed, scratch[j.k:]
	}
	c := j.c[r.c:]
	if j.alpha == 1 && j.beta == 0 {
		j.g.DotRows(r.j1-r.j0, j.k, &j.b[r.b+r.j0*j.ldb], j.ldb, &x[0], &c[r.j0])
		return
	}
	y := scratch[:r.j1-r.j0]
	j.g.DotRows(len(y), j.k, &j.b[r.b+r.j0*j.ldb], j.ldb, &x[0], &y[0])
	for i, v := range y {
		v *= j.alpha
		if j.beta != 0 {
			v += j.beta * c[r.j0+i]
		}
		c[r.j0+i] = v
	}
}
