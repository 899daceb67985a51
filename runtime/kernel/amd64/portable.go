package amd64

import "unsafe"

// portableGEMM gives the matrix kernels in Go, with a 4x4 tile in registers.
func portableGEMM[T Float]() GEMM[T] {
	return GEMM[T]{
		Rows: 4, Cols: 4, WideRows: 4, WideCols: 4,
		Tile: portableTile[T], Transpose: portableTranspose[T], Lanes: 4, Copy: portableCopy[T], CopyEven: portableCopyEven[T],
		TransposeAt: portableTransposeAt[T], CopyAt: portableCopyAt[T], DotRows: portableDotRows[T],
		DotTile: portableDotTile[T], DotSide: 4, Combine: portableCombine[T], Highest: portableHighest[T],
	}
}

// at is element i of the array at p.
func at[T Float](p *T, i int) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(p), i*int(unsafe.Sizeof(*p))))
}

// portableTile is GEMM.Tile.
func portableTile[T Float](rows, cols, k int, a *T, rsa, csa int, b *T, ldb int, c *T, ldc int, alpha, beta T) {
	if rows == 4 && cols == 4 {
		portableTile4x4(k, a, rsa, csa, b, ldb, c, ldc, alpha, beta)
		return
	}
	for i := range rows {
		for j := range cols {
			var sum T
			for p := range k {
				sum += *at(a, i*rsa+p*csa) * *at(b, p*ldb+j)
			}
			store(at(c, i*ldc+j), alpha*sum, beta)
		}
	}
}

// store writes value + beta*old; beta == 0 does not read the old value.
func store[T Float](c *T, value, beta T) {
	if beta != 0 {
		value += beta * *c
	}
	*c = value
}

// portableTile4x4 keeps the 16 sums of a full tile in variables.
func portableTile4x4[T Float](k int, a *T, rsa, csa int, b *T, ldb int, c *T, ldc int, alpha, beta T) {
	var s [4][4]T
	for p := range k {
		ap, bp := at(a, p*csa), unsafe.Slice(at(b, p*ldb), 4)
		b0, b1, b2, b3 := bp[0], bp[1], bp[2], bp[3]
		for i := range s {
			ai := *at(ap, i*rsa)
			s[i][0] += ai * b0
			s[i][1] += ai * b1
			s[i][2] += ai * b2
			s[i][3] += ai * b3
		}
	}
	for i := range s {
		for j := range s[i] {
			store(at(c, i*ldc+j), alpha*s[i][j], beta)
		}
	}
}

// portableTranspose is GEMM.Transpose.
func portableTranspose[T Float](rows, cols int, src *T, lds int, dst *T, ldd int) {
	for p := range cols {
		for i := range rows {
			*at(dst, p*ldd+i) = *at(src, i*lds+p)
		}
	}
}

// portableCopy is GEMM.Copy.
func portableCopy[T Float](rows, cols int, src *T, lds int, dst *T, ldd int) {
	for i := range rows {
		copy(unsafe.Slice(at(dst, i*ldd), cols), unsafe.Slice(at(src, i*lds), cols))
	}
}

// portableCopyEven is GEMM.CopyEven.
func portableCopyEven[T Float](rows, cols int, src *T, lds int, dst *T, ldd int) {
	for i := range rows {
		to, from := unsafe.Slice(at(dst, i*ldd), cols), unsafe.Slice(at(src, i*lds), 2*cols-1)
		for j := range to {
			to[j] = from[2*j]
		}
	}
}

// portableTransposeAt is GEMM.TransposeAt.
func portableTransposeAt[T Float](rows, cols int, src *T, off *int32, dst *T, ldd int) {
	for i, o := range unsafe.Slice(off, rows) {
		for p, v := range unsafe.Slice(at(src, int(o)), cols) {
			*at(dst, p*ldd+i) = v
		}
	}
}

// portableCopyAt is GEMM.CopyAt.
func portableCopyAt[T Float](rows, cols int, src *T, off *int32, dst *T, ldd int) {
	for i, o := range unsafe.Slice(off, rows) {
		copy(unsafe.Slice(at(dst, i*ldd), cols), unsafe.Slice(at(src, int(o)), cols))
	}
}

// portableDotRows is GEMM.DotRows.
func portableDotRows[T Float](rows, k int, a *T, lda int, x, y *T) {
	xs := unsafe.Slice(x, k)
	for i := range rows {
		var even, odd T
		row := unsafe.Slice(at(a, i*lda), k)
		for p := 1; p < k; p += 2 {
			even += row[p-1] * xs[p-1]
			odd += row[p] * xs[p]
		}
		if k%2 == 1 {
			even += row[k-1] * xs[k-1]
		}
		*at(y, i) = even + odd
	}
}

// portableDotTile is GEMM.DotTile.
func portableDotTile[T Float](rows, cols, k int, a *T, lda int, b *T, ldb int, c *T, ldc int, alpha, beta T) {
	for i := range rows {
		x := unsafe.Slice(at(a, i*lda), k)
		for j := range cols {
			y := unsafe.Slice(at(b, j*ldb), k)
			var even, odd T
			for p := 1; p < k; p += 2 {
				even += x[p-1] * y[p-1]
				odd += x[p] * y[p]
			}
			if k%2 == 1 {
				even += x[k-1] * y[k-1]
			}
			store(at(c, i*ldc+j), alpha*(even+odd), beta)
		}
	}
}

// portableHighest is GEMM.Highest.
func portableHighest[T Float](n, taps int, src *T, off *int32, dst, which *T) {
	best, first := unsafe.Slice(dst, n), unsafe.Slice(which, n)
	for t, o := range unsafe.Slice(off, taps) {
		x := unsafe.Slice(at(src, int(o)), n)
		if t == 0 {
			copy(best, x)
			clear(first)
			continue
		}
		for j, v := range x {
			if b := best[j]; v > b || v != v && b == b {
				best[j], first[j] = v, T(t)
			}
		}
	}
}

// portableCombine is GEMM.Combine.
func portableCombine[T Float](n, taps int, src *T, off *int32, w, dst *T, bias T) {
	to := unsafe.Slice(dst, n)
	for j := range to {
		to[j] = bias
	}
	for t, o := range unsafe.Slice(off, taps) {
		weight := *at(w, t)
		for j, v := range unsafe.Slice(at(src, int(o)), n) {
			to[j] += weight * v
		}
	}
}
