package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

// basisCase tracks the eigenvectors of a from q.
func basisCase[T amd64.Float](a, q *Tensor, p *Pool, iterations int64, tol float32) opCase {
	return opCase{
		domain: graph.Asdl, op: "EigenBasis", in: []*Tensor{a, q}, out: []Spec{outLike[T](a.Shape...), outLike[T](a.Shape[0])}, pool: p,
		attrs: []graph.Attr{graph.I("iterations", iterations), graph.F("tol", tol)},
	}
}

func identity[T amd64.Float](n int) *Tensor {
	x := New(graph.ElemOf[T](), n, n)
	for i := range n {
		Data[T](x)[i*n+i] = 1
	}
	return x
}

// basisError are the off-diagonal part of q^T a q beside a, and how far q is from orthonormal.
func basisError(a, q *mat.Dense) (off, skew float64) {
	n, _ := a.Dims()
	var b, g mat.Dense
	b.Product(q.T(), a, q)
	g.Mul(q.T(), q)
	for i := range n {
		b.Set(i, i, 0)
		g.Set(i, i, g.At(i, i)-1)
	}
	return mat.Norm(&b, 2) / math.Max(mat.Norm(a, 2), 1e-300), mat.Norm(&g, 2) / math.Sqrt(float64(n))
}

// spectra of the basis tests: well and badly conditioned, singular, repeated, indefinite, none.
var basisSpectra = map[string]func(n int) func(i int) float64{
	"condition 10":  func(n int) func(int) float64 { return logSpaced(n, 10) },
	"condition 1e6": func(n int) func(int) float64 { return logSpaced(n, 1e6) },
	"singular": func(n int) func(int) float64 {
		return func(i int) float64 { return max(0, 1-2*float64(i)/float64(n)) }
	},
	"repeated": func(n int) func(int) float64 {
		return func(i int) float64 { return []float64{3, 2, 1, 1}[i%4] }
	},
	"indefinite": func(n int) func(int) float64 { return func(i int) float64 { return 1 - 2.1*float64(i)/float64(n) } },
	"huge":       func(n int) func(int) float64 { return func(i int) float64 { return 1e30 / float64(i+1) } },
	"small":      func(n int) func(int) float64 { return func(i int) float64 { return 1e-30 / float64(i+1) } },
	"zero":       func(int) func(int) float64 { return func(int) float64 { return 0 } },
}

// TestEigenBasis: from the identity, and from a basis that is a little off, to rounding; w is the spectrum.
func TestEigenBasis(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testEigenBasis[float32](t, p)
		testEigenBasis[float64](t, p)
	})
}

func testEigenBasis[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(31, 32))
	for _, n := range []int{1, 2, 3, 5, 33, 65} {
		for name, spectrum := range basisSpectra {
			f := spectrum(n)
			a := tensorOf[T](withSpectrum(rng, n, f))
			o := basisCase[T](a, identity[T](n), p, 80, 0)
			out := o.run(t)
			off, skew := basisError(denseOf[T](a), denseOf[T](out[0]))
			limit := 20 * epsilon[T]() * math.Sqrt(float64(n))
			if off > limit || skew > limit {
				t.Errorf("%s, n=%d: off-diagonal %g, not orthonormal by %g, want below %g", name, n, off, skew, limit)
			}
			want, got := make([]float64, n), make([]float64, n)
			for i, w := range Data[T](out[1]) {
				got[i], want[i] = float64(w), f(i)
			}
			slices.Sort(want)
			slices.Sort(got)
			for i := range want {
				if math.Abs(got[i]-want[i]) > 2*limit*math.Abs(f(0)) {
					t.Errorf("%s, n=%d: eigenvalue %g, want %g", name, n, got[i], want[i])
				}
			}
		}
		if o := basisCase[T](identity[T](n), identity[T](n), p, 2, -1); o.allocs(t) != 0 {
			t.Errorf("n=%d: allocations in a run", n)
		}
	}
}

// TestEigenBasisTracks: a basis of a matrix that moved by a little is close after two trips, in the old order, and no trip makes
// it worse.
func TestEigenBasisTracks(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	n := 40
	a := withSpectrum(rng, n, logSpaced(n, 1e4))
	q := basisCase[float64](tensorOf[float64](a), identity[float64](n), nil, 80, 0).run(t)[0]
	var moved mat.Dense
	moved.Scale(0.01, withSpectrum(rng, n, logSpaced(n, 1e3)))
	moved.Add(&moved, a)
	before, _ := basisError(&moved, denseOf[float64](q))
	last := before
	for trips := range int64(4) {
		next := basisCase[float64](tensorOf[float64](&moved), q, nil, trips+1, 0).run(t)[0]
		off, skew := basisError(&moved, denseOf[float64](next))
		if off > last || skew > 1e-7 {
			t.Errorf("%d trips: off-diagonal %g after %g, not orthonormal by %g", trips+1, off, last, skew)
		}
		last = off
		if trips == 1 && off > before/3 {
			t.Errorf("off-diagonal %g is %g after two trips", before, off)
		}
	}
	loose := basisCase[float64](tensorOf[float64](&moved), q, nil, 80, 0.5).run(t)[0]
	if d := relative(denseOf[float64](loose), denseOf[float64](q)); d > 1e-12 {
		t.Errorf("a basis within the tolerance moved by %g", d)
	}
}

// TestEigenBasisFails: what is not finite leaves the basis and gives NaN eigenvalues.
func TestEigenBasisFails(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		a := withSpectrum(rand.New(rand.NewPCG(35, 36)), 6, logSpaced(6, 10))
		a.Set(2, 3, bad)
		out := basisCase[float64](tensorOf[float64](a), identity[float64](6), nil, 10, 0).run(t)
		if d := relative(denseOf[float64](out[0]), denseOf[float64](identity[float64](6))); d != 0 {
			t.Errorf("%g: the basis moved by %g", bad, d)
		}
		wantNaN[float64](t, out[1])
	}
}
