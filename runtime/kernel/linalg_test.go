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
	forPools(t, func(t *testing.T, p *Pool) {
		testCholeskyInverse[float32](t, p)
		testCholeskyInverse[float64](t, p)
	})
}

func testCholeskyInverse[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(17, 18))
	for _, n := range matrixSizes {
		for _, condition := range []float64{1, 1e4} {
			a := tensorOf[T](withSpectrum(rng, n, logSpaced(n, condition)))
			var want mat.Dense
			if err := want.Inverse(denseOf[T](a)); err != nil {
				t.Fatal(err)
			}
			o := matrixCase[T]("CholeskyInverse", a, p)
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
				wantNaN[float64](t, matrixCase[float64]("CholeskyInverse", a, nil).run(t)[0])
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
			o := matrixCase[T]("InverseRoot", tensorOf[T](a), pool, graph.I("p", int64(p)))
			x := denseOf[T](o.run(t)[0])
			// stopped at max|M-I| <= 1e-6, so X is as near as that times its size
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

// naiveInverseRoot is the iteration of InverseRoot written plainly.
func naiveInverseRoot(a *mat.Dense, p int) *mat.Dense {
	n, _ := a.Dims()
	z := float64(1+p) / (2 * mat.Norm(a, 2))
	x := mat.NewDense(n, n, nil)
	m := mat.NewDense(n, n, nil)
	m.Scale(z, a)
	distance := func(m *mat.Dense) (worst, norm float64) {
		for i := range n {
			for j := range n {
				d := m.At(i, j)
				if i == j {
					d--
				}
				worst = max(worst, math.Abs(d))
				norm += d * d
			}
		}
		return worst, math.Sqrt(norm)
	}
	for i := range n {
		x.Set(i, i, math.Pow(z, 1/float64(p)))
	}
	worst, norm := distance(m)
	for k := 0; k < 100 && worst > float64(float32(1e-6)); k++ {
		var t, power, nextX, nextM mat.Dense
		t.Scale(-1/float64(p), m)
		for i := range n {
			t.Set(i, i, t.At(i, i)+1+1/float64(p))
		}
		power.Pow(&t, p)
		nextX.Mul(x, &t)
		nextM.Mul(&power, m)
		nextWorst, nextNorm := distance(&nextM)
		if !(nextNorm <= 1.2*norm) {
			break
		}
		stalled := norm < 0.1 && nextNorm > 0.5*norm
		x, m, worst, norm = &nextX, &nextM, nextWorst, nextNorm
		if stalled {
			break
		}
	}
	return x
}

// TestInverseRootIllConditioned: with a condition that float32 cannot follow, the iteration must stop at its best X.
func TestInverseRootIllConditioned(t *testing.T) {
	f := logSpaced(64, 1e6)
	a := withSpectrum(rand.New(rand.NewPCG(23, 24)), 64, f)
	want := withSpectrum(rand.New(rand.NewPCG(23, 24)), 64, func(i int) float64 { return math.Pow(f(i), -0.25) })
	x := matrixCase[float32]("InverseRoot", tensorOf[float32](a), nil, graph.I("p", 4)).run(t)[0]
	if e := relative(denseOf[float32](x), want); !(e < 1e-2) {
		t.Errorf("relative error %g", e)
	}
}

func TestInverseRootSpecial(t *testing.T) {
	run := func(v float64, attrs ...graph.Attr) *Tensor {
		attrs = append(attrs, graph.I("p", 4))
		return matrixCase[float64]("InverseRoot", Of([]float64{v}, 1, 1), nil, attrs...).run(t)[0]
	}
	wantClose[float64](t, "one element", run(16), []float64{0.5}, 1e-6)
	wantClose[float64](t, "no iteration", run(16, graph.I("iterations", 0)), []float64{math.Pow(5.0/32, 0.25)}, 1e-12)
	wantClose[float64](t, "loose tolerance", run(16, graph.F("tol", 10)), []float64{math.Pow(5.0/32, 0.25)}, 1e-12)
	for _, v := range []float64{0, math.NaN(), math.Inf(1)} {
		wantNaN[float64](t, run(v))
	}
	matrixCase[float64]("InverseRoot", New(graph.Float64, 2, 3), nil, graph.I("p", 4)).mustFail(t)
	matrixCase[float64]("InverseRoot", New(graph.Float64, 2, 2), nil).mustFail(t)
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

func BenchmarkCholeskyInverse(b *testing.B) {
	for _, n := range []int{64, 256, 512, 1024} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("n=%d/workers=%d", n, workers), func(b *testing.B) {
				p := NewPool(workers)
				defer p.Close()
				rng := rand.New(rand.NewPCG(1, 1))
				x := randomTensor[float32](rng, n, n)
				a := New(graph.Float32, n, n)
				Syrk(p, false, n, n, 1, Data[float32](x), n, 0, Data[float32](a), n, nil)
				for i := range n {
					Data[float32](a)[i*n+i] += float32(n)
				}
				o := matrixCase[float32]("CholeskyInverse", a, p)
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
}
