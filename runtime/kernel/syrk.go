package kernel

import "github.com/asdlc/asdlc/runtime/kernel/amd64"

// Syrk computes C = alpha*op(A)*op(A)^T + beta*C for row-major matrices: op(A) is n x k, C is n x n. With trans, A is
// stored k x n and op(A) is its transpose. Only the lower triangle of the old C is read (if beta is not 0); both
// triangles are written, and the result is exactly symmetric. The rest is as for Gemm.
func Syrk[T amd64.Float](p *Pool, trans bool, n, k int, alpha T, a []T, lda int, beta T, c []T, ldc int, ws []byte) {
	if n <= 0 {
		return
	}
	spec := gemmSpec[T]{
		transA: trans, transB: !trans, m: n, n: n, k: max(k, 0), batch: 1, alpha: alpha, beta: beta,
		a: a, lda: lda, b: a, ldb: lda, c: c, ldc: ldc, lower: true,
	}
	spec.check()
	runGemm(p, &spec, ws)
}

// mirrorBlock is the side of the squares in which a triangle is mirrored, small enough for the TLB.
const mirrorBlock = 64

// mirror copies the part of rows [lo, hi) of C below the diagonal to above it.
func (j *gemmJob[T]) mirror(lo, hi int) {
	c, ldc, lanes := j.c, j.ldc, j.g.Lanes
	for i0 := lo; i0 < hi; i0 += mirrorBlock {
		i1 := min(i0+mirrorBlock, hi)
		for j0 := 0; j0 < i1; j0 += mirrorBlock {
			for i := i0; i < i1; i += lanes {
				cols := min(mirrorBlock, i-j0) // up to the strip's own square on the diagonal
				if cols > 0 {
					j.g.Transpose(min(lanes, i1-i), cols, &c[i*ldc+j0], ldc, &c[j0*ldc+i], ldc)
				}
			}
		}
		for i := i0; i < i1; i += lanes {
			for r := i; r < min(i+lanes, i1); r++ {
				for s := i; s < r; s++ {
					c[s*ldc+r] = c[r*ldc+s]
				}
			}
		}
	}
}
