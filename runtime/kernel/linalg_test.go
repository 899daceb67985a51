package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

// matrixSizes lie around the edges of blocks.
var matrixSizes = []int{1, 2, 3, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200}

// withSpectrum is U diag(f(i)) U^T for a random orthogonal U, exactly symmetric.
func withSpectrum(rng *rand.Rand, n int, f func(i int) float64) *mat.Dense {
	random := mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			random.Set(i, j, rng.NormFloat64())
		}
	}
	var qr mat.QR
	qr.Factorize(random)
	var u, ud, a mat.Dense
	qr.QTo(&u)
	d := mat.NewDiagDense(n, nil)
	for i := range n {
		d.SetDiag(i, f(i))
	}
	ud.Mul(&u, d)
	a.Mul(&ud, u.T())
	for i := range n {
		for j := range i {
			a.Set(j, i, a.At(i, j))
		}
	}
	return &a
}

// logSpaced is a spectrum from 1 down to 1/condition.
func logSpaced(n int, condition float64) func(i int) float64 {
	return func(i int) float64 { return math.Pow(condition, -float64(i)/float64(max(1, n-1))) }
}

func tensorOf[T amd64.Float](a *mat.Dense) *Tensor {
	rows, cols := a.Dims()
	x := New(graph.ElemOf[T](), rows, cols)
	for i := range Data[T](x) {
		Data[T](x)[i] = T(a.At(i/cols, i%cols))
	}
	return x
}

func denseOf[T amd64.Float](x *Tensor) *mat.Dense {
	a := mat.NewDense(x.Shape[0], x.Shape[1], nil)
	for i, v := range Data[T](x) {
		a.Set(i/x.Shape[1], i%x.Shape[1], float64(v))
	}
	return a
}

// relative is |got-want|_F / |want|_F.
func relative(got, want mat.Matrix) float64 {
	var d mat.Dense
	d.Sub(got, want)
	return mat.Norm(&d, 2) / mat.Norm(want, 2)
}

func wantSymmetric[T amd64.Float](t *testing.T, x *Tensor) {
	t.Helper()
	n := x.Shape[0]
	data := Data[T](x)
	for i := range n {
		for j := range i {
			if data[i*n+j] != data[j*n+i] {
				t.Fatalf("element (%d,%d) is %g and (%d,%d) is %g", i, j, data[i*n+j], j, i, data[j*n+i])
			}
		}
	}
}

func wantNaN[T amd64.Float](t *testing.T, x *Tensor) {
	t.Helper()
	for i, v := range Data[T](x) {
		if v == v {
			t.Fatalf("element %d is %g, want NaN", i, v)
		}
	}
}

func matrixCase[T amd64.Float](op string, a *Tensor, p *Pool, attrs ...graph.Attr) opCase {
	return opCase{domain: graph.Asdl, op: op, in: []*Tensor{a}, out: []Spec{outLike[T](a.Shape...)}, pool: p, attrs: attrs}
}

func TestCholeskyInverse(t *testing.T) {
	forKernels(t, func(t *testing.T, rows []Row) {
		forPools(t, func(t *testing.T, p *Pool) {
			testCholeskyInverse[float32](t, p, rows)
			testCholeskyInverse[float64](t, p, rows)
		})
	})
}

func testCholeskyInverse[T amd64.Float](t *testing.T, p *Pool, rows []Row) {
	rng := rand.New(rand.NewPCG(17, 18))
	for _, n := range matrixSizes {
		for _, condition := range []float64{1, 1e4} {
			a := tensorOf[T](withSpectrum(rng, n, logSpaced(n, condition)))
			var want mat.Dense
			if err := want.Inverse(denseOf[T](a)); err != nil {
				t.Fatal(err)
			}
			o := matrixCase[T]("CholeskyInverse", a, p)
			o.rows = rows
			x := o.run(t)[0]
			wantSymmetric[T](t, x)
			// the error of any stable inverse is a few roundings times the condition
			if e := relative(denseOf[T](x), &want); e > 3*epsilon[T]()*condition+1e-15*condition {
				t.Errorf("n=%d, condition %g: relative error %g", n, condition, e)
			}
			if got := o.allocs(t); got != 0 {
				t.Errorf("n=%d: %v allocations per run", n, got)
			}
		}
	}
}

