package precondition

import (
	"fmt"
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
)

func newtonRootFunction(p int) string { return fmt.Sprintf("InverseRoot%d", p) }

// newtonRootAttrs are the attributes of a call of asdl.InverseRoot.
func newtonRootAttrs(p, iterations int, tol float64) []graph.Attr {
	return []graph.Attr{
		graph.I("p", int64(p)), graph.I("iterations", int64(iterations)), graph.F("tol", float32(tol)), graph.T("coefficients", rootTable(p)),
	}
}

// rootSpread is the ratio of the least to the greatest eigenvalue that the first trips of InverseRoot are made for: that
// of float32 rounding. Smaller ones take more trips.
const rootSpread = 3e-7

// rootFloor bounds how small the first trips may make the greatest eigenvalues on the way, in which they lose digits: gradients lie
// in their space. In float32, on low-rank matrices with a ridge of 1e-6, products with such a vector are off by 6e-5 (p = 4), at
// 1e-3 by 3e-4, by Newton's 20 trips by 3e-5.
const rootFloor = 0.03

// rootTable is the attribute "coefficients" of asdl.InverseRoot: rows (a, b, c) of q(m) = a + b m + c m^2, by which a trip takes
// eigenvalues m to m q(m)^p. In all but the last row q is the best approximation of m^(-1/p) between the least eigenvalue that there
// can be and 1, by the largest |1 - m^(1/p) q(m)| (after Amsel et al. 2025, "The Polar Express", where p is 2), made
// smaller so that 1 is not exceeded. The last row is the Taylor polynomial at 1.
func rootTable(p int) *graph.Tensor {
	var flat []float64
	for least := rootSpread; least < 0.9; {
		q, e := bestRoot(p, max(least, rootFloor))
		for i := range q {
			q[i] = shortened(q[i] / (1 + e) * (1 - 1e-4))
		}
		flat = append(flat, q[:]...)
		least = min(least*math.Pow(q.at(least), float64(p)), math.Pow((1-e)/(1+e), float64(p)))
	}
	r := 1 / float64(p)
	flat = append(flat, 1+r*(3+r)/2, -r*(2+r), r*(1+r)/2)
	return graph.TensorOf(flat, int64(len(flat)/3), 3)
}

// shortened has six digits, the same on every machine.
func shortened(v float64) float64 {
	scale := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// quadratic is a + b m + c m^2.
type quadratic [3]float64

func (q quadratic) at(m float64) float64 { return q[0] + m*(q[1]+m*q[2]) }

// bestRoot is the q with the least maximum e of |1 - m^(1/p) q(m)| for m from least to 1, by Remez's exchange on a grid.
func bestRoot(p int, least float64) (q quadratic, e float64) {
	const points = 2000
	grid, weight := make([]float64, points+1), make([]float64, points+1)
	for i := range grid {
		grid[i] = math.Pow(least, 1-float64(i)/points)
		weight[i] = math.Pow(grid[i], 1/float64(p))
	}
	at := []int{0, points / 3, 2 * points / 3, points} // where the error is to alternate
	for range 50 {
		q, e = levelled(grid, weight, at)
		next := extrema(func(i int) float64 { return 1 - weight[i]*q.at(grid[i]) }, len(grid), len(at))
		if next == nil || slices.Equal(next, at) {
			break
		}
		at = next
	}
	return q, math.Abs(e)
}

// levelled solves 1 - w q = e, -e, e, -e at four points for q and e.
func levelled(grid, weight []float64, at []int) (quadratic, float64) {
	var rows [4][5]float64 // a, b, c, e, right side
	sign := 1.0
	for i, k := range at {
		w, m := weight[k], grid[k]
		rows[i] = [5]float64{w, w * m, w * m * m, sign, 1}
		sign = -sign
	}
	for i := range rows {
		for j := i; j < len(rows); j++ { // partial pivoting
			if math.Abs(rows[j][i]) > math.Abs(rows[i][i]) {
				rows[i], rows[j] = rows[j], rows[i]
			}
		}
		for j := range rows {
			if j == i {
				continue
			}
			f := rows[j][i] / rows[i][i]
			for k := i; k < len(rows[j]); k++ {
				rows[j][k] -= f * rows[i][k]
			}
		}
	}
	var x [4]float64
	for i := range x {
		x[i] = rows[i][4] / rows[i][i]
	}
	return quadratic{x[0], x[1], x[2]}, x[3]
}

// extrema are the n places of greatest |f| between which its sign alternates; nil if it does not alternate so often.
func extrema(f func(i int) float64, points, n int) []int {
	var best []int
	for i := range points {
		v := f(i)
		if last := len(best) - 1; last >= 0 && (v < 0) == (f(best[last]) < 0) {
			if math.Abs(v) > math.Abs(f(best[last])) {
				best[last] = i
			}
			continue
		}
		best = append(best, i)
	}
	for len(best) > n { // the weaker end goes
		if math.Abs(f(best[0])) < math.Abs(f(best[len(best)-1])) {
			best = best[1:]
		} else {
			best = best[:len(best)-1]
		}
	}
	if len(best) < n {
		return nil
	}
	return best
}
