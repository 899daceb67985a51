package kernel

import "math"

// divide computes eigenvalues and eigenvectors of a symmetric tridiagonal matrix T by divide and conquer (Cuppen 1981; Gu and
// Eisenstat 1995, "A divide-and-conquer algorithm for the symmetric tridiagonal eigenproblem"):
//
//	T = diag(T1, T2) + rho v v^T,  T1 = Q1 D1 Q1^T,  T2 = Q2 D2 Q2^T
//	T = Q (D + rho z z^T) Q^T,     Q = diag(Q1, Q2),  D = diag(D1, D2),  z = Q^T v
//
// Eigenvalues of D + rho z z^T are the roots of the secular equation (see secular); with z recomputed from them, so that they are
// exact, its eigenvectors (D - lambda)^-1 z are orthogonal. Q times those is the work, in Gemm. Entries of z that are zero, and
// pairs of equal elements of D, which a rotation turns into one, have their eigenvectors already ("deflation").
//
// Q is kept by rows, Z = Q^T: row r of Z is the eigenvector of d[r].
type divide struct {
	pool *Pool
	n    int

	d, e, z          []float64 // the diagonal, what is beside it, Z
	floats, matrices *Scratch
	integers, ws     *Scratch

	// The merge at hand, of rows lo..mid and mid..hi of Z.
	lo, mid, hi int
	secular     secular
	weight      []float64 // z, by row
	order       []int64   // rows by rising d
	kind        []int64   // of each row
	kept, gone  []int64   // rows that are left, and those deflated, by rising d
	count       [3]int    // how many rows that are left are of each kind
	column      []int64   // of the columns of S, in which rows that are left are sorted by kind
	poles       []float64 // of each column
	zs          []float64 // of each column: z, then z recomputed
	next        []float64 // the new d
	s, old      []float64 // eigenvectors of D + rho z z^T by rows; rows of Z that are left, then those deflated

	roots, refine, vectors func(lo, hi int) // methods, for the pool
	failed                 []int64          // rows of S without a root
}

// Kinds of rows of Z, by where they are not zero.
const (
	leftRow  = iota // columns lo..mid
	bothRow         // all, after a rotation
	rightRow        // columns mid..hi
)

// divideBase is the size up to which T is diagonalised by QL.
const divideBase = 32

func newDivide(c *Call, n int) *divide {
	v := &divide{pool: c.Pool, n: n}
	v.floats, v.integers = c.Scratch(8*6*n), c.Scratch(8*6*n)
	if n > divideBase {
		v.matrices = c.Scratch(8 * 2 * n * n)
		v.ws = c.Scratch(gemmWorkspaceUpTo[float64](c.Pool, n, n-n/2, n))
	}
	v.roots, v.refine, v.vectors = v.findRoots, v.refineWeights, v.makeVectors
	return v
}

// eigen overwrites d and e, and makes rows of z the eigenvectors, in the order of d. It reports whether all converged.
func (v *divide) eigen(d, e, z []float64) bool {
	n := v.n
	v.d, v.e, v.z = d, e, z
	clear(z)
	for i := range n {
		z[i*n+i] = 1
	}
	if n <= divideBase {
		return v.ql(0, n)
	}
	f := ScratchOf[float64](v.floats)
	for i, p := range []*[]float64{&v.weight, &v.poles, &v.zs, &v.next, &v.secular.pole, &v.secular.z} {
		*p = f[i*n : (i+1)*n]
	}
	k := ScratchOf[int64](v.integers)
	for i, p := range []*[]int64{&v.order, &v.kind, &v.kept, &v.gone, &v.column, &v.failed} {
		*p = k[i*n : (i+1)*n]
	}
	m := ScratchOf[float64](v.matrices)
	v.s, v.old = m[:n*n], m[n*n:]
	scale := v.scale()
	ok := v.solve(0, n)
	for i := range d {
		d[i] *= scale
	}
	return ok
}

// scale divides T by a power of two, so that its largest element is about 1, and gives that.
func (v *divide) scale() float64 {
	largest := 0.0
	for i := range v.d {
		largest = max(largest, math.Abs(v.d[i]), math.Abs(v.e[i]))
	}
	if largest == 0 || math.IsInf(largest, 0) || math.IsNaN(largest) {
		return 1
	}
	_, exponent := math.Frexp(largest)
	scale := math.Ldexp(1, min(exponent, 1023))
	for i := range v.d {
		v.d[i] /= scale
		v.e[i] /= scale
	}
	return scale
}

