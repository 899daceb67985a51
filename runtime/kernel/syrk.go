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

// mirrorGrain is the least number of rows that a worker mirrors.
const mirrorGrain = 64

// mirror copies the part of rows [lo, hi) of C below the diagonal to above it.
func (j *gemmJob[T]) mirror(lo, hi int) {
	c, ldc, lanes := j.c, j.ldc, j.g.Lanes
	for i := lo; i < hi; i += lanes {
		rows := min(lanes, hi-i)
		j.g.Transpose(rows, i, &c[i*ldc], ldc, &c[i], ldc)
		for r := i; r < i+rows; r++ {
			for s := i; s < r; s++ {
				c[s*ldc+r] = c[r*ldc+s]
			}
		}
	}
}
