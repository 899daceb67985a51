package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

func eigenCase[T amd64.Float](a *Tensor, p *Pool) opCase {
	n := a.Shape[0]
	return opCase{domain: graph.Asdl, op: "SymmetricEigen", in: []*Tensor{a}, out: []Spec{outLike[T](n), outLike[T](n, n)}, pool: p}
}

// forKernels runs a test with our own kernels, and with those of LAPACK for matrices of all sizes.
func forKernels(t *testing.T, test func(t *testing.T, rows []Row)) {
	t.Run("portable", func(t *testing.T) { test(t, nil) })
	t.Run("lapack", func(t *testing.T) {
		libraries := dl.Here()
		if _, err := libraries.LAPACK(); err != nil {
			t.Skip(err)
		}
		test(t, anyLibrary(libraries))
	})
}

// anyLibrary are the rows of a library for all matrices.
func anyLibrary(l *dl.Libraries) []Row {
	return libraryRows(l, func(*Call, int) bool { return true })
}

func TestSymmetricEigen(t *testing.T) {
	forKernels(t, func(t *testing.T, rows []Row) {
		test := func(t *testing.T, p *Pool) {
			testSymmetricEigen[float32](t, p, rows)
			testSymmetricEigen[float64](t, p, rows)
		}
		if rows != nil { // LAPACK does not use the pool
			test(t, nil)
			return
		}
		forPools(t, test)
	})
}

func testSymmetricEigen[T amd64.Float](t *testing.T, p *Pool, rows []Row) {
	rng := rand.New(rand.NewPCG(35, 36))
	for _, n := range append([]int{23, 24, 25, 26}, matrixSizes...) {
		for name, f := range map[string]func(i int) float64{
			"ill-conditioned": logSpaced(n, 1e12),
			"indefinite":      func(i int) float64 { return float64(i) - float64(n)/3 },
			"repeated":        func(i int) float64 { return float64(i / 5) },
			"zero":            func(int) float64 { return 0 },
			"one":             func(int) float64 { return 1 },
			"huge":            func(i int) float64 { return 1e30 * float64(1+i) },
		} {
			if n > 65 && name != "ill-conditioned" && name != "repeated" {
				continue
			}
			a := tensorOf[T](withSpectrum(rng, n, f))
			o := eigenCase[T](a, p)
			o.rows = rows
			checkEigen[T](t, fmt.Sprint(name, " n=", n), o)
		}
	}
}

// checkEigen checks order, eigenvalues against gonum, orthogonality and the residual AV - V diag(w).
func checkEigen[T amd64.Float](t *testing.T, what string, o opCase) {
	t.Helper()
	a, got := o.in[0], o.run(t)
	n := a.Shape[0]
	dense := denseOf[T](a)
	norm := mat.Norm(dense, 2)
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			sym.SetSym(i, j, dense.At(i, j))
		}
	}
	var oracle mat.EigenSym
	if !oracle.Factorize(sym, false) {
		t.Fatal("gonum failed")
	}
	w, v := Data[T](got[0]), denseOf[T](got[1])
	for i, want := range oracle.Values(nil) {
		if math.Abs(float64(w[i])-want) > 4*math.Sqrt(float64(n))*epsilon[T]()*norm {
			t.Fatalf("%s: eigenvalue %d is %g, want %g", what, i, w[i], want)
		}
		if i > 0 && w[i] < w[i-1] {
			t.Fatalf("%s: eigenvalues %d and %d are not in order", what, i-1, i)
		}
	}
	var vtv, av, vw mat.Dense
	vtv.Mul(v.T(), v)
	for i := range n {
		vtv.Set(i, i, vtv.At(i, i)-1)
	}
	if d := mat.Norm(&vtv, 2); d > 16*epsilon[T]()*float64(n) {
		t.Errorf("%s: |V^T V - I| is %g", what, d)
	}
	av.Mul(dense, v)
	values := make([]float64, n)
	for i := range w {
		values[i] = float64(w[i])
	}
	vw.Mul(v, mat.NewDiagDense(n, values))
	av.Sub(&av, &vw)
	if d := mat.Norm(&av, 2); d > 16*epsilon[T]()*float64(n)*norm {
		t.Errorf("%s: |AV - VW| is %g beside |A| = %g", what, d, norm)
	}
	if got := o.allocs(t); got != 0 {
		t.Errorf("%s: %v allocations per run", what, got)
	}
}

func TestSymmetricEigenSpecial(t *testing.T) {
	forKernels(t, func(t *testing.T, rows []Row) {
		lower := eigenCase[float32](Of([]float32{2, 9, 1, 2}, 2, 2), nil) // the lower triangle counts
		lower.rows = rows
		wantClose[float32](t, "w", lower.run(t)[0], []float64{1, 3}, 1e-6)
		for _, n := range []int{1, 3, 40, 100} {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				a := New(graph.Float64, n, n)
				Data[float64](a)[n*n-1] = bad
				o := eigenCase[float64](a, nil)
				o.rows = rows
				for _, y := range o.run(t) {
					wantNaN[float64](t, y)
				}
			}
		}
	})
}

// TestSymmetricEigenRidge: the smallest eigenvalues of a float32 matrix are those that it has, though they are a few roundings of
// the largest one.
func TestSymmetricEigenRidge(t *testing.T) {
	forKernels(t, func(t *testing.T, rows []Row) {
		a := tensorOf[float32](withSpectrum(rand.New(rand.NewPCG(37, 38)), 100, func(i int) float64 { return math.Pow(10, -float64(min(i, 6))) }))
		sym := mat.NewSymDense(100, denseOf[float32](a).RawMatrix().Data)
		var oracle mat.EigenSym
		if !oracle.Factorize(sym, false) {
			t.Fatal("gonum failed")
		}
		o := eigenCase[float32](a, nil)
		o.rows = rows
		w := Data[float32](o.run(t)[0])
		for i, want := range oracle.Values(nil) {
			if e := math.Abs(float64(w[i])-want) / want; e > 1e-6 {
				t.Fatalf("eigenvalue %d is %g, want %g", i, w[i], want)
			}
		}
	})
}

// TestSymmetricEigenPart: each output alone is what it is beside the other.
func TestSymmetricEigenPart(t *testing.T) {
	forKernels(t, func(t *testing.T, rows []Row) {
		for _, n := range []int{7, 70} {
			whole := eigenCase[float64](tensorOf[float64](withSpectrum(rand.New(rand.NewPCG(41, 42)), n, logSpaced(n, 100))), nil)
			whole.rows = rows
			want := whole.run(t)
			for i := range want {
				part := whole
				part.out = append([]Spec{}, whole.out...)
				part.out[1-i].Present = false
				wantClose[float64](t, fmt.Sprint("output ", i), part.run(t)[i], Data[float64](want[i]), 1e-12)
			}
		}
	})
}

func BenchmarkSymmetricEigen(b *testing.B) {
	for _, n := range []int{64, 256, 512} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			p := NewPool(2)
			defer p.Close()
			x := randomTensor[float32](rand.New(rand.NewPCG(1, 1)), n, n)
			o := eigenCase[float32](x, p)
			run, out, err := o.prepare(b)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := run(o.in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