// solve diagonalises rows and columns lo..hi of T.
func (v *divide) solve(lo, hi int) bool {
	if hi-lo <= divideBase {
		return v.ql(lo, hi)
	}
	mid := lo + (hi-lo)/2
	rho := v.e[mid-1]
	v.d[mid-1] -= math.Abs(rho)
	v.d[mid] -= math.Abs(rho)
	return v.solve(lo, mid) && v.solve(mid, hi) && v.merge(lo, mid, hi, rho)
}

// merge diagonalises rows lo..hi when lo..mid and mid..hi are; rho was between them.
func (v *divide) merge(lo, mid, hi int, rho float64) bool {
	v.lo, v.mid, v.hi = lo, mid, hi
	v.couple(rho)
	v.deflate()
	v.gather()
	k := len(v.kept)
	v.pool.For(k, max(1, 4096/max(1, k)), v.roots)
	for _, f := range v.failed[:k] {
		if f != 0 {
			return false
		}
	}
	v.pool.For(k, max(1, 16384/max(1, k)), v.refine)
	v.pool.For(k, max(1, 16384/max(1, k)), v.vectors)
	v.multiply()
	copy(v.d[lo:hi], v.next[:hi-lo])
	return true
}

// couple computes z, of length 1, and rho that goes with it.
func (v *divide) couple(rho float64) {
	n, left, right := v.n, math.Sqrt2/2, math.Copysign(math.Sqrt2/2, rho)
	for r := v.lo; r < v.mid; r++ {
		v.weight[r] = left * v.z[r*n+v.mid-1]
		v.kind[r] = leftRow
	}
	for r := v.mid; r < v.hi; r++ {
		v.weight[r] = right * v.z[r*n+v.mid]
		v.kind[r] = rightRow
	}
	v.secular.rho = 2 * math.Abs(rho)
}

// deflate sorts rows into kept and gone. What it leaves out changes T by a few roundings of its norm.
func (v *divide) deflate() {
	order := v.order[:v.hi-v.lo]
	largest := 0.0
	for i := range order {
		r := v.lo + i
		order[i] = int64(r)
		largest = max(largest, math.Abs(v.d[r]), math.Abs(v.weight[r]))
	}
	sortByValue(order, v.d)
	tol := 8 * 0x1p-53 * largest
	v.kept, v.gone = v.kept[:0], v.gone[:0]
	last := int64(-1)
	for _, r := range order {
		switch {
		case v.secular.rho*math.Abs(v.weight[r]) <= tol:
			v.gone = append(v.gone, r)
			continue
		case last >= 0 && v.merged(int(last), int(r), tol):
			v.gone = append(v.gone, last)
		case last >= 0:
			v.kept = append(v.kept, last)
		}
		last = r
	}
	if last >= 0 {
		v.kept = append(v.kept, last)
	}
}

// merged rotates rows p and r of Z so that z of p is zero, if d of the two are so near that T is as good without what that puts
// between them.
func (v *divide) merged(p, r int, tol float64) bool {
	s, c := v.weight[p], v.weight[r]
	tau := math.Hypot(c, s)
	c, s = c/tau, -s/tau
	dp, dr := v.d[p], v.d[r]
	if math.Abs((dr-dp)*c*s) > tol {
		return false
	}
	v.weight[p], v.weight[r] = 0, tau
	v.d[p], v.d[r] = dp*c*c+dr*s*s, dp*s*s+dr*c*c
	if v.kind[p] != v.kind[r] {
		v.kind[r] = bothRow
	}
	x, y := v.z[p*v.n+v.lo:p*v.n+v.hi], v.z[r*v.n+v.lo:r*v.n+v.hi]
	for i, f := range x {
		g := y[i]
		x[i], y[i] = c*f+s*g, c*g-s*f
	}
	return true
}

