package kernel

import "math"

// tridiagonal computes eigenvalues and eigenvectors of a symmetric matrix A of size n:
//
//	A = Q T Q^T   Householder, in panels (as LAPACK's latrd): half of the work is in Gemm
//	T = Z D Z^T   implicit QL; rotations are collected and applied to slabs of Z in parallel
//	V^T = Z^T Q^T blocks of reflectors I - Y W^T, by Gemm
type tridiagonal struct {
	pool *Pool
	n    int

	panel, ws, small *Scratch
	a, d, e          []float64
	u, w             []float64 // [panelWidth, n] reflectors of a panel, and what they do to A
	tau              []float64 // [n]
	work             []float64

	rotations []rotation
	z         []float64 // rows are eigenvectors of T
	turn      func(lo, hi int)
}

// rotation turns rows i and i+1 of Z.
type rotation struct {
	i    int
	c, s float64
}

const (
	panelWidth   = 32
	maxRotations = 4096
)

func newTridiagonal(c *Call, n int) *tridiagonal {
	t := &tridiagonal{pool: c.Pool, n: n, rotations: make([]rotation, 0, maxRotations)}
	t.panel = c.Scratch(8 * (2*panelWidth*n + 3*n))
	t.small = c.Scratch(8 * (panelWidth*n + panelWidth*panelWidth))
	t.ws = c.Scratch(max(GemmWorkspace[float64](c.Pool, n, n, panelWidth), GemmWorkspace[float64](c.Pool, n, n, 1),
		GemmWorkspace[float64](c.Pool, n, 1, n), GemmWorkspace[float64](c.Pool, n, panelWidth, n), GemmWorkspace[float64](c.Pool, panelWidth, panelWidth, n)))
	t.turn = t.turnSlab
	return t
}

// eigen overwrites a; rows of v become eigenvectors. It reports whether QL converged.
func (t *tridiagonal) eigen(a, v, d, e []float64) bool {
	n := t.n
	buf := ScratchOf[float64](t.panel)
	t.a, t.d, t.e, t.z = a, d, e, v
	t.u, buf = buf[:panelWidth*n], buf[panelWidth*n:]
	t.w, buf = buf[:panelWidth*n], buf[panelWidth*n:]
	t.tau, t.work = buf[:n], buf[n:]
	t.reduce()
	clear(v)
	for i := range n {
		v[i*n+i] = 1
	}
	if !t.ql() {
		return false
	}
	t.back()
	return true
}

// reduce makes A tridiagonal from the first column on. Reflector j, I - tau u u^T, has u in column j of A below the
// diagonal, stored as row j of A right of it.
func (t *tridiagonal) reduce() {
	n, ws := t.n, t.ws.Raw
	for j0 := 0; j0 < n-1; j0 += panelWidth {
		j1 := min(j0+panelWidth, n-1)
		clear(t.u)
		clear(t.w)
		for j := j0; j < j1; j++ {
			t.column(j0, j)
		}
		rest, k := n-j1, j1-j0
		a := t.a[j1*n+j1:]
		// A <- A - U W^T - W U^T on what is left
		Gemm(t.pool, true, false, rest, rest, k, -1, t.u[j1:], n, t.w[j1:], n, 1, a, n, ws)
		Gemm(t.pool, true, false, rest, rest, k, -1, t.w[j1:], n, t.u[j1:], n, 1, a, n, ws)
		for j := j0; j < j1; j++ {
			copy(t.a[j*n+j+1:(j+1)*n], t.u[(j-j0)*n+j+1:])
		}
	}
	t.d[n-1] = t.a[n*n-1]
	t.e[n-1], t.tau[n-1] = 0, 0
}

// column brings row j of A up to date with the panel's reflectors j0..j, and makes reflector j and its row of W.
func (t *tridiagonal) column(j0, j int) {
	n, k := t.n, j-j0
	row := t.a[j*n : (j+1)*n]
	for r := range k {
		u, w := t.u[r*n:(r+1)*n], t.w[r*n:(r+1)*n]
		uj, wj := u[j], w[j]
		for i := j; i < n; i++ {
			row[i] -= uj*w[i] + wj*u[i]
		}
	}
	t.d[j] = row[j]
	u, w := t.u[k*n:(k+1)*n], t.w[k*n:(k+1)*n]
	t.e[j], t.tau[j] = reflector(u[j+1:], row[j+1:])
	tau := t.tau[j]
	if tau == 0 {
		return
	}
	// w = tau (A u - U W^T u - W U^T u), then w -= tau/2 (w.u) u
	m := n - j - 1
	Gemm(t.pool, false, false, m, 1, m, tau, t.a[(j+1)*n+j+1:], n, u[j+1:], 1, 0, w[j+1:], 1, t.ws.Raw)
	for r := range k {
		ur, wr := t.u[r*n+j+1:(r+1)*n], t.w[r*n+j+1:(r+1)*n]
		wu, uu := tau*dot64(wr, u[j+1:]), tau*dot64(ur, u[j+1:])
		for i := range m {
			w[j+1+i] -= wu*ur[i] + uu*wr[i]
		}
	}
	half := tau / 2 * dot64(w[j+1:], u[j+1:])
	for i := j + 1; i < n; i++ {
		w[i] -= half * u[i]
	}
}

// reflector gives u with u[0] = 1 and tau such that (I - tau u u^T) x = (beta, 0, ...).
func reflector(u, x []float64) (beta, tau float64) {
	scale := 0.0
	for _, v := range x[1:] {
		scale = max(scale, math.Abs(v))
	}
	clear(u)
	u[0] = 1
	if scale == 0 {
		return x[0], 0
	}
	scale = max(scale, math.Abs(x[0]))
	sum := 0.0
	for _, v := range x {
		sum += v / scale * (v / scale)
	}
	beta = -math.Copysign(scale*math.Sqrt(sum), x[0])
	for i, v := range x[1:] {
		u[i+1] = v / (x[0] - beta)
	}
	return beta, (beta - x[0]) / beta
}

