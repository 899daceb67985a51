package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// inverseRoot is asdl.InverseRoot(A[n,n]) -> X[n,n], A^(-1/p) of a symmetric positive definite matrix by a coupled iteration (after
// Iannazzo 2006; Guo and Higham 2006, "A Schur-Newton method for the matrix pth root and its inverse"):
//
//	z = 1/|A|_F,  X = z^(1/p) I,  M = zA
//	T = a I + b M + c M^2,  X <- XT,  M <- T^p M
//
// until |M-I|_F is below tol, or iterations are used up. (a, b, c) is row k of the attribute coefficients in trip k, the last row from
// |M-I|_F < 1/2 on, and after the others. The eigenvalues of M lie in (0, 1] and end at 1, so that norm is at most sqrt(n), and
// under the last row, whose error is cubed each trip, it can only grow by rounding; the largest entry, by which other codes judge
// growth, can grow while the iteration converges. A trip that makes it 1.2 times as large is discarded and the last. Below 0.1 a
// trip that does not halve the norm has met rounding, and one from sqrt(tol) leads below tol: they are the last.
// An A that is zero or not finite gives NaN. In single precision, rootOfPoles takes its place for larger matrices.
type inverseRoot[T amd64.Float] struct {
	pool         *Pool
	n, p         int
	coefficients [][3]T
	tol          float64
	iterations   int
	x, m, t      []T
	free         [2][]T // for powers of T, then for the next X and M
	ws           []byte
}

// rootBuffers is the number of matrices that inverseRoot works on beside its result.
const rootBuffers = 4

func makeInverseRoot[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	table, err := coefficients[T](c)
	if err != nil {
		return nil, err
	}
	r := &inverseRoot[T]{
		pool: c.Pool, n: n, p: int(c.Node.Int("p", 0)), tol: float64(c.Node.Float("tol", 1e-6)),
		iterations: int(c.Node.Int("iterations", 100)), coefficients: table,
	}
	if r.p < 1 {
		return nil, c.Errorf(graph.ErrInvalid, "attribute p=%d, want a positive number", r.p)
	}
	if n >= poleSide && sizeOf[T]() == sizeOf[float32]() && poleSumOf(r.p) != nil {
		return newRootOfPoles(c, n, r.p), nil
	}
	buffers, ws := c.Scratch(rootBuffers*sizeOf[T]()*n*n), c.Scratch(GemmWorkspace[T](c.Pool, n, n, n))
	return func(in, out []*Tensor) error {
		b := ScratchOf[T](buffers)
		for i, m := range []*[]T{&r.m, &r.t, &r.free[0], &r.free[1]} {
			*m = b[i*n*n : (i+1)*n*n]
		}
		r.x, r.ws = Data[T](out[0]), ws.Raw
		r.solve(Data[T](in[0]), Data[T](out[0]))
		return nil
	}, nil
}

func (r *inverseRoot[T]) solve(a, out []T) {
	z := 1 / math.Sqrt(squaresAbout(a, 0))
	if math.IsNaN(z) || math.IsInf(z, 0) || z == 0 {
		setAll(out, T(math.NaN()))
		return
	}
	clear(r.x)
	for i := range r.n {
		r.x[i*r.n+i] = T(math.Pow(z, 1/float64(r.p)))
	}
	for i, v := range a {
		r.m[i] = T(z) * v
	}
	final := len(r.coefficients) - 1
	ceiling := 1.2 * math.Sqrt(float64(r.n))
	norm := r.distance(r.m)
	trips := r.iterations
	if norm <= r.tol {
		trips = 0
	}
	for k := range trips {
		row := min(k, final)
		if norm < 0.5 {
			row = final
		}
		last := norm <= math.Sqrt(r.tol)
		r.polynomial(r.coefficients[row])
		if last {
			r.multiply(r.free[0], r.x, r.t)
			r.x = r.free[0]
			break
		}
		power, nextM := r.raised()
		r.multiply(nextM, power, r.m)
		nextNorm := r.distance(nextM)
		bound := ceiling
		if row == final {
			bound = 1.2 * norm
		}
		if !(nextNorm <= bound) {
			break
		}
		stalled := norm < 0.1 && nextNorm > 0.5*norm
		nextX := r.other(nextM)
		r.multiply(nextX, r.x, r.t)
		r.free = [2][]T{r.x, r.m}
		r.x, r.m, norm = nextX, nextM, nextNorm
		if stalled {
			break
		}
	}
	if &out[0] != &r.x[0] {
		copy(out, r.x)
	}
}