// gather copies the rows of Z, those that are left without their zeros and sorted by kind, and makes the secular equation.
func (v *divide) gather() {
	v.count = [3]int{}
	for _, r := range v.kept {
		v.count[v.kind[r]]++
	}
	at := [3]int{0, v.count[0], v.count[0] + v.count[1]}
	n1, n2 := v.mid-v.lo, v.hi-v.mid
	upper, lower := v.blocks()
	k := len(v.kept)
	v.secular.pole, v.secular.z = v.secular.pole[:k], v.secular.z[:k]
	for i, r := range v.kept {
		kind := v.kind[r]
		c := at[kind]
		at[kind]++
		v.column[i], v.poles[c], v.zs[c] = int64(c), v.d[r], v.weight[r]
		v.secular.pole[i], v.secular.z[i] = v.d[r], v.weight[r]
		row := v.z[int(r)*v.n+v.lo:]
		if kind != rightRow {
			copy(upper[c*n1:(c+1)*n1], row)
		}
		if kind != leftRow {
			c -= v.count[leftRow]
			copy(lower[c*n2:(c+1)*n2], row[n1:])
		}
	}
	rest := lower[(v.count[1]+v.count[2])*n2:]
	for i, r := range v.gone {
		copy(rest[i*(n1+n2):(i+1)*(n1+n2)], v.z[int(r)*v.n+v.lo:])
		v.next[k+i] = v.d[r]
	}
}

// blocks are the copies of rows in columns lo..mid and in mid..hi; behind the latter are the deflated rows.
func (v *divide) blocks() (upper, lower []float64) {
	size := (v.count[0] + v.count[1]) * (v.mid - v.lo)
	return v.old[:size], v.old[size:]
}

// findRoots computes eigenvalues lo..hi, and in rows of S the differences of the poles from them.
func (v *divide) findRoots(lo, hi int) {
	k := len(v.kept)
	for j := lo; j < hi; j++ {
		origin, tau, ok := v.secular.root(j)
		v.failed[j] = 0
		if !ok {
			v.failed[j] = 1
		}
		v.next[j] = origin + tau
		row := v.s[j*k : (j+1)*k]
		for i, c := range v.column[:k] {
			row[c] = (v.secular.pole[i] - origin) - tau
		}
	}
}

// refineWeights recomputes z in columns lo..hi (Loewner's formula): with it the eigenvalues that were found are exact.
//
//	z_i^2 ~ prod_j (lambda_j - d_i) / prod_{j != i} (d_j - d_i)
func (v *divide) refineWeights(lo, hi int) {
	k := len(v.kept)
	z := v.weight[v.lo+lo : v.lo+hi] // no longer needed by row
	for i := range z {
		z[i] = 1
	}
	for j, c := range v.column[:k] {
		row, pole := v.s[j*k+lo:j*k+hi], v.poles[c]
		for i, p := range v.poles[lo:hi] {
			if gap := p - pole; gap != 0 {
				z[i] *= row[i] / gap
			} else {
				z[i] *= row[i]
			}
		}
	}
	for i, w := range z {
		v.zs[lo+i] = math.Copysign(math.Sqrt(math.Abs(w)), v.zs[lo+i])
	}
}

// makeVectors turns rows lo..hi of S into eigenvectors.
func (v *divide) makeVectors(lo, hi int) {
	k := len(v.kept)
	for j := lo; j < hi; j++ {
		row, sum := v.s[j*k:(j+1)*k], 0.0
		for i, z := range v.zs[:k] {
			x := z / row[i]
			row[i] = x
			sum += x * x
		}
		f := 1 / math.Sqrt(sum)
		for i := range row {
			row[i] *= f
		}
	}
}

// multiply makes the new rows of Z, those deflated last.
func (v *divide) multiply() {
	n, k, n1, n2 := v.n, len(v.kept), v.mid-v.lo, v.hi-v.mid
	upper, lower := v.blocks()
	left, right := v.count[0]+v.count[1], v.count[1]+v.count[2]
	v.product(k, n1, left, v.s, upper, v.z[v.lo*n+v.lo:])
	v.product(k, n2, right, v.s[min(v.count[0], len(v.s)):], lower, v.z[v.lo*n+v.mid:])
	rest := lower[right*n2:]
	for i := range v.gone {
		copy(v.z[(v.lo+k+i)*n+v.lo:], rest[i*(n1+n2):(i+1)*(n1+n2)])
	}
}

// product writes a[rows, depth] b[depth, cols] to rows of Z.
func (v *divide) product(rows, cols, depth int, a, b, z []float64) {
	if rows == 0 {
		return
	}
	if depth == 0 {
		for i := range rows {
			clear(z[i*v.n : i*v.n+cols])
		}
		return
	}
	Gemm(v.pool, false, false, rows, cols, depth, 1, a, rows, b, cols, 0, z, v.n, v.ws.Raw)
}
