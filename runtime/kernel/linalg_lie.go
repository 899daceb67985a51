package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// squares checks that the first count inputs are square matrices of one type and size, and gives the size.
func (c *Call) squares(count int) (int, error) {
	n, err := c.square()
	if err != nil {
		return 0, err
	}
	if err := c.needs(count); err != nil {
		return 0, err
	}
	if err := c.sameElem(0); err != nil {
		return 0, err
	}
	for _, in := range c.In[1:count] {
		if len(in.Shape) != 2 || in.Shape[0] != n || in.Shape[1] != n {
			return 0, c.Errorf(graph.ErrInvalid, "input of shape %v beside a matrix of side %d", in.Shape, n)
		}
	}
	return n, nil
}

// normBound is asdl.NormBound: |A x| for the unit vector x along the largest column of a symmetric or antisymmetric A, a
// lower bound of its spectral norm. buffer holds 2n. NaN if A is not finite.
func normBound[T amd64.Float](n int, a, buffer []T) float64 {
	largest := T(0)
	for _, v := range a {
		if v < 0 {
			v = -v
		}
		if v > largest || v != v {
			largest = v
		}
	}
	if largest != largest || math.IsInf(float64(largest), 0) {
		return math.NaN()
	}
	size := max(largest, tinyNorm)
	columns, x := buffer[:n], buffer[n:2*n]
	clear(columns)
	for i := range n {
		for j, v := range a[i*n : (i+1)*n] {
			v /= size
			columns[j] += v * v
		}
	}
	at := 0
	for j, v := range columns {
		if v > columns[at] {
			at = j
		}
	}
	for i := range n {
		x[i] = a[i*n+at] / size
	}
	norm := T(max(math.Sqrt(squaresAbout(x, 0)), tinyNorm))
	for i := range x {
		x[i] /= norm
	}
	for i := range n {
		y := T(0)
		for j, v := range a[i*n : (i+1)*n] {
			y += v / size * x[j]
		}
		columns[i] = y
	}
	return math.Sqrt(squaresAbout(columns, 0)) * float64(size)
}

// makeLieStep is asdl.LieStep(Q[n,n], T[n,n], S[n,n], rate[]) -> Q_next[n,n], one step of a triangular preconditioner on the
// Lie group of upper triangular matrices (Li 2018, equation 23): Q - rate / |T + S| triu(T - S) Q.
func makeLieStep[T amd64.Float](c *Call) (Run, error) {
	n, err := c.squares(3)
	if err != nil {
		return nil, err
	}
	if err := c.needs(4); err != nil {
		return nil, err
	}
	matrix, vectors, ws := c.Scratch(sizeOf[T]()*n*n), c.Scratch(2*sizeOf[T]()*n), c.Scratch(GemmWorkspace[T](c.Pool, n, n, n))
	pool := c.Pool
	return func(in, out []*Tensor) error {
		q, t, s, rate, next := Data[T](in[0]), Data[T](in[1]), Data[T](in[2]), Data[T](in[3])[0], Data[T](out[0])
		g := ScratchOf[T](matrix)
		for i, v := range t {
			g[i] = v + s[i]
		}
		bound := T(max(normBound(n, g, ScratchOf[T](vectors)), tinyNorm))
		for i := range n {
			row := g[i*n : (i+1)*n]
			clear(row[:i])
			for j := i; j < n; j++ {
				row[j] = (t[i*n+j] - s[i*n+j]) / bound
			}
		}
		copy(next, q)
		gemmTriangular(pool, false, false, n, n, n, -rate, g, n, upperTriangle, q, n, dense, 1, next, n, ws.Raw)
		return nil
	}, nil
}

// inverseFree is asdl.InverseFreeStep(Q[n,n], L[], T[n,n], rate[]) -> (Q_next[n,n], L_next[]), one step of a preconditioner
// P = Q^T Q without triangular solves (Li, psgd_torch): L <- max(0.9 L + 0.1 l, l) with l = |T| + c;
// Q <- Q - rate / L (T - c I) Q; then, with R = Q^T - Q over its norm, Q <- Q + a R Q + a^2/2 R R Q for the a up to 1/8 that
// raises the trace of Q most.
type inverseFree[T amd64.Float] struct {
	pool          *Pool
	n             int
	white         float64
	q, r, rq, rrq []T
	vectors       []T
	ws            []byte
}

func makeInverseFree[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	if err := c.needs(4); err != nil {
		return nil, err
	}
	if s := c.In[2].Shape; len(s) != 2 || s[0] != n || s[1] != n {
		return nil, c.Errorf(graph.ErrInvalid, "second moment of shape %v beside a matrix of side %d", s, n)
	}
	f := &inverseFree[T]{pool: c.Pool, n: n, white: float64(c.Node.Float("c", 1))}
	buffers, vectors, ws := c.Scratch(4*sizeOf[T]()*n*n), c.Scratch(2*sizeOf[T]()*n), c.Scratch(GemmWorkspace[T](c.Pool, n, n, n))
	return func(in, out []*Tensor) error {
		m := ScratchOf[T](buffers)
		f.q, f.r, f.rq, f.rrq = m[:n*n], m[n*n:2*n*n], m[2*n*n:3*n*n], m[3*n*n:]
		f.vectors, f.ws = ScratchOf[T](vectors), ws.Raw
		l := f.step(Data[T](in[0]), float64(Data[T](in[1])[0]), Data[T](in[2]), float64(Data[T](in[3])[0]))
		f.symmetrise()
		if x := optional[T](out, 0); x != nil {
			copy(x, f.q)
		}
		if x := optional[T](out, 1); x != nil {
			x[0] = T(l)
		}
		return nil
	}, nil
}

// step moves Q to f.q and returns the next L.
func (f *inverseFree[T]) step(q []T, l float64, t []T, rate float64) float64 {
	n := f.n
	fresh := normBound(n, t, f.vectors) + f.white
	l = math.Max(0.9*l+0.1*fresh, fresh)
	scale := rate / l
	keep := T(1 + f.white*scale)
	for i, v := range q {
		f.q[i] = v * keep
	}
	for i, v := range t {
		f.r[i] = v * T(scale)
	}
	Gemm(f.pool, false, false, n, n, n, -1, f.r, n, q, n, 1, f.q, n, f.ws)
	return l
}

// symmetrise turns f.q towards a symmetric matrix.
func (f *inverseFree[T]) symmetrise() {
	n := f.n
	for i := range n {
		for j := range n {
			f.r[i*n+j] = f.q[j*n+i] - f.q[i*n+j]
		}
	}
	norm := T(max(normBound(n, f.r, f.vectors), tinyNorm))
	for i := range f.r {
		f.r[i] /= norm
	}
	Gemm(f.pool, false, false, n, n, n, 1, f.r, n, f.q, n, 0, f.rq, n, f.ws)
	Gemm(f.pool, false, false, n, n, n, 1, f.r, n, f.rq, n, 0, f.rrq, n, f.ws)
	slope, bend := 0.0, 0.0
	for i := range n {
		slope += float64(f.rq[i*n+i])
		bend += float64(f.rrq[i*n+i])
	}
	if !(slope > 0) {
		return
	}
	a := 0.125
	if bend < 0 {
		a = min(-slope/bend, a)
	}
	for i := range f.q {
		f.q[i] += T(a)*f.rq[i] + T(a*a/2)*f.rrq[i]
	}
}