// TestCholeskyInverseFails: what is no positive definite finite matrix gives NaN everywhere.
func TestCholeskyInverseFails(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	for _, n := range []int{1, 2, 32, 33, 129} {
		for name, spoil := range map[string]func(a []float64){
			"indefinite":   func(a []float64) { a[n*n-1] -= 3 },
			"zero":         func(a []float64) { clear(a) },
			"NaN":          func(a []float64) { a[(n-1)*n] = math.NaN() },
			"Inf":          func(a []float64) { a[n/2*n+n/2] = math.Inf(1) },
			"negative":     func(a []float64) { a[0] = -a[0] },
			"Inf off side": func(a []float64) { a[(n-1)*n] = math.Inf(-1) },
		} {
			a := tensorOf[float64](withSpectrum(rng, n, logSpaced(n, 10)))
			spoil(Data[float64](a))
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				forKernels(t, func(t *testing.T, rows []Row) {
					o := matrixCase[float64]("CholeskyInverse", a, nil)
					o.rows = rows
					wantNaN[float64](t, o.run(t)[0])
				})
			})
		}
	}
}

func TestInverseRoot(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testInverseRoot[float32](t, p)
		testInverseRoot[float64](t, p)
	})
}

func testInverseRoot[T amd64.Float](t *testing.T, pool *Pool) {
	for _, n := range matrixSizes {
		for _, p := range []int{1, 2, 3, 4, 6, 7, 8} {
			if n > 33 && p != 4 {
				continue
			}
			const condition = 100
			f := logSpaced(n, condition)
			a := withSpectrum(rand.New(rand.NewPCG(21, 22)), n, f)
			o := matrixCase[T]("InverseRoot", tensorOf[T](a), pool, rootAttrs(p)...)
			x := denseOf[T](o.run(t)[0])
			// stopped at |M-I| <= 1e-6, so X is as near as that times its size
			tol := 1e-5 + 100*epsilon[T]()
			if n <= 33 {
				if d := relative(x, naiveInverseRoot(a, p)); d > tol {
					t.Errorf("n=%d, p=%d: differs by %g from the formula", n, p, d)
				}
			}
			want := withSpectrum(rand.New(rand.NewPCG(21, 22)), n, func(i int) float64 { return math.Pow(f(i), -1/float64(p)) })
			if e := relative(x, want); e > tol {
				t.Errorf("n=%d, p=%d: relative error %g", n, p, e)
			}
			if got := o.allocs(t); got != 0 {
				t.Errorf("n=%d: %v allocations per run", n, got)
			}
		}
	}
}

// rootRows is a table for InverseRoot: Newton's step on eigenvalues stretched by 1.5, twice, then Taylor's polynomial.
func rootRows(p int) [][3]float64 {
	const stretch = 1.5
	r := 1 / float64(p)
	s := math.Pow(stretch, r)
	return [][3]float64{
		{s * (1 + r), -stretch * s * r, 0},
		{s * (1 + r), -stretch * s * r, 0},
		{1 + r*(3+r)/2, -r * (2 + r), r * (1 + r) / 2},
	}
}

// rootAttrs are the attributes of InverseRoot.
func rootAttrs(p int, more ...graph.Attr) []graph.Attr {
	var flat []float64
	rows := rootRows(p)
	for _, row := range rows {
		flat = append(flat, row[:]...)
	}
	return append(more, graph.I("p", int64(p)), graph.T("coefficients", graph.TensorOf(flat, int64(len(rows)), 3)))
}

// naiveInverseRoot is the iteration of InverseRoot written plainly, with a trip more than it needs.
func naiveInverseRoot(a *mat.Dense, p int) *mat.Dense {
	n, _ := a.Dims()
	z := 1 / mat.Norm(a, 2)
	eye := mat.NewDense(n, n, nil)
	for i := range n {
		eye.Set(i, i, 1)
	}
	var x, m, off mat.Dense
	x.Scale(math.Pow(z, 1/float64(p)), eye)
	m.Scale(z, a)
	rows := rootRows(p)
	for k := range 100 {
		off.Sub(&m, eye)
		row := min(k, len(rows)-1)
		if mat.Norm(&off, 2) < 0.5 {
			row = len(rows) - 1
		}
		if mat.Norm(&off, 2) < 1e-10 {
			break
		}
		var t, square, power mat.Dense
		square.Mul(&m, &m)
		t.Scale(rows[row][0], eye)
		for i, v := range []*mat.Dense{&m, &square} {
			var term mat.Dense
			term.Scale(rows[row][i+1], v)
			t.Add(&t, &term)
		}
		x.Mul(mat.DenseCopyOf(&x), &t)
		power.Pow(&t, p)
		m.Mul(&power, mat.DenseCopyOf(&m))
	}
	return &x
}

