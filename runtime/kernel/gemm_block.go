package kernel

import (
	"unsafe"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// The blocking is that of Goto and van de Geijn (Anatomy of High-Performance Matrix Multiplication, TOMS 2008) with the
// two inner levels: a block of A (blockRows x blockDepth) is packed to stay in the L2 cache, a strip of B (blockDepth x
// tile width) to stay in L1, and tiles of C are kept in registers. C is cut into rectangles, the tasks of the workers;
// each packs what it needs itself, so that workers never wait for each other.
const (
	blockDepth     = 256     // of k; 256 x 32 float32 are 32 KiB
	stripsPerPack  = 2       // of B packed in one go: longer runs per row of B than one strip has
	rowDepth       = 16      // of k for a single row times a matrix in memory: as many streams as the prefetcher follows
	rowElems       = 1 << 21 // a matrix is in memory, and not in a cache, from here on
	blockBytes     = 3 << 18 // of a packed block of A
	minParallel    = 1 << 19 // multiply-adds below which a task is not worth a worker
	minParallelRow = 1 << 17 // the same for a row, which is bound by memory
	minTaskCols    = 128     // narrower tasks spend too much on packing A
	minTaskRows    = 56      // lower ones on packing B
	tasksPerWorker = 2       // to balance workers of unequal speed
	tasksUneven    = 6       // the same where tasks are of unequal work
)

// gemmPlan says how C is cut into tasks.
type gemmPlan struct {
	taskRows, taskCols int // shape of a task
	rowTasks, colTasks int
	batch              int
	depth              int // of k at a time
	packA, packB       bool
	width              int // of a strip of B
}

// tasks is the number of tasks.
func (p *gemmPlan) tasks() int { return p.rowTasks * p.colTasks * p.batch }

// depthOf cuts k into equal blocks. It depends on k alone, so that a sum is formed in the same order whatever the rest.
func depthOf(k int) int {
	blocks := max(1, ceilDiv(k, blockDepth))
	return max(1, ceilDiv(k, blocks))
}

// blockRows is the greatest number of rows of a task: what fits blockBytes when packed.
func blockRows[T amd64.Float](g *amd64.GEMM[T], depth int) int {
	var zero T
	fit := blockBytes / (depth * int(unsafe.Sizeof(zero)))
	return max(g.Rows, min(fit, 1024)/g.Rows*g.Rows)
}

// stripWidth is the width of the strips of B: tasks of few rows have wide tiles.
func stripWidth[T amd64.Float](g *amd64.GEMM[T], m int) int {
	if m <= g.WideRows {
		return g.WideCols
	}
	return g.Cols
}

// laneBytes is the scratch memory of one worker: a block of A and a strip of B.
func laneBytes[T amd64.Float](g *amd64.GEMM[T], m, n, k int) int {
	var zero T
	depth := depthOf(k)
	rows := min(blockRows(g, depth), m)
	if n == 1 {
		rows = 1 // A is not packed
	}
	elems := depth*(rows+stripsPerPack*max(g.Cols, g.WideCols)) + m + n + k // the last for the vectors of dotTask
	elems = max(elems, narrowElems(g, n, k))
	return ceilDiv(elems*int(unsafe.Sizeof(zero)), alignment)*alignment + alignment
}

// planGemm cuts the call into tasks for the given number of workers.
func planGemm[T amd64.Float](g *amd64.GEMM[T], s *gemmSpec[T], workers int) gemmPlan {
	p := gemmPlan{batch: s.batch, depth: depthOf(s.k), width: stripWidth(g, s.m)}
	if s.m == 1 && s.n*s.k > rowElems {
		p.depth = min(p.depth, rowDepth)
	}
	p.rowTasks, p.colTasks = ceilDiv(s.m, blockRows(g, p.depth)), 1
	perWorker := tasksPerWorker
	if s.uneven() {
		perWorker = tasksUneven
	}
	for workers > 1 && p.tasks() < perWorker*workers {
		rows, cols := ceilDiv(s.m, p.rowTasks), ceilDiv(s.n, p.colTasks)
		if work := rows * cols * max(s.k, 1); work < 2*minParallel && (rows > 1 || work < 2*minParallelRow) {
			break
		}
		if rows >= cols && rows >= 2*minTaskRows {
			p.rowTasks++
		} else if cols >= 2*minTaskCols {
			p.colTasks++
		} else if rows >= 2*minTaskRows {
			p.rowTasks++
		} else {
			break
		}
	}
	p.taskRows = min(s.m, ceilDiv(ceilDiv(s.m, p.rowTasks), g.Rows)*g.Rows)
	p.taskCols = ceilDiv(ceilDiv(s.n, p.colTasks), p.width) * p.width
	p.rowTasks, p.colTasks = ceilDiv(s.m, p.taskRows), ceilDiv(s.n, p.taskCols)
	p.packA = s.ta != dense || s.wantPackedA(p.taskCols)
	p.packB = s.tb != dense || s.wantPackedB(p.taskRows, g.Rows)
	return p
}

// wantPackedA decides whether packing A pays: the cost is paid back by every strip of B, and sooner where the rows of A fall into one
// set of the L1 cache.
func (s *gemmSpec[T]) wantPackedA(cols int) bool {
	const sameSet = 4096 // bytes between rows
	if s.lda*int(unsafe.Sizeof(s.alpha))%sameSet == 0 {
		return cols > 64
	}
	return cols > 256 && s.lda > 128
}

// wantPackedB decides whether packing B pays: the cost is paid back by every tile of rows.
func (s *gemmSpec[T]) wantPackedB(rows, tileRows int) bool {
	return s.transB || rows > 4*tileRows && s.ldb > 128
}

// task computes rectangle t of C.
func (j *gemmJob[T]) task(t int, scratch []T) {
	p := &j.plan
	row, t := t%p.rowTasks, t/p.rowTasks
	col, batch := t%p.colTasks, t/p.colTasks
	i0, j0 := row*p.taskRows, col*p.taskCols
	r := rect{
		i0: i0, i1: min(i0+p.taskRows, j.m), j0: j0, j1: min(j0+p.taskCols, j.n),
		a: batch * j.strideA, b: batch * j.strideB, c: batch * j.strideC,
	}
	if j.lower {
		if r.j1 = min(r.j1, r.i1); r.j0 >= r.j1 {
			return
		}
	}
	switch {
	case j.isDots():
		j.dotTask(r, scratch)
		return
	case j.isNarrowDots():
		j.narrowDots(r, scratch)
		return
	case j.isNarrowRows():
		j.narrowRows(r, scratch)
		return
	}
	for p0 := 0; p0 == 0 || p0 < j.k; p0 += p.depth {
		j.block(r, p0, min(p.depth, j.k-p0), scratch)
	}
}

// rect is a rectangle of rows i0..i1 and columns j0..j1 of C, with the offsets of the three matrices of a batch.
type rect struct{ i0, i1, j0, j1, a, b, c int }

// block adds the products over k in [p0, p0+depth) to a rectangle of C.
func (j *gemmJob[T]) block(r rect, p0, depth int, scratch []T) {
	if lo, hi := j.span(r.i0, r.i1, r.j0, r.j1, p0, p0+depth); lo == hi && p0 > 0 {
		return
	}
	strip := depth * j.plan.width
	packedB, packedA := scratch[:stripsPerPack*strip], scratch[stripsPerPack*strip:]
	if j.plan.packA && depth > 0 {
		j.packA(r.a, r.i0, r.i1-r.i0, p0, depth, packedA)
		if j.ta != dense {
			j.maskA(r.i0, r.i1-r.i0, p0, depth, packedA)
		}
	}
	for j0 := r.j0; j0 < r.j1; j0 += j.plan.width {
		var b []T
		ldb := j.ldb
		switch {
		case depth == 0:
			b = packedB[:1]
		case j.plan.packB:
			at := (j0 - r.j0) / j.plan.width % stripsPerPack
			if at == 0 {
				for col := j0; col < min(j0+stripsPerPack*j.plan.width, r.j1); col += j.plan.width {
					j.packB(r.b, col, min(j.plan.width, r.j1-col), p0, depth, packedB[(col-j0)*depth:])
					if j.tb != dense {
						j.maskB(col, min(j.plan.width, r.j1-col), p0, depth, packedB[(col-j0)*depth:])
					}
				}
			}
			b, ldb = packedB[at*strip:], j.plan.width
		default:
			b = j.b[r.b+p0*j.ldb+j0:]
		}
		j.strip(r, j0, p0, depth, packedA, b, ldb)
	}
}

// strip adds the products over k in [p0, p0+depth) to the strip of a rectangle of C that begins in column j0; b begins in
// row p0 of op(B).
func (j *gemmJob[T]) strip(r rect, j0, p0, depth int, packedA, b []T, ldb int) {
	width, rows := min(j.plan.width, r.j1-j0), r.i1-r.i0
	tiles := ceilDiv(rows, j.g.Rows)
	for t := range tiles {
		i0, i1 := r.i0+t*rows/tiles, r.i0+(t+1)*rows/tiles
		if j.lower && j0 >= i1 {
			continue
		}
		first, end := j.span(i0, i1, j0, j0+width, 0, j.k)
		lo, hi := j.span(i0, i1, j0, j0+width, p0, p0+depth)
		beta := T(1)
		switch {
		case first == end && p0 == 0:
			lo, hi, beta = 0, 0, j.beta // nothing is added here
		case lo == hi:
			continue
		case lo == first:
			beta = j.beta
		}
		a, rsa, csa := j.operandA(r.a, i0, lo)
		if j.plan.packA {
			a, rsa, csa = packedA[(i0-r.i0)*depth+(lo-p0)*(i1-i0):], 1, i1-i0
		}
		c := j.c[r.c+i0*j.ldc+j0:]
		j.g.Tile(i1-i0, width, hi-lo, unsafe.SliceData(a), rsa, csa, unsafe.SliceData(b[(lo-p0)*ldb:]), ldb, &c[0], j.ldc, j.alpha, beta)
	}
}

// smallWork is the number of multiply-adds up to which a product is computed in place: no tasks, no packing.
const smallWork = 64 * 64 * 64

// small computes a product whose B is stored row after row and whose k is one block. The sums have the same order as
// on the general path.
func (s *gemmSpec[T]) small(g *amd64.GEMM[T]) {
	width := stripWidth(g, s.m)
	tiles := ceilDiv(s.m, g.Rows)
	for j0 := 0; j0 < s.n; j0 += width {
		for t := range tiles {
			lo, hi := t*s.m/tiles, (t+1)*s.m/tiles
			a, rsa, csa := s.operandA(0, lo, 0)
			g.Tile(hi-lo, min(width, s.n-j0), s.k, &a[0], rsa, csa, &s.b[j0], s.ldb, &s.c[lo*s.ldc+j0], s.ldc, s.alpha, s.beta)
		}
	}
}

// operandA gives op(A) from row i and column p on, with its strides.
func (s *gemmSpec[T]) operandA(offset, i, p int) (a []T, rsa, csa int) {
	if s.k == 0 {
		return nil, 0, 0
	}
	if s.transA {
		return s.a[offset+p*s.lda+i:], 1, s.lda
	}
	return s.a[offset+i*s.lda+p:], s.lda, 1
}

// packRows is the number of rows of a transposed A that are packed together: one way each of a set of the L1 cache, to
// which all of them belong if their distance is a power of two.
const packRows = 8

// packA copies rows [i, i+rows) and columns [p, p+depth) of op(A) to dst, tile after tile, each column after column.
func (j *gemmJob[T]) packA(offset, i, rows, p, depth int, dst []T) {
	tiles := ceilDiv(rows, j.g.Rows)
	if !j.transA {
		for t := range tiles {
			lo, hi := t*rows/tiles, (t+1)*rows/tiles
			for l := lo; l < hi; l += j.g.Lanes {
				src := j.a[offset+(i+l)*j.lda+p:]
				j.g.Transpose(min(j.g.Lanes, hi-l), depth, &src[0], j.lda, &dst[lo*depth+l-lo], hi-lo)
			}
		}
		return
	}
	for q := 0; q < depth; q += packRows {
		src := j.a[offset+(p+q)*j.lda+i:]
		for t := range tiles {
			lo, hi := t*rows/tiles, (t+1)*rows/tiles
			j.g.Copy(min(packRows, depth-q), hi-lo, &src[lo], j.lda, &dst[lo*depth+q*(hi-lo)], hi-lo)
		}
	}
}

// packB copies columns [col, col+width) and rows [p, p+depth) of op(B) to dst, row after row, plan.width apart.
func (j *gemmJob[T]) packB(offset, col, width, p, depth int, dst []T) {
	if !j.transB {
		src := j.b[offset+p*j.ldb+col:]
		j.g.Copy(depth, width, &src[0], j.ldb, &dst[0], j.plan.width)
		return
	}
	for lo := 0; lo < width; lo += j.g.Lanes {
		src := j.b[offset+(col+lo)*j.ldb+p:]
		j.g.Transpose(min(j.g.Lanes, width-lo), depth, &src[0], j.ldb, &dst[lo], j.plan.width)
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
