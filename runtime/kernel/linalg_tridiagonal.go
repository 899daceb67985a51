package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// tridiagonal computes eigenvalues and eigenvectors of a symmetric matrix A of size n:
//
//	A = Q T Q^T   Householder, in panels (as LAPACK's latrd): half of the work is in Gemm
//	T = Z D Z^T   divide and conquer (see divide), implicit QL for small blocks
//	V^T = Z^T Q^T blocks of reflectors I - Y W^T, by Gemm
type tridiagonal struct {
	pool *Pool
	g    *amd64.GEMM[float64]
	n    int

	panel, ws, small *Scratch
	a, d, e          []float64
	panels           []float64 // rows of length n: U, W, U again of a panel; U, W of backWidth reflectors
	u, w             []float64 // reflectors, and what they do to A or Z
	tau              []float64 // [n]
	work             []float64

	z      []float64 // rows are eigenvectors of T
	divide *divide

	// The product of A with a vector, from first on.
	first    int
	vector   []float64
	partial  []float64 // [lanes, n], then [lanes, bandRows]
	runLanes func(lo, hi int)
}

const (
	panelWidth = 32 // reflectors before the rest of A is brought up to date
	backWidth  = 64 // reflectors that are applied to Z in one go
	// From a side of halfSide on, A is read by half in a product with a vector: in bands of bandRows, of which the second use finds
	// them in the cache. Sums of the lanes, which take bands in turn, are added in order, so that workers change no bit.
	halfSide = 512
	bandRows = 16
	lanes    = 4
)

func newTridiagonal(c *Call, n int) *tridiagonal {
	t := &tridiagonal{pool: c.Pool, g: amd64.MatrixOf[float64](c.Pool.Kernels()), n: n, divide: newDivide(c, n)}
	t.panel = c.Scratch(8 * (2*backWidth*n + n + 2*panelWidth + lanes*(n+bandRows)))
	t.runLanes = t.multiplyBands
	t.small = c.Scratch(8 * (backWidth*n + backWidth*backWidth))
	t.ws = c.Scratch(max(gemmWorkspaceUpTo[float64](c.Pool, n, n, 2*panelWidth), gemmWorkspaceUpTo[float64](c.Pool, n, 1, n),
		gemmWorkspaceUpTo[float64](c.Pool, n, backWidth, n), gemmWorkspaceUpTo[float64](c.Pool, backWidth, n, backWidth)))
	return t
}

