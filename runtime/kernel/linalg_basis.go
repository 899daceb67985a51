package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// eigenBasis is asdl.EigenBasis(A[n,n], Q[n,n]) -> (Q_next[n,n], w[n]): eigenvectors of a symmetric matrix, tracked from an
// orthonormal Q near them by rotations of all pairs at once. With B = Q^T A Q, E its off-diagonal part,
// D_jk = B_kk - B_jj and d = |E|/4,
//
//	S_jk = sgn(D) 2 B_jk / (|D| + sqrt(D^2 + 4 B_jk^2 + 4 d^2)),  shortened to |S| <= 0.8
//	Q <- Q (S + sqrt(I + S^2)), then two polar steps Q <- Q (3I - Q^T Q) / 2
//
// until |E|_F <= tol |A|_F or iterations are used up; a trip that does not lower |E|_F is undone and ends it. S is
// antisymmetric, so S + sqrt(I + S^2) is orthogonal; the root is taken to order 4. |S| and |E| are bounded by
// |X^4|_F^(1/4). w is the diagonal of Q_next^T A Q_next; the columns of Q keep their order. Where A is not finite,
// Q_next is Q and w NaN.
type eigenBasis[T amd64.Float] struct {
	pool       *Pool
	n          int
	tol        float64
	iterations int
	a          []T // A over its largest element
	q, nextQ   []T
	b, nextB   []T
	s, t, u    []T
	ws         []byte
}

// basisBuffers is the number of matrices that eigenBasis works on.
const basisBuffers = 8

// longestRotation bounds the spectral norm of S.
const longestRotation = 0.8

func makeEigenBasis[T amd64.Float](c *Call) (Run, error) {
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
	if s := c.In[1].Shape; len(s) != 2 || s[0] != n || s[1] != n {
		return nil, c.Errorf(graph.ErrInvalid, "basis of shape %v for a matrix of side %d", s, n)
	}
	r := &eigenBasis[T]{pool: c.Pool, n: n, tol: float64(c.Node.Float("tol", 0)), iterations: int(c.Node.Int("iterations", 1))}
	buffers, ws := c.Scratch(basisBuffers*sizeOf[T]()*n*n), c.Scratch(GemmWorkspace[T](c.Pool, n, n, n))
	return func(in, out []*Tensor) error {
		m := ScratchOf[T](buffers)
		for i, p := range []*[]T{&r.a, &r.q, &r.nextQ, &r.b, &r.nextB, &r.s, &r.t, &r.u} {
			*p = m[i*n*n : (i+1)*n*n]
		}
		r.ws = ws.Raw
		a := Data[T](in[0])
		r.track(a, Data[T](in[1]))
		if x := optional[T](out, 0); x != nil {
			copy(x, r.q)
		}
		if w := optional[T](out, 1); w != nil {
			r.diagonal(a, w)
		}
		return nil
	}, nil
}

// track leaves the next basis in q.
func (r *eigenBasis[T]) track(a, q []T) {
	copy(r.q, q)
	if !r.load(a) {
		return
	}
	off := r.rotated(r.q, r.b)
	limit := r.tol * math.Sqrt(squaresAbout(r.b, 0))
	for k := 0; k < r.iterations && off > limit; k++ {
		r.rotate()
		next := r.rotated(r.nextQ, r.nextB)
		if !(next < off) {
			break
		}
		r.q, r.nextQ, r.b, r.nextB, off = r.nextQ, r.q, r.nextB, r.b, next
	}
	r.polar(r.nextQ, r.q)
	r.q, r.nextQ = r.nextQ, r.q
}

// load copies A, divided by its largest element so that fourth powers stay in range; false where A is not finite.
func (r *eigenBasis[T]) load(a []T) bool {
	largest, zero := T(0), T(0)
	for _, v := range a {
		zero += 0 * v
		largest = max(largest, v, -v)
	}
	if zero != 0 {
		return false
	}
	if largest == 0 {
		largest = 1
	}
	for i, v := range a {
		r.a[i] = v / largest
	}
	return true
}

