package precondition

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// solverModel is a model whose one node calls a solver function on A.
func solverModel(t *testing.T, e graph.Elem, n int64, name string, attrs ...graph.Attr) *graph.Model {
	t.Helper()
	text := library(n, map[int]bool{2: true, 4: true, 6: true, 8: true})
	return functionModel(t, e, text, name, []int64{n, n}, attrs...)
}

// callOn makes a call of a function on a the model's output.
func callOn(t *testing.T, m *graph.Model, a *graph.Value, name string, attrs ...graph.Attr) {
	t.Helper()
	b := op.NewBuilder(m, m.Graph)
	m.Graph.AddOutput(call(b, name, a, attrs...))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
}

// spd is U diag(w) U^T for a random orthogonal U.
func spd(rng *rand.Rand, w []float64) *mat.Dense {
	n := len(w)
	g := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			g.Set(i, j, rng.NormFloat64())
		}
	}
	var qr mat.QR
	qr.Factorize(g)
	var u mat.Dense
	qr.QTo(&u)
	var a, out mat.Dense
	a.Mul(&u, mat.NewDiagDense(n, w))
	out.Mul(&a, u.T())
	return &out
}

func spectrum(n int, condition float64) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = math.Pow(condition, -float64(i)/math.Max(1, float64(n-1)))
	}
	return w
}

// power is a^exponent through gonum's eigendecomposition.
func power(a *mat.Dense, exponent float64) *mat.Dense {
	n, _ := a.Dims()
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			sym.SetSym(i, j, (a.At(i, j)+a.At(j, i))/2)
		}
	}
	var eig mat.EigenSym
	eig.Factorize(sym, true)
	var v, s, out mat.Dense
	eig.VectorsTo(&v)
	w := eig.Values(nil)
	for i := range w {
		w[i] = math.Pow(w[i], exponent)
	}
	s.Mul(&v, mat.NewDiagDense(n, w))
	out.Mul(&s, v.T())
	return &out
}