func dot64(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// ql diagonalises T with Wilkinson's shift; false when an eigenvalue takes too many sweeps.
func (t *tridiagonal) ql() bool {
	const sweeps = 60
	n, d, e := t.n, t.d, t.e
	t.rotations = t.rotations[:0]
	// What is below the rounding of the largest element came from rounding: T is as far from A. Without this bound the
	// many equal eigenvalues of a matrix of low rank on a small ridge would not separate.
	floor := 0.0
	for i := range d {
		floor = max(floor, 0x1p-53*(math.Abs(d[i])+math.Abs(e[i])))
	}
	for l := range n {
		for sweep := 0; ; sweep++ {
			m := l
			for ; m < n-1; m++ {
				if math.Abs(e[m]) <= max(floor, 0x1p-53*(math.Abs(d[m])+math.Abs(d[m+1]))) {
					break
				}
			}
			if m == l {
				break
			}
			if sweep == sweeps {
				return false
			}
			t.sweep(l, m)
		}
	}
	t.flush()
	return true
}

// sweep is one implicit QL step on rows l..m of T.
func (t *tridiagonal) sweep(l, m int) {
	d, e := t.d, t.e
	g := (d[l+1] - d[l]) / (2 * e[l])
	r := math.Hypot(g, 1)
	g = d[m] - d[l] + e[l]/(g+math.Copysign(r, g))
	s, c, p := 1.0, 1.0, 0.0
	for i := m - 1; i >= l; i-- {
		f, b := s*e[i], c*e[i]
		r = math.Sqrt(f*f + g*g)
		if r < 0x1p-500 || r > 0x1p500 {
			r = math.Hypot(f, g)
		}
		e[i+1] = r
		if r == 0 { // T splits here
			d[i+1] -= p
			e[m] = 0
			return
		}
		s, c = f/r, g/r
		g = d[i+1] - p
		r = (d[i]-g)*s + 2*c*b
		p = s * r
		d[i+1] = g + p
		g = c*r - b
		t.rotations = append(t.rotations, rotation{i, c, s})
		if len(t.rotations) == maxRotations {
			t.flush()
		}
	}
	d[l] -= p
	e[l] = g
	e[m] = 0
}

// slabWidth is how many columns of Z a worker turns at a time: they stay in its cache while all rotations pass.
const slabWidth = 64

// flush applies the collected rotations to Z.
func (t *tridiagonal) flush() {
	if len(t.rotations) > 0 {
		t.pool.For((t.n+slabWidth-1)/slabWidth, 1, t.turn)
		t.rotations = t.rotations[:0]
	}
}

func (t *tridiagonal) turnSlab(lo, hi int) {
	for slab := lo; slab < hi; slab++ {
		j0, j1 := slab*slabWidth, min((slab+1)*slabWidth, t.n)
		for _, r := range t.rotations {
			i := r.i
			x, y := t.z[i*t.n+j0:i*t.n+j1], t.z[(i+1)*t.n+j0:(i+1)*t.n+j1]
			y = y[:len(x)]
			for k, f := range y {
				g := x[k]
				y[k] = r.s*g + r.c*f
				x[k] = r.c*g - r.s*f
			}
		}
	}
}

// back computes Z <- Z Q^T with Q = H_0 ... H_{n-2}, a panel P = I - U^T S U of reflectors at a time and the last one
// first: Z P^T = Z - (Z U^T) S^T U.
func (t *tridiagonal) back() {
	n, ws := t.n, t.ws.Raw
	buf := ScratchOf[float64](t.small)
	zu, s := buf[:panelWidth*n], buf[panelWidth*n:]
	last := (n - 2) / panelWidth * panelWidth
	for j0 := last; j0 >= 0; j0 -= panelWidth {
		k := min(panelWidth, n-1-j0)
		cols := n - j0 - 1
		t.unpack(j0, k)
		u := t.u[j0+1:]
		t.compact(s, j0, k)
		Gemm(t.pool, false, true, n, k, cols, 1, t.z[j0+1:], n, u, n, 0, zu, k, ws)
		// W = S^T U, then Z <- Z - (Z U^T) W
		Gemm(t.pool, true, false, k, cols, k, 1, s, k, u, n, 0, t.w[j0+1:], n, ws)
		Gemm(t.pool, false, false, n, cols, k, -1, zu, k, t.w[j0+1:], n, 1, t.z[j0+1:], n, ws)
	}
}

// unpack copies the reflectors j0..j0+k from A to rows of U.
func (t *tridiagonal) unpack(j0, k int) {
	clear(t.u)
	for r := range k {
		j := j0 + r
		copy(t.u[r*t.n+j+1:(r+1)*t.n], t.a[j*t.n+j+1:(j+1)*t.n])
	}
}

// compact computes the upper triangular S with H_j0 ... H_j0+k-1 = I - U^T S U (Schreiber and Van Loan 1989).
func (t *tridiagonal) compact(s []float64, j0, k int) {
	n := t.n
	clear(s[:k*k])
	for j := range k {
		tau := t.tau[j0+j]
		for i := range j {
			t.work[i] = -tau * dot64(t.u[i*n:(i+1)*n], t.u[j*n:(j+1)*n])
		}
		for i := range j {
			sum := 0.0
			for r := i; r < j; r++ {
				sum += s[i*k+r] * t.work[r]
			}
			s[i*k+j] = sum
		}
		s[j*k+j] = tau
	}
}
