package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestPoleSums: each row is x^(-1/p) on its interval to the error that it says.
func TestPoleSums(t *testing.T) {
	for _, row := range poleSums {
		worst := 0.0
		for k := range 20001 {
			x := math.Pow(poleLow, float64(k)/20000)
			sum := 0.0
			for i, s := range row.s {
				if s <= 0 || row.c[i] <= 0 {
					t.Fatalf("p=%d: pole %d: %g/(x+%g)", row.p, i, row.c[i], s)
				}
				sum += row.c[i] / (x + s)
			}
			worst = max(worst, math.Abs(sum*math.Pow(x, 1/float64(row.p))-1))
		}
		if worst > poleError {
			t.Errorf("p=%d: relative error %g, want at most %g", row.p, worst, poleError)
		}
	}
}

// TestRootOfPoles: every order of the table, on pools of every kind; spectra that reach the end of the interval, and directions
// where a matrix of low rank has nothing but rounding elsewhere.
func TestRootOfPoles(t *testing.T) {
	forPools(t, func(t *testing.T, pool *Pool) {
		for _, row := range poleSums {
			for _, n := range []int{48, 65, 130} {
				f := logSpaced(n, 1e6)
				a := withSpectrum(rand.New(rand.NewPCG(31, 32)), n, f)
				root := func(scale float64) *mat.Dense {
					return withSpectrum(rand.New(rand.NewPCG(31, 32)), n, func(i int) float64 { return math.Pow(scale*f(i), -1/float64(row.p)) })
				}
				for _, scale := range []float64{1, 1e-12, 1e12} {
					var scaled mat.Dense
					scaled.Scale(scale, a)
					x := denseOf[float32](matrixCase[float32]("InverseRoot", tensorOf[float32](&scaled), pool, rootAttrs(row.p)...).run(t)[0])
					if e := relative(x, root(scale)); !(e < 1e-2) {
						t.Errorf("n=%d, p=%d, scale %g: relative error %g", n, row.p, scale, e)
					}
				}
			}
		}
	})
}

// A matrix of rank 5 without damping: the root is undetermined off its range, and right on it.
func TestRootOfPolesLowRank(t *testing.T) {
	const n, rank = 100, 5
	rng := rand.New(rand.NewPCG(33, 34))
	g := mat.NewDense(n, rank, nil)
	for i := range n {
		for j := range rank {
			g.Set(i, j, rng.NormFloat64())
		}
	}
	var a, got, want mat.Dense
	a.Mul(g, g.T())
	x := denseOf[float32](matrixCase[float32]("InverseRoot", tensorOf[float32](&a), nil, rootAttrs(4)...).run(t)[0])
	got.Mul(x, g)
	var svd mat.SVD
	svd.Factorize(g, mat.SVDThin)
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	s := svd.Values(nil)
	for i := range s {
		s[i] = math.Sqrt(s[i]) // (s^2)^(-1/4) s
	}
	want.Mul(&u, mat.NewDiagDense(rank, s))
	want.Mul(mat.DenseCopyOf(&want), v.T())
	if e := relative(&got, &want); !(e < 1e-4) {
		t.Errorf("relative error %g", e)
	}
}

// What has no root is NaN: zero, a number that is not finite, a negative eigenvalue beyond rounding.
func TestRootOfPolesSpecial(t *testing.T) {
	const n = 60
	for name, value := range map[string]float64{"zero": 0, "NaN": math.NaN(), "infinite": math.Inf(1), "negative": -0.01} {
		a := mat.NewDense(n, n, nil)
		if name != "zero" {
			for i := range n {
				a.Set(i, i, 1)
			}
			a.Set(7, 7, value)
		}
		x := matrixCase[float32]("InverseRoot", tensorOf[float32](a), nil, rootAttrs(4)...).run(t)[0]
		for _, v := range Data[float32](x) {
			if v == v {
				t.Errorf("%s: %v", name, v)
				break
			}
		}
	}
}
