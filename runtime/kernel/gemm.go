package kernel

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// Gemm computes C = alpha*op(A)*op(B) + beta*C for row-major matrices: op(A) is m x k, op(B) is k x n, C is m x n.
// With transA, A is stored k x m and op(A) is its transpose; likewise transB. The leading dimensions lda, ldb, ldc are
// the distances between rows as stored. C must not overlap A or B.
//
// With beta == 0, C is overwritten and its old content, NaN included, has no influence. Otherwise NaN and infinities
// propagate as the formula says: no product is skipped because a factor, alpha included, is zero.
//
// The result does not depend on the size of the pool. ws is scratch memory of GemmWorkspace bytes; with less, memory
// is taken from the pool's cache (from the heap for a nil pool). Panics when a slice is too short for its shape.
func Gemm[T amd64.Float](p *Pool, transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int,
	beta T, c []T, ldc int, ws []byte,
) {
	GemmBatched(p, transA, transB, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1, ws)
}

// GemmBatched computes batch products as Gemm does; matrix i of A starts at a[i*strideA], and so on. strideA or strideB
// may be 0 to use one matrix in all products. The matrices of C must not overlap; they may stand side by side in rows that
// they share, as the heads of an attention layer do.
func GemmBatched[T amd64.Float](p *Pool, transA, transB bool, m, n, k int, alpha T, a []T, lda, strideA int,
	b []T, ldb, strideB int, beta T, c []T, ldc, strideC, batch int, ws []byte,
) {
	if m <= 0 || n <= 0 || batch <= 0 {
		return
	}
	spec := gemmSpec[T]{
		transA: transA, transB: transB, m: m, n: n, k: max(k, 0), alpha: alpha, beta: beta, batch: batch,
		a: a, lda: lda, strideA: strideA, b: b, ldb: ldb, strideB: strideB, c: c, ldc: ldc, strideC: strideC,
	}
	spec.check()
	if batch == 1 && m > 1 && n > 1 && k > 0 && !transB && m*n*k <= smallWork && k <= blockDepth && !spec.isNarrowDots() && !spec.isNarrowRows() {
		g := amd64.MatrixOf[T](p.Kernels())
		spec.small(g)
		return
	}
	spec.asRow()
	runGemm(p, &spec, ws)
}

// GemmWorkspace is the number of bytes of scratch memory with which Gemm, GemmBatched and Syrk (as n x n x k)
// allocate nothing on this pool.
func GemmWorkspace[T amd64.Float](p *Pool, m, n, k int) int {
	g := amd64.MatrixOf[T](p.Kernels())
	return p.Size()*laneBytes(g, m, n, k) + alignment
}

// gemmWorkspaceUpTo is enough for all products of at most these sizes. A depth just above that of a block is cut in two, and takes less
// than one just below.
func gemmWorkspaceUpTo[T amd64.Float](p *Pool, m, n, k int) int {
	return max(GemmWorkspace[T](p, m, n, k), GemmWorkspace[T](p, m, n, k-k%blockDepth))
}

// alignment is the cache line, to which packed panels are aligned.
const alignment = 64

// gemmSpec is one call of Gemm, GemmBatched or Syrk.
type gemmSpec[T amd64.Float] struct {
	transA, transB            bool
	m, n, k, batch            int
	alpha, beta               T
	a, b, c                   []T
	lda, ldb, ldc             int
	strideA, strideB, strideC int
	lower                     bool // compute only tiles that touch the lower triangle
	half                      bool // with lower: leave the upper triangle as it is
	ta, tb                    triangle
}

