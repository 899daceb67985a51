package kernel

import "math"

// ql diagonalises rows and columns lo..hi of T by implicit QL with Wilkinson's shift (Golub and Van Loan, Matrix Computations,
// 8.3), and turns rows of Z with them; false when an eigenvalue takes too many sweeps.
func (v *divide) ql(lo, hi int) bool {
	const sweeps = 60
	d, e := v.d, v.e
	// What is below the rounding of the largest element came from rounding: T is as far from A. Without this bound the
	// many equal eigenvalues of a matrix of low rank on a small ridge would not separate.
	floor := 0.0
	for i := range d {
		floor = max(floor, 0x1p-53*(math.Abs(d[i])+math.Abs(e[i])))
	}
	for l := lo; l < hi; l++ {
		for sweep := 0; ; sweep++ {
			m := l
			for ; m < hi-1; m++ {
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
			v.sweep(l, m, lo, hi)
		}
	}
	return true
}

// sweep is one implicit QL step on rows l..m of T, within lo..hi.
func (v *divide) sweep(l, m, lo, hi int) {
	d, e := v.d, v.e
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
		v.turn(i, c, s, lo, hi)
	}
	d[l] -= p
	e[l] = g
	e[m] = 0
}

// turn rotates rows i and i+1 of Z in columns lo..hi.
func (v *divide) turn(i int, c, s float64, lo, hi int) {
	x, y := v.z[i*v.n+lo:i*v.n+hi], v.z[(i+1)*v.n+lo:(i+1)*v.n+hi]
	for k, f := range y {
		g := x[k]
		y[k] = s*g + c*f
		x[k] = c*g - s*f
	}
}