// eigen overwrites a; rows of v become eigenvectors, in the order of d. It reports whether all eigenvalues converged.
func (t *tridiagonal) eigen(a, v, d, e []float64) bool {
	n := t.n
	buf := ScratchOf[float64](t.panel)
	t.a, t.d, t.e, t.z = a, d, e, v
	t.panels, buf = buf[:2*backWidth*n], buf[2*backWidth*n:]
	t.u, t.w = t.panels[:panelWidth*n], t.panels[panelWidth*n:2*panelWidth*n]
	t.tau, t.work, t.partial = buf[:n], buf[n:n+2*panelWidth], buf[n+2*panelWidth:]
	t.reduce()
	if !t.divide.eigen(d, e, v) {
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
		// A <- A - U^T W - W^T U on what is left
		copy(t.panels[2*panelWidth*n:], t.u) // U, W and W, U are rows on end
		gemmSymmetric(t.pool, true, false, n-j1, 2*panelWidth, -1, t.panels[j1:], n, t.panels[panelWidth*n+j1:], n, 1, t.a[j1*n+j1:], n, ws)
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
	t.addRows(k, -1, t.u[j:], n, t.w[j:], row[j:])
	t.addRows(k, -1, t.w[j:], n, t.u[j:], row[j:])
	t.d[j] = row[j]
	u, w := t.u[k*n:(k+1)*n], t.w[k*n:(k+1)*n]
	t.e[j], t.tau[j] = reflector(u[j+1:], row[j+1:])
	tau := t.tau[j]
	if tau == 0 {
		return
	}
	// w = tau (A u - U^T W u - W^T U u), then w -= tau/2 (w.u) u
	m := n - j - 1
	t.multiply(j+1, tau, u, w)
	if k > 0 {
		wu, uu := t.work[:k], t.work[k:2*k]
		t.g.DotRows(k, m, &t.w[j+1], n, &u[j+1], &wu[0])
		t.g.DotRows(k, m, &t.u[j+1], n, &u[j+1], &uu[0])
		t.addRows(k, -tau, wu, 1, t.u[j+1:], w[j+1:])
		t.addRows(k, -tau, uu, 1, t.w[j+1:], w[j+1:])
	}
	half := tau / 2 * dot64(w[j+1:], u[j+1:])
	for i := j + 1; i < n; i++ {
		w[i] -= half * u[i]
	}
}

// multiply is w = tau A u from row and column first on.
func (t *tridiagonal) multiply(first int, tau float64, u, w []float64) {
	n, m := t.n, t.n-first
	if m < halfSide {
		Gemm(t.pool, false, false, m, 1, m, tau, t.a[first*n+first:], n, u[first:], 1, 0, w[first:], 1, t.ws.Raw)
		return
	}
	t.first, t.vector = first, u
	t.pool.For(lanes, 1, t.runLanes)
	for i := first; i < n; i++ {
		sum := 0.0
		for l := range lanes {
			sum += t.partial[l*n+i]
		}
		w[i] = tau * sum
	}
}

// multiplyBands computes the sums of lanes lo..hi: of each band its rows times the vector, and its part of the vector times what is
// right of the band's square on the diagonal, for the rows that mirror it.
func (t *tridiagonal) multiplyBands(lo, hi int) {
	n := t.n
	for l := lo; l < hi; l++ {
		y, dots := t.partial[l*n:(l+1)*n], t.partial[lanes*n+l*bandRows:]
		clear(y[t.first:])
		for i := t.first + l*bandRows; i < n; i += lanes * bandRows {
			rows := min(bandRows, n-i)
			t.g.DotRows(rows, n-i, &t.a[i*n+i], n, &t.vector[i], &dots[0])
			for r, v := range dots[:rows] {
				y[i+r] += v
			}
			if end := i + rows; end < n {
				t.addRows(rows, 1, t.vector[i:], 1, t.a[i*n+end:], y[end:])
			}
		}
	}
}

// addRows adds alpha times the sum of k rows of a panel, m, of which each has a factor, to y.
func (t *tridiagonal) addRows(k int, alpha float64, factors []float64, step int, m, y []float64) {
	if k == 0 {
		return
	}
	for j := 0; j < len(y); j += t.g.WideCols {
		t.g.Tile(1, min(t.g.WideCols, len(y)-j), k, &factors[0], 1, step, &m[j], t.n, &y[j], len(y), alpha, 1)
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

// back computes Z <- Z Q^T with Q = H_0 ... H_{n-2}, a panel P = I - U^T S U of reflectors at a time and the last one
// first: Z P^T = Z - (Z U^T) S^T U.
func (t *tridiagonal) back() {
	n, ws := t.n, t.ws.Raw
	buf := ScratchOf[float64](t.small)
	zu, s := buf[:backWidth*n], buf[backWidth*n:]
	t.u, t.w = t.panels[:backWidth*n], t.panels[backWidth*n:]
	last := (n - 2) / backWidth * backWidth
	for j0 := last; j0 >= 0; j0 -= backWidth {
		k := min(backWidth, n-1-j0)
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
		if j > 0 {
			t.g.DotRows(j, n, &t.u[0], n, &t.u[j*n], &t.work[0])
		}
		for i := range j {
			sum := 0.0
			for r := i; r < j; r++ {
				sum += s[i*k+r] * t.work[r]
			}
			s[i*k+j] = -tau * sum
		}
		s[j*k+j] = tau
	}
}