// other is the free buffer that b is not.
func (r *inverseRoot[T]) other(b []T) []T {
	if &b[0] == &r.free[0][0] {
		return r.free[1]
	}
	return r.free[0]
}

// distance is |M-I|_F; NaN if an element is NaN.
func (r *inverseRoot[T]) distance(m []T) float64 {
	sum := 0.0
	for i := range r.n {
		row := m[i*r.n : (i+1)*r.n]
		diagonal := row[i]
		row[i]--
		sum += squaresAbout(row, 0)
		row[i] = diagonal
	}
	return math.Sqrt(sum)
}

// polynomial is T = a I + b M + c M^2.
func (r *inverseRoot[T]) polynomial(q [3]T) {
	r.multiply(r.t, r.m, r.m)
	a, b, c := q[0], q[1], q[2]
	for i, v := range r.m[:len(r.t)] {
		r.t[i] = c*r.t[i] + b*v
	}
	for i := range r.n {
		r.t[i*r.n+i] += a
	}
}

// raised is T^p by repeated squaring, in T itself or one of the free buffers, which take turns, and a free buffer that it is
// not in.
func (r *inverseRoot[T]) raised() (power, next []T) {
	power, next = r.t, r.free[0]
	step := func(by []T) {
		r.multiply(next, power, by)
		power, next = next, r.other(next)
	}
	for bit := topBit(r.p) >> 1; bit > 0; bit >>= 1 {
		if step(power); r.p&bit != 0 {
			step(r.t)
		}
	}
	return power, next
}

func topBit(p int) int {
	bit := 1
	for bit<<1 <= p {
		bit <<= 1
	}
	return bit
}

// multiply is c = a b for polynomials a and b of one symmetric matrix, which commute.
func (r *inverseRoot[T]) multiply(c, a, b []T) {
	gemmSymmetric(r.pool, false, false, r.n, r.n, 1, a, r.n, b, r.n, 0, c, r.n, r.ws)
}

// makePowerIteration is asdl.PowerIteration(A[n,n], v[n]) -> lambda[], the greatest eigenvalue of a symmetric positive
// semi-definite matrix from start vector v: v <- v/|v|, u = Av, lambda = v.u, v <- u, until lambda moves by no more than
// tol or iterations are used up.
func makePowerIteration[T amd64.Float](c *Call) (Run, error) {
	n, err := c.square()
	if err != nil {
		return nil, err
	}
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	if err := c.vector(n, 1); err != nil {
		return nil, err
	}
	tol, iterations := float64(c.Node.Float("tol", 1e-6)), int(c.Node.Int("iterations", 100))
	buffers, ws := c.Scratch(2*sizeOf[T]()*n), c.Scratch(GemmWorkspace[T](c.Pool, n, 1, n))
	pool := c.Pool
	return func(in, out []*Tensor) error {
		a, b := Data[T](in[0]), ScratchOf[T](buffers)
		v, u := b[:n], b[n:]
		copy(v, Data[T](in[1]))
		lambda := 0.0
		for range iterations {
			norm := T(math.Sqrt(squaresAbout(v, 0)))
			for i := range v {
				v[i] /= norm
			}
			Gemm(pool, false, false, n, 1, n, 1, a, n, v, 1, 0, u, 1, ws.Raw)
			next := 0.0
			for i, e := range v {
				next += float64(e) * float64(u[i])
			}
			moved := math.Abs(next - lambda)
			lambda, v, u = next, u, v
			if !(moved > tol) {
				break
			}
		}
		Data[T](out[0])[0] = T(lambda)
		return nil
	}, nil
}