// TestInverseRootIllConditioned: with a condition that float32 cannot follow, the iteration must stop at its best X.
func TestInverseRootIllConditioned(t *testing.T) {
	f := logSpaced(64, 1e6)
	a := withSpectrum(rand.New(rand.NewPCG(23, 24)), 64, f)
	want := withSpectrum(rand.New(rand.NewPCG(23, 24)), 64, func(i int) float64 { return math.Pow(f(i), -0.25) })
	x := matrixCase[float32]("InverseRoot", tensorOf[float32](a), nil, rootAttrs(4)...).run(t)[0]
	if e := relative(denseOf[float32](x), want); !(e < 1e-2) {
		t.Errorf("relative error %g", e)
	}
}

func TestInverseRootSpecial(t *testing.T) {
	run := func(v float64, attrs ...graph.Attr) *Tensor {
		return matrixCase[float64]("InverseRoot", Of([]float64{v, 0, 0, v}, 2, 2), nil, rootAttrs(4, attrs...)...).run(t)[0]
	}
	start := math.Pow(16*math.Sqrt2, -0.25)
	wantClose[float64](t, "multiple of the identity", run(16), []float64{0.5, 0, 0, 0.5}, 1e-6)
	wantClose[float64](t, "no iteration", run(16, graph.I("iterations", 0)), []float64{start, 0, 0, start}, 1e-12)
	wantClose[float64](t, "loose tolerance", run(16, graph.F("tol", 10)), []float64{start, 0, 0, start}, 1e-12)
	for _, v := range []float64{0, math.NaN(), math.Inf(1)} {
		wantNaN[float64](t, run(v))
	}
	wantClose[float64](t, "one element", matrixCase[float64]("InverseRoot", Of([]float64{16}, 1, 1), nil, rootAttrs(4)...).run(t)[0], []float64{0.5}, 1e-12)
	matrixCase[float64]("InverseRoot", New(graph.Float64, 2, 3), nil, rootAttrs(4)...).mustFail(t)
	matrixCase[float64]("InverseRoot", New(graph.Float64, 2, 2), nil, rootAttrs(0)...).mustFail(t)
	matrixCase[float64]("InverseRoot", New(graph.Float64, 2, 2), nil, graph.I("p", 4)).mustFail(t)
}

func TestPowerIteration(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 26))
	for _, n := range matrixSizes {
		a := tensorOf[float32](withSpectrum(rng, n, func(i int) float64 { return 5 / float64(1+i) }))
		o := opCase{domain: graph.Asdl, op: "PowerIteration", in: []*Tensor{a, randomTensor[float32](rng, n)}, out: []Spec{outLike[float32]()}}
		wantClose[float32](t, fmt.Sprint(n), o.run(t)[0], []float64{5}, 1e-5)
		if got := o.allocs(t); got != 0 {
			t.Errorf("n=%d: %v allocations per run", n, got)
		}
	}
	// two steps by hand: v=(3,4)/5, A=diag(1,2): lambda = 0.36+2*0.64, then v=(3,8)/sqrt(73): (9+128)/73
	a := Of([]float64{1, 0, 0, 2}, 2, 2)
	for iterations, want := range []float64{0, 1.64, 137.0 / 73} {
		o := opCase{domain: graph.Asdl, op: "PowerIteration", in: []*Tensor{a, Of([]float64{3, 4}, 2)}, out: []Spec{outLike[float64]()}}
		o.attrs = []graph.Attr{graph.I("iterations", int64(iterations))}
		wantClose[float64](t, "by hand", o.run(t)[0], []float64{want}, 1e-14)
	}
}