// rotated computes b = q^T A q, exactly symmetric, and the norm of its off-diagonal part.
func (r *eigenBasis[T]) rotated(q, b []T) float64 {
	n := r.n
	Gemm(r.pool, false, false, n, n, n, 1, r.a, n, q, n, 0, r.t, n, r.ws)
	gemmSymmetric(r.pool, true, false, n, n, 1, q, n, r.t, n, 0, b, n, r.ws)
	sum := 0.0
	for i := range n {
		sum += 2 * squaresAbout(b[i*n:i*n+i], 0)
	}
	return math.Sqrt(sum)
}

// rotate computes nextQ from q and b.
func (r *eigenBasis[T]) rotate() {
	n := r.n
	copy(r.s, r.b)
	for i := range n {
		r.s[i*n+i] = 0
	}
	r.angles(r.norm2() / 4)
	c := 1.0
	if long := math.Sqrt(r.norm2()); long > longestRotation { // now t is S S^T = -S^2, and u is S^4
		c = longestRotation / long
	}
	one, half, eighth := T(c), T(-c*c/2), T(c*c*c*c/8)
	for i, v := range r.s {
		r.s[i] = one*v + half*r.t[i] - eighth*r.u[i]
	}
	for i := range n {
		r.s[i*n+i]++
	}
	Gemm(r.pool, false, false, n, n, n, 1, r.q, n, r.s, n, 0, r.nextQ, n, r.ws)
	r.polar(r.u, r.nextQ)
	r.polar(r.nextQ, r.u)
}

// norm2 is |s^4|_F^(1/2), a bound of the square of the spectral norm of s, for s symmetric or antisymmetric. It leaves
// s s^T in t and its square in u.
func (r *eigenBasis[T]) norm2() float64 {
	n := r.n
	Syrk(r.pool, false, n, n, 1, r.s, n, 0, r.t, n, r.ws)
	Syrk(r.pool, false, n, n, 1, r.t, n, 0, r.u, n, r.ws)
	return math.Sqrt(math.Sqrt(squaresAbout(r.u, 0)))
}

// angles turns s, the off-diagonal part of b, into S; damp is 4 d^2.
func (r *eigenBasis[T]) angles(damp float64) {
	n, extra := r.n, T(damp)
	for j := range n {
		for k := range j {
			e := r.s[j*n+k]
			gap := r.b[k*n+k] - r.b[j*n+j]
			below := max(gap, -gap) + T(math.Sqrt(float64(gap*gap+4*e*e+extra)))
			v := T(0)
			if below != 0 {
				v = 2 * e / below
			}
			if gap <= 0 { // ties turn like k before j
				v = -v
			}
			r.s[j*n+k], r.s[k*n+j] = v, -v
		}
	}
}

// polar is dst = src (3I - src^T src) / 2, a Newton-Schulz step to the nearest orthogonal matrix. It works in t.
func (r *eigenBasis[T]) polar(dst, src []T) {
	n := r.n
	Syrk(r.pool, true, n, n, -0.5, src, n, 0, r.t, n, r.ws)
	for i := range n {
		r.t[i*n+i] += 1.5
	}
	Gemm(r.pool, false, false, n, n, n, 1, src, n, r.t, n, 0, dst, n, r.ws)
}

// diagonal computes the diagonal of q^T A q.
func (r *eigenBasis[T]) diagonal(a, w []T) {
	n := r.n
	Gemm(r.pool, false, false, n, n, n, 1, a, n, r.q, n, 0, r.t, n, r.ws)
	for j := range n {
		sum := 0.0
		for i := range n {
			sum += float64(r.q[i*n+j]) * float64(r.t[i*n+j])
		}
		w[j] = T(sum)
	}
}
