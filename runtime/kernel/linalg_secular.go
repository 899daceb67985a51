package kernel

import "math"

// secular is the equation f(lambda) = 1/rho + sum_i z_i^2 / (pole_i - lambda) = 0 with rising poles, rho > 0 and z of length 1.
// It has a root between each pole and the next, and one above the last.
type secular struct {
	rho     float64
	pole, z []float64
}

// root finds root j as a distance tau from the pole nearest to it, so that the differences of all poles from the root are accurate. Each
// trip replaces the terms on both sides of the root by one of the nearest pole there that has their value and slope, and a constant,
// and takes the root of that ("middle way", R.-C. Li, LAPACK working note 89); a trip that would leave the bracket, or the many of
// which there should not be, halve it. The root is found when f is nothing beside the rounding of its terms.
func (s *secular) root(j int) (origin, tau float64, ok bool) {
	const trips, fast = 200, 12
	k := len(s.pole)
	if k == 1 {
		return s.pole[0], s.rho * s.z[0] * s.z[0], true
	}
	origin, lo, hi := s.bracket(j)
	p := min(j, k-2) // the poles of the interpolation are p and p+1
	tau = s.guess(j, p, origin, lo, hi)
	for trip := range trips {
		f, left, right, rounding := s.at(j, origin, tau)
		if math.Abs(f) <= rounding {
			return origin, tau, true
		}
		if f < 0 {
			lo = tau
		} else {
			hi = tau
		}
		dp, dq := (s.pole[p]-origin)-tau, (s.pole[p+1]-origin)-tau
		if j == k-1 { // both poles are left of the root, and the last is the only one of its term
			term := s.z[j] / dq
			left, right = left-term*term, term*term
		}
		next := tau + middleWay(f, left, right, dp, dq, j == k-1)
		if !(lo < next && next < hi) || trip >= fast && trip%2 == 0 {
			next = between(lo, hi)
		}
		if next == tau || next <= lo || next >= hi {
			return origin, tau, true // no number is between
		}
		tau = next
	}
	return origin, tau, false
}

// bracket tells which pole is nearest to root j, and between which distances from it the root is.
func (s *secular) bracket(j int) (origin, lo, hi float64) {
	k := len(s.pole)
	gap := s.rho
	if j < k-1 {
		gap = s.pole[j+1] - s.pole[j]
	}
	f, _, _, _ := s.at(j, s.pole[j], gap/2)
	switch {
	case f >= 0:
		return s.pole[j], 0, gap / 2
	case j == k-1:
		return s.pole[j], gap / 2, gap * (1 + 0x1p-48)
	}
	return s.pole[j+1], -gap / 2, 0
}

// guess is the root of f with all terms but those of poles p and p+1 as they are in the middle of the bracket.
func (s *secular) guess(j, p int, origin, lo, hi float64) float64 {
	middle := lo + (hi-lo)/2
	f, _, _, _ := s.at(j, origin, middle)
	dp, dq := s.pole[p]-origin, s.pole[p+1]-origin
	zp, zq := s.z[p]*s.z[p], s.z[p+1]*s.z[p+1]
	c := f - zp/(dp-middle) - zq/(dq-middle)
	// c + zp/(dp-x) + zq/(dq-x) = 0
	b := c*(dp+dq) + zp + zq
	root := math.Sqrt(math.Abs(b*b - 4*c*(c*dp*dq+zp*dq+zq*dp)))
	for _, x := range [2]float64{(b + root) / (2 * c), 2 * (c*dp*dq + zp*dq + zq*dp) / (b + root)} {
		if lo < x && x < hi {
			return x
		}
	}
	for _, x := range [2]float64{(b - root) / (2 * c), 2 * (c*dp*dq + zp*dq + zq*dp) / (b - root)} {
		if lo < x && x < hi {
			return x
		}
	}
	return middle
}

// at gives f at origin + tau, the slopes of the terms up to j and of those above, and a bound of the rounding in f.
func (s *secular) at(j int, origin, tau float64) (f, left, right, rounding float64) {
	var psi, phi, sum float64
	pole, z := s.pole, s.z[:len(s.pole)]
	for i, d := range pole[:j+1] {
		t := z[i] / ((d - origin) - tau)
		psi += z[i] * t
		left += t * t
		sum -= psi
	}
	for i := len(pole) - 1; i > j; i-- {
		t := z[i] / ((pole[i] - origin) - tau)
		phi += z[i] * t
		right += t * t
		sum += phi
	}
	f = 1/s.rho + phi + psi
	rounding = 0x1p-53 * (8*(phi+math.Abs(psi)) + math.Abs(sum) + 2/s.rho + math.Abs(tau)*(left+right))
	return f, left, right, rounding
}

// middleWay is the step to the root of c + a/(dp - x) + b/(dq - x), of which value and slopes at 0 are given: between dp < 0 < dq, or
// above both. Where rounding turns it the wrong way it is Newton's step.
func middleWay(f, left, right, dp, dq float64, above bool) float64 {
	c := f - dp*left - dq*right
	a := (dp+dq)*f - dp*dq*(left+right)
	b := dp * dq * f
	root := math.Sqrt(math.Abs(a*a - 4*b*c))
	var x float64
	switch {
	case above && a >= 0:
		x = (a + root) / (2 * math.Abs(c))
	case above:
		x = 2 * b / (a - root)
	case a <= 0:
		x = (a - root) / (2 * c)
	default:
		x = 2 * b / (a + root)
	}
	if !(x*f < 0) {
		return -f / (left + right)
	}
	return x
}

// between is a number within a bracket: the geometric mean of its ends where they differ in size.
func between(lo, hi float64) float64 {
	small, large := lo, hi
	if math.Abs(small) > math.Abs(large) {
		small, large = large, small
	}
	switch {
	case small == 0:
		return large * 0x1p-10
	case small*large > 0 && large/small > 4:
		return math.Copysign(math.Sqrt(math.Abs(small))*math.Sqrt(math.Abs(large)), large)
	}
	return lo + (hi-lo)/2
}