// check panics unless each slice holds its matrices: the kernels check no bounds.
func (s *gemmSpec[T]) check() {
	one := func(name string, length, rows, cols, ld, stride int) {
		if rows == 0 || cols == 0 {
			return
		}
		need := (s.batch-1)*stride + (rows-1)*ld + cols
		if ld < cols || stride < 0 || length < need {
			panic(fmt.Sprintf("BUG: kernel.Gemm: %s is %dx%d with leading dimension %d, stride %d, batch %d: %d elements, have %d",
				name, rows, cols, ld, stride, s.batch, need, length))
		}
	}
	ra, ca, rb, cb := s.m, s.k, s.k, s.n
	if s.transA {
		ra, ca = ca, ra
	}
	if s.transB {
		rb, cb = cb, rb
	}
	one("A", len(s.a), ra, ca, s.lda, s.strideA)
	one("B", len(s.b), rb, cb, s.ldb, s.strideB)
	one("C", len(s.c), s.m, s.n, s.ldc, s.strideC)
	apart := s.strideC >= (s.m-1)*s.ldc+s.n
	sideBySide := s.strideC >= s.n && (s.batch-1)*s.strideC+s.n <= s.ldc
	if s.batch > 1 && !apart && !sideBySide {
		panic(fmt.Sprintf("BUG: kernel.GemmBatched: matrices of C overlap: stride %d", s.strideC))
	}
}

// gemmJob is a Gemm being run by the workers of a pool. Jobs are kept for reuse with their closures, so that a call
// allocates nothing.
type gemmJob[T amd64.Float] struct {
	gemmSpec[T]
	plan      gemmPlan
	g         *amd64.GEMM[T]
	scratch   []T // of all lanes
	laneElems int
	next      atomic.Int64 // the first task that nobody has taken
	lanes     func(lo, hi int)
	mirrors   func(lo, hi int)
}

// jobsOf gives the pool's free list of jobs for T.
func jobsOf[T amd64.Float](p *Pool) *freeList[gemmJob[T]] {
	if l, ok := any(&p.gemm32).(*freeList[gemmJob[T]]); ok {
		return l
	}
	return any(&p.gemm64).(*freeList[gemmJob[T]])
}

// runGemm runs the call on the caller, or in parallel when it is worth it.
func runGemm[T amd64.Float](p *Pool, s *gemmSpec[T], ws []byte) {
	g := amd64.MatrixOf[T](p.Kernels())
	plan := planGemm(g, s, p.Size())
	cols := s.n
	if s.ta != dense {
		cols = max(cols, 2) // A is packed
	}
	bytes := laneBytes(g, s.m, cols, s.k)
	lanes := min(p.Size(), plan.tasks())
	need := lanes*bytes + alignment
	var cached *[]byte
	if len(ws) < need {
		if p == nil {
			ws = make([]byte, need)
		} else {
			cached = p.bytes.get()
			if len(*cached) < need {
				*cached = make([]byte, need)
			}
			ws = *cached
		}
	}
	elems := bytes / int(unsafe.Sizeof(s.alpha))
	if lanes == 1 {
		j := gemmJob[T]{gemmSpec: *s, plan: plan, g: g, scratch: aligned[T](ws), laneElems: elems}
		j.work(0)
		if s.lower && !s.half {
			j.mirror(0, j.m)
		}
	} else {
		jobs := jobsOf[T](p)
		j := jobs.get()
		if j.lanes == nil {
			j.lanes = func(lo, hi int) {
				for lane := lo; lane < hi; lane++ {
					j.work(lane)
				}
			}
			j.mirrors = j.mirror
		}
		j.gemmSpec, j.plan, j.g, j.scratch, j.laneElems = *s, plan, g, aligned[T](ws), elems
		j.next.Store(0)
		p.For(lanes, 1, j.lanes)
		if s.lower && !s.half {
			p.For(j.m, mirrorBlock, j.mirrors)
		}
		j.gemmSpec, j.scratch = gemmSpec[T]{}, nil
		jobs.put(j)
	}
	if cached != nil {
		p.bytes.put(cached)
	}
}

// aligned views the bytes as elements, from the first cache line on.
func aligned[T amd64.Float](ws []byte) []T {
	var zero T
	skip := -uintptr(unsafe.Pointer(&ws[0])) & (alignment - 1)
	ws = ws[skip:]
	return unsafe.Slice((*T)(unsafe.Pointer(&ws[0])), len(ws)/int(unsafe.Sizeof(zero)))
}

// work takes tasks until none is left, with the scratch memory of one lane.
func (j *gemmJob[T]) work(lane int) {
	scratch := j.scratch[lane*j.laneElems : (lane+1)*j.laneElems]
	for {
		t := int(j.next.Add(1)) - 1
		if t >= j.plan.tasks() {
			return
		}
		j.task(t, scratch)
	}
}
