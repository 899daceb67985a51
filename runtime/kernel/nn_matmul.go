package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// products is a list of matrix products of one size, C_i = op(A_i) op(B_i), at element offsets into three tensors.
type products[T amd64.Float] struct {
	pool             *Pool
	transA, transB   bool
	m, n, k          int
	lda, ldb, ldc    int
	aOff, bOff, cOff []int
	a, b, c          []T

	ws   *Scratch    // for products that the pool shares, one after another
	each *tasks      // for products that run side by side, each on one worker
	wss  slotScratch // their scratch
}

// sharedFlops is the size above which a product is worth dividing among workers.
const sharedFlops = 2 * 256 * 256 * 256

// plan claims scratch and decides how the pool is used.
func (p *products[T]) plan(c *Call) {
	p.pool = c.Pool
	workers := c.Pool.Size()
	many := len(p.cOff)
	if many > 1 && workers > 1 && (many >= 4*workers || 2*p.m*p.n*p.k < sharedFlops) {
		p.each = newTasks(c.Pool, many, func(slot, i int) { p.one(p.each.inner, i, p.wss.at(slot)) })
		p.wss = c.slotScratch(p.each.slots, GemmWorkspace[T](p.each.inner, p.m, p.n, p.k))
		return
	}
	p.ws = c.Scratch(GemmWorkspace[T](c.Pool, p.m, p.n, p.k))
}

func (p *products[T]) one(pool *Pool, i int, ws []byte) {
	Gemm(pool, p.transA, p.transB, p.m, p.n, p.k, 1, p.a[p.aOff[i]:], p.lda, p.b[p.bOff[i]:], p.ldb,
		0, p.c[p.cOff[i]:], p.ldc, ws)
}

func (p *products[T]) run(a, b, c []T) {
	if p.m == 0 || p.n == 0 || len(p.cOff) == 0 {
		return
	}
	if p.k == 0 {
		clear(c)
		return
	}
	p.a, p.b, p.c = a, b, c
	if p.each != nil {
		p.each.run()
	} else {
		for i := range p.cOff {
			p.one(p.pool, i, p.ws.Raw)
		}
	}
	p.a, p.b, p.c = nil, nil, nil
}

// matMulSize is the geometry of MatMul: numpy's rules, 1-d operands get a dimension that the result does not show.
type matMulSize struct {
	m, n, k          int
	aOff, bOff, cOff []int
}

// sizeMatMul reads the shapes; with transA or transB, an operand of two dimensions or more is stored with its last two exchanged.
func sizeMatMul(c *Call, transA, transB bool) (matMulSize, error) {
	var g matMulSize
	a, b := exchanged(c.In[0].Shape, transA), exchanged(c.In[1].Shape, transB)
	if len(a) == 0 || len(b) == 0 {
		return g, c.Errorf(graph.ErrInvalid, "scalar operand: shapes %v and %v; use Mul", a, b)
	}
	if len(a) == 1 {
		a = []int{1, a[0]}
	}
	if len(b) == 1 {
		b = []int{b[0], 1}
	}
	ra, rb := len(a), len(b)
	g.m, g.k, g.n = a[ra-2], a[ra-1], b[rb-1]
	if b[rb-2] != g.k {
		return g, c.Errorf(graph.ErrInvalid, "inner dimensions %d and %d of %v and %v differ", g.k, b[rb-2], c.In[0].Shape, c.In[1].Shape)
	}
	if rb == 2 && (ra == 2 || !transA) { // one matrix on the right: the rows of all batches are one product
		g.m *= Count(a[:ra-2])
		g.aOff, g.bOff, g.cOff = []int{0}, []int{0}, []int{0}
		return g, nil
	}
	batch, ok := broadcastBatch(a[:ra-2], b[:rb-2])
	if !ok {
		return g, c.Errorf(graph.ErrInvalid, "batch dimensions of %v and %v do not broadcast", c.In[0].Shape, c.In[1].Shape)
	}
	g.aOff = batchOffsets(batch, a[:ra-2], g.m*g.k)
	g.bOff = batchOffsets(batch, b[:rb-2], g.k*g.n)
	g.cOff = batchOffsets(batch, batch, g.m*g.n)
	return g, nil
}

// exchanged is a shape with its last two dimensions exchanged if swap says so.
func exchanged(s []int, swap bool) []int {
	if !swap || len(s) < 2 {
		return s
	}
	s = slices.Clone(s)
	r := len(s)
	s[r-1], s[r-2] = s[r-2], s[r-1]
	return s
}

// broadcastBatch is the broadcast of two shapes.
func broadcastBatch(a, b []int) ([]int, bool) {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		x, y := dimFromEnd(a, len(out)-i), dimFromEnd(b, len(out)-i)
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil, false
		}
	}
	return out, true
}

func dimFromEnd(s []int, i int) int {
	if i > len(s) {
		return 1
	}
	return s[len(s)-i]
}

// batchOffsets lists, for each index of batch in order, the element offset of a matrix of the given size in a tensor
// whose leading dimensions are shape, broadcast to batch.
func batchOffsets(batch, shape []int, size int) []int {
	strides := make([]int, len(batch))
	step := size
	for i := 1; i <= len(shape); i++ {
		if d := shape[len(shape)-i]; d != 1 {
			strides[len(batch)-i] = step
			step *= d
		}
	}
	offs := make([]int, 0, Count(batch))
	index := make([]int, len(batch))
	off := 0
	for n := Count(batch); n > 0; n-- {
		offs = append(offs, off)
		for d := len(batch) - 1; d >= 0; d-- {
			index[d]++
			off += strides[d]
			if index[d] < batch[d] {
				break
			}
			off -= strides[d] * batch[d]
			index[d] = 0
		}
	}
	return offs
}