// solvers is the registry of kernels, with or without those of the solver functions.
func solvers(t *testing.T, native bool) *kernel.Registry {
	t.Helper()
	reg, err := kernel.NewRegistry(tablesOf(native)...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func solve(t *testing.T, m *graph.Model, native bool, a *mat.Dense) *mat.Dense {
	t.Helper()
	reg := solvers(t, native)
	s, err := runtime.NewSession(m, runtime.Options{Registry: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n, _ := a.Dims()
	out, err := s.Run(map[string]*kernel.Tensor{"A": kernel.Of(a.RawMatrix().Data, n, n)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range out {
		return mat.NewDense(n, n, append([]float64{}, kernel.Data[float64](x)...))
	}
	return nil
}

// tablesOf are the portable kernels, without those of solver functions unless native.
func tablesOf(native bool) [][]kernel.Row {
	tables := kernel.Portable()
	if native {
		return tables
	}
	for i := range tables {
		var rows []kernel.Row
		for _, r := range tables[i] {
			if r.Domain != graph.Asdl {
				rows = append(rows, r)
			}
		}
		tables[i] = rows
	}
	return tables
}

func relative(x, want *mat.Dense) float64 {
	var d mat.Dense
	d.Sub(x, want)
	return mat.Norm(&d, 2) / mat.Norm(want, 2)
}

// The bodies of the solver functions in standard operators, and their native kernels, give the power of the matrix that
// gonum's eigendecomposition gives: sizes around the edges of the recursion, conditions up to 1e6.
func TestSolvers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	root := func(p int64) []graph.Attr {
		return newtonRootAttrs(int(p), 100, 1e-10)
	}
	for _, tc := range []struct {
		name     func(n int64) string
		exponent float64
		attrs    []graph.Attr
		sizes    []int
		tol      float64
	}{
		{inverseFunction, -1, nil, []int{1, 2, 3, 33, 127, 128, 129, 257}, 1e-9},
		{func(int64) string { return newtonRootFunction(2) }, -0.5, root(2), []int{1, 2, 5, 33}, 1e-6},
		{func(int64) string { return newtonRootFunction(4) }, -0.25, root(4), []int{1, 3, 16, 33}, 1e-6},
		{func(int64) string { return newtonRootFunction(6) }, -1. / 6, root(6), []int{7}, 1e-6},
		{func(int64) string { return newtonRootFunction(8) }, -0.125, root(8), []int{9}, 1e-6},
		{func(int64) string { return eigenRootFunction(2) }, -0.5, nil, []int{1, 2, 3, 8, 17}, 1e-9},
		{func(int64) string { return eigenRootFunction(4) }, -0.25, nil, []int{4, 9, 16}, 1e-9},
	} {
		for _, n := range tc.sizes {
			name := tc.name(int64(n))
			m := solverModel(t, graph.Float64, int64(n), name, tc.attrs...)
			for _, condition := range []float64{10, 1e4} {
				a := spd(rng, spectrum(n, condition))
				want := power(a, tc.exponent)
				for _, native := range []bool{false, true} {
					if e := relative(solve(t, m, native, a), want); !(e < tc.tol*math.Sqrt(condition)) {
						t.Errorf("%s, side %d, condition %g, native %v: relative error %g", name, n, condition, native, e)
					}
				}
			}
		}
	}
}

// Statistics of few examples are a low-rank matrix plus a multiple of the identity: half of the eigenvalues are equal, and
// rounding alone decides on the angles between their eigenvectors. The roots are as good as elsewhere.
func TestRepeatedEigenvalues(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{4, 10, 17, 32} {
		w := spectrum(n, 10)
		for i := n / 2; i < n; i++ {
			w[i] = 1e-4
		}
		a := spd(rng, w)
		want := power(a, -0.25)
		for _, native := range []bool{false, true} {
			m := solverModel(t, graph.Float64, int64(n), eigenRootFunction(4))
			if e := relative(solve(t, m, native, a), want); !(e < 1e-9) {
				t.Errorf("side %d, native %v: relative error %g", n, native, e)
			}
		}
	}
}

// A matrix that is not positive definite gives an inverse that is not finite, which the graph's guard then discards.
func TestInverseOfIndefinite(t *testing.T) {
	for _, n := range []int{2, 150} {
		a := mat.NewDense(n, n, nil)
		for i := range n {
			a.Set(i, i, 1)
		}
		a.Set(n-1, n-1, -1)
		m := solverModel(t, graph.Float64, int64(n), inverseFunction(int64(n)))
		for _, native := range []bool{false, true} {
			x := solve(t, m, native, a)
			if sum := mat.Sum(x); !math.IsNaN(sum) && !math.IsInf(sum, 0) {
				t.Errorf("side %d, native %v: sum of the inverse is %g, want not finite", n, native, sum)
			}
		}
	}
}

// TestBatchInverse: the body and the kernel invert each of several matrices; one that is not positive definite is not finite and
// leaves the others alone.
func TestBatchInverse(t *testing.T) {
	for _, n := range []int{1, 2, 5, 33} {
		rng := rand.New(rand.NewPCG(uint64(n), 43))
		const count = 3
		var stack []float64
		var each []*mat.Dense
		for i := range count {
			a := spd(rng, spectrum(n, 100))
			if i == 1 {
				a.Scale(-1, a)
			}
			each, stack = append(each, a), append(stack, a.RawMatrix().Data...)
		}
		m := functionModel(t, graph.Float64, section("batch inverse"), batchInverseFunction, []int64{count, int64(n), int64(n)})
		for _, native := range []bool{false, true} {
			s, err := runtime.NewSession(m, runtime.Options{Registry: solvers(t, native)})
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(map[string]*kernel.Tensor{"A": kernel.Of(stack, count, n, n)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range out {
				for i, a := range each {
					got := mat.NewDense(n, n, append([]float64{}, kernel.Data[float64](x)[i*n*n:(i+1)*n*n]...))
					if i == 1 {
						if sum := mat.Sum(got); !math.IsNaN(sum) && !math.IsInf(sum, 0) {
							t.Errorf("n=%d, native %v: the inverse of a negative matrix is finite", n, native)
						}
						continue
					}
					if e := relative(got, power(a, -1)); !(e < 1e-11) {
						t.Errorf("n=%d, native %v: matrix %d is off by %g", n, native, i, e)
					}
				}
			}
			_ = s.Close()
		}
	}
}
