package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// polar is asdl.Polar(X[m,n]) -> O[m,n], about U V^T for X = U S V^T (Kovarik 1970; Bjoerck & Bowie 1971): X over its
// Frobenius norm, then for each row (a, b, c) of the attribute coefficients
//
//	X <- a X + (b A + c A^2) X,  A = X X^T
//
// X = 0 gives 0; an X that is not finite gives NaN.
type polar[T amd64.Float] struct {
	pool         *Pool
	m, n         int
	coefficients [][3]T
	gram, square []T
	next         []T
	ws           []byte
}

// tinyNorm bounds what a matrix is divided by.
const tinyNorm = 1e-30

func makePolar[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	s := c.In[0].Shape
	if len(s) != 2 {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v, want a matrix", s)
	}
	table, err := coefficients[T](c)
	if err != nil {
		return nil, err
	}
	p := &polar[T]{pool: c.Pool, m: s[0], n: s[1], coefficients: table}
	squares, next := c.Scratch(2*sizeOf[T]()*p.m*p.m), c.Scratch(sizeOf[T]()*p.m*p.n)
	ws := c.Scratch(max(GemmWorkspace[T](c.Pool, p.m, p.m, p.n), GemmWorkspace[T](c.Pool, p.m, p.m, p.m), GemmWorkspace[T](c.Pool, p.m, p.n, p.m)))
	return func(in, out []*Tensor) error {
		b := ScratchOf[T](squares)
		p.gram, p.square, p.next, p.ws = b[:p.m*p.m], b[p.m*p.m:], ScratchOf[T](next), ws.Raw
		p.run(Data[T](in[0]), Data[T](out[0]))
		return nil
	}, nil
}

// coefficients are the rows (a, b, c) of the attribute of that name.
func coefficients[T amd64.Float](c *Call) ([][3]T, error) {
	attr, ok := c.Node.Attr("coefficients")
	if !ok || attr.T == nil || attr.T.Elem != graph.Float64 || len(attr.T.Shape) != 2 || attr.T.Shape[1] != 3 || attr.T.Shape[0] == 0 {
		return nil, c.Errorf(graph.ErrInvalid, "attribute coefficients: want a double tensor of three columns")
	}
	var rows [][3]T
	flat := graph.Data[float64](attr.T)
	for i := 0; i < len(flat); i += 3 {
		rows = append(rows, [3]T{T(flat[i]), T(flat[i+1]), T(flat[i+2])})
	}
	return rows, nil
}

func (p *polar[T]) run(in, out []T) {
	x, next := out, p.next
	normalise(x, in)
	m, n := p.m, p.n
	for _, c := range p.coefficients {
		Syrk(p.pool, false, m, n, 1, x, n, 0, p.gram, m, p.ws)
		gemmSymmetric(p.pool, false, false, m, m, c[2], p.gram, m, p.gram, m, 0, p.square, m, p.ws)
		for i, g := range p.gram {
			p.square[i] += c[1] * g
		}
		copy(next, x)
		Gemm(p.pool, false, false, m, n, m, 1, p.square, m, x, n, c[0], next, n, p.ws)
		x, next = next, x
	}
	if len(p.coefficients)%2 == 1 {
		copy(out, x)
	}
}

// normalise writes x over its Frobenius norm, by way of its largest entry so that no square overflows.
func normalise[T amd64.Float](y, x []T) {
	largest := T(0)
	for _, v := range x {
		if v < 0 {
			v = -v
		}
		if v > largest || v != v {
			largest = v
		}
	}
	if !(largest <= T(math.Inf(1))) || math.IsInf(float64(largest), 0) {
		setAll(y, T(math.NaN()))
		return
	}
	largest = max(largest, tinyNorm)
	for i, v := range x {
		y[i] = v / largest
	}
	norm := T(max(math.Sqrt(squaresAbout(y, 0)), tinyNorm))
	for i := range y {
		y[i] /= norm
	}
}