// makeMatMul is ONNX MatMul, numpy.matmul, and asdl.MatMul, which has attributes transA and transB, and triangleA and triangleB
// where only the upper or lower triangle of a square op(A) or op(B) counts.
func makeMatMul[T amd64.Float](c *Call) (Run, error) {
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	transA, transB := c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0
	g, err := sizeMatMul(c, transA, transB)
	if err != nil {
		return nil, err
	}
	p := &products[T]{
		transA: transA, transB: transB, m: g.m, n: g.n, k: g.k, lda: g.k, ldb: g.n, ldc: g.n,
		aOff: g.aOff, bOff: g.bOff, cOff: g.cOff,
	}
	if transA {
		p.lda = g.m
	}
	if transB {
		p.ldb = g.k
	}
	if ta, tb := triangleOf(c.Node.Str("triangleA", "")), triangleOf(c.Node.Str("triangleB", "")); ta != dense || tb != dense {
		return p.triangular(c, ta, tb)
	}
	p.plan(c)
	return func(in, out []*Tensor) error {
		p.run(Data[T](in[0]), Data[T](in[1]), Data[T](out[0]))
		return nil
	}, nil
}

// triangular is the product of two matrices of which one at least is triangular.
func (p *products[T]) triangular(c *Call, ta, tb triangle) (Run, error) {
	if len(p.cOff) != 1 || ta != dense && p.m != p.k || tb != dense && p.n != p.k {
		return nil, c.Errorf(graph.ErrInvalid, "triangular operands in %d products of %dx%d and %dx%d", len(p.cOff), p.m, p.k, p.k, p.n)
	}
	ws := c.Scratch(triangularWorkspace[T](c.Pool, p.m, p.n, p.k))
	pool := c.Pool
	return func(in, out []*Tensor) error {
		gemmTriangular(pool, p.transA, p.transB, p.m, p.n, p.k, 1, Data[T](in[0]), p.lda, ta, Data[T](in[1]), p.ldb, tb, 0, Data[T](out[0]), p.ldc, ws.Raw)
		return nil
	}, nil
}

// gemmCall is the geometry of an ONNX Gemm: Y = alpha op(A) op(B) + beta C, C broadcast to Y. Without C, beta is 0.
type gemmCall struct {
	m, n, k, lda, ldb int
	transA, transB    bool
	alpha, beta       float32
	add               gemmAddend
}

func sizeGemm(c *Call) (g gemmCall, err error) {
	if err := c.sameElem(0); err != nil {
		return g, err
	}
	a, b := c.In[0].Shape, c.In[1].Shape
	if len(a) != 2 || len(b) != 2 {
		return g, c.Errorf(graph.ErrInvalid, "operands of shape %v and %v, want matrices", a, b)
	}
	g.transA, g.transB = c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0
	g.lda, g.ldb = a[1], b[1]
	g.m, g.k = pick(g.transA, a[1], a[0]), pick(g.transA, a[0], a[1])
	kb, n := pick(g.transB, b[1], b[0]), pick(g.transB, b[0], b[1])
	if g.n = n; g.k != kb {
		return g, c.Errorf(graph.ErrInvalid, "inner dimensions %d and %d of %v and %v differ", g.k, kb, a, b)
	}
	g.alpha, g.beta = c.Node.Float("alpha", 1), c.Node.Float("beta", 1)
	g.add = gemmAddend{m: g.m, n: g.n}
	if !c.has(2) {
		g.beta = 0
	} else if !g.add.fit(c.In[2].Shape) {
		return g, c.Errorf(graph.ErrInvalid, "C of shape %v does not broadcast to [%d %d]", c.In[2].Shape, g.m, g.n)
	}
	return g, nil
}

// makeGemm is ONNX Gemm. With beta 0, C is not read.
func makeGemm[T amd64.Float](c *Call) (Run, error) {
	g, err := sizeGemm(c)
	if err != nil {
		return nil, err
	}
	m, n, k, alpha, beta := g.m, g.n, g.k, T(g.alpha), T(g.beta)
	ws := c.Scratch(GemmWorkspace[T](c.Pool, m, n, k))
	pool := c.Pool
	return func(in, out []*Tensor) error {
		y := Data[T](out[0])
		if beta != 0 {
			fillAddend(&g.add, y, Data[T](in[2]))
		}
		switch {
		case m == 0 || n == 0:
		case k == 0:
			for i := range y {
				if beta == 0 {
					y[i] = 0
				} else {
					y[i] *= beta
				}
			}
		default:
			Gemm(pool, g.transA, g.transB, m, n, k, alpha, Data[T](in[0]), g.lda, Data[T](in[1]), g.ldb, beta, y, n, ws.Raw)
		}
		return nil
	}, nil
}

func pick(first bool, a, b int) int {
	if first {
		return a
	}
	return b
}

// gemmAddend broadcasts C to [m,n].
type gemmAddend struct{ m, n, rowStep, colStep int }

func (g *gemmAddend) fit(shape []int) bool {
	if len(shape) > 2 {
		return false
	}
	rows, cols := dimFromEnd(shape, 2), dimFromEnd(shape, 1)
	if (rows != 1 && rows != g.m) || (cols != 1 && cols != g.n) {
		return false
	}
	if cols != 1 {
		g.colStep = 1
	}
	if rows != 1 {
		g.rowStep = cols
	}
	return true
}

func fillAddend[T graph.Number](g *gemmAddend, y, c []T) {
	for i := range g.m {
		row := y[i*g.n : (i+1)*g.n]
		if g.colStep == 1 {
			copy(row, c[i*g.rowStep:])
			continue
		}
		v := c[i*g.rowStep]
		for j := range row {
			row[j] = v
		}
	}
}
