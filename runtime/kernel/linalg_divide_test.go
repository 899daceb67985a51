package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
)

// TestDivideAndConquer: tridiagonal matrices that are hard to take apart: close pairs, many equal eigenvalues, entries of all sizes,
// and couplings that are nothing.
func TestDivideAndConquer(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	// each gives the diagonal element i, and the one beside it
	for name, f := range map[string]func(i, n int) (d, e float64){
		"second difference": func(int, int) (float64, float64) { return 2, -1 },
		"Wilkinson":         func(i, n int) (float64, float64) { return math.Abs(float64(n-1)/2 - float64(i)), 1 },
		"glued Wilkinson": func(i, _ int) (float64, float64) {
			if i%21 == 20 {
				return 10, 1e-8
			}
			return math.Abs(10 - float64(i%21)), 1
		},
		"graded up":      func(i, n int) (float64, float64) { return math.Pow(10, -12*float64(n-i)/float64(n)), 1e-3 },
		"graded down":    func(i, n int) (float64, float64) { x := math.Pow(10, -12*float64(i)/float64(n)); return x, x / 2 },
		"zero diagonal":  func(int, int) (float64, float64) { return 0, 1 },
		"constant":       func(int, int) (float64, float64) { return 3, 0 },
		"uncoupled":      func(i, _ int) (float64, float64) { return float64(i % 7), 0 },
		"barely coupled": func(i, _ int) (float64, float64) { return float64(i % 7), 1e-17 },
		"one big":        func(i, n int) (float64, float64) { return 1e8 * float64(i/(n-1)), 1 },
		"random":         func(int, int) (float64, float64) { return rng.NormFloat64(), rng.NormFloat64() },
		"random sizes": func(int, int) (float64, float64) {
			return math.Exp(20 * rng.NormFloat64()), math.Exp(20 * rng.NormFloat64())
		},
		"random clusters": func(int, int) (float64, float64) {
			return float64(rng.IntN(3)) + 1e-14*rng.Float64(), 1e-7 * rng.Float64()
		},
		"tiny": func(int, int) (float64, float64) { return 1e-100 * rng.NormFloat64(), 1e-100 },
		"huge": func(int, int) (float64, float64) { return 1e100 * rng.NormFloat64(), 1e100 },
	} {
		for _, n := range []int{33, 34, 63, 64, 65, 100, 129, 257} {
			a := New(graph.Float64, n, n)
			x := Data[float64](a)
			for i := range n {
				d, e := f(i, n)
				x[i*n+i] = d
				if i+1 < n {
					x[i*n+i+1], x[(i+1)*n+i] = e, e
				}
			}
			checkEigen[float64](t, fmt.Sprint(name, " n=", n), eigenCase[float64](a, nil))
		}
	}
}

// TestDivideAndConquerPools: the number of workers changes no bit.
func TestDivideAndConquerPools(t *testing.T) {
	for _, n := range []int{100, 300} {
		a := tensorOf[float32](withSpectrum(rand.New(rand.NewPCG(53, 54)), n, logSpaced(n, 1e5)))
		want := eigenCase[float32](a, nil).run(t)
		for workers := 2; workers <= 3; workers++ {
			p := NewPool(workers)
			got := eigenCase[float32](a, p).run(t)
			p.Close()
			for i := range want {
				if string(got[i].Raw) != string(want[i].Raw) {
					t.Errorf("n=%d: output %d is another with %d workers", n, i, workers)
				}
			}
		}
	}
}

// TestSecular: roots lie between the poles and make the equation zero, relative to the rounding of its terms, for weights of all sizes.
func TestSecular(t *testing.T) {
	rng := rand.New(rand.NewPCG(55, 56))
	for trial := range 300 {
		k := 1 + rng.IntN(40)
		s := secular{rho: math.Exp(6 * rng.NormFloat64()), pole: make([]float64, k), z: make([]float64, k)}
		at := -1.0
		for i := range k {
			at += math.Exp(float64(trial%8) * rng.NormFloat64())
			s.pole[i], s.z[i] = at, math.Exp(float64(trial%5)*rng.NormFloat64())
		}
		length := mat.Norm(mat.NewVecDense(k, s.z), 2)
		for i := range k {
			s.z[i] /= length
		}
		for j := range k {
			origin, tau, ok := s.root(j)
			above := math.Inf(1)
			if j+1 < k {
				above = s.pole[j+1]
			}
			if !ok || origin+tau < s.pole[j] || origin+tau > above {
				t.Fatalf("trial %d: root %d of %d is %g + %g (%v), not in [%g, %g]", trial, j, k, origin, tau, ok, s.pole[j], above)
			}
			if f, left, right, rounding := s.at(j, origin, tau); math.Abs(f) > 4*rounding+0x1p-51*math.Abs(tau)*(left+right) {
				t.Fatalf("trial %d: at root %d of %d the equation gives %g, with a rounding of %g", trial, j, k, f, rounding)
			}
		}
	}
}

// TestEigenLowRank: statistics of few examples, on a ridge: most eigenvalues are equal but for rounding.
func TestEigenLowRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(57, 58))
	const n = 300
	for _, rank := range []int{1, 20, 200} {
		for _, ridge := range []float64{0, 1e-6} {
			x, a := randomTensor[float64](rng, n, rank), New(graph.Float64, n, n)
			Syrk(nil, false, n, rank, 1/float64(rank), Data[float64](x), rank, 0, Data[float64](a), n, nil)
			for i := range n {
				Data[float64](a)[i*n+i] += ridge
			}
			what := fmt.Sprintf("rank %d, ridge %g", rank, ridge)
			checkEigen[float64](t, what, eigenCase[float64](a, nil))
			checkEigen[float32](t, what, eigenCase[float32](tensorOf[float32](denseOf[float64](a)), nil))
		}
	}
}
