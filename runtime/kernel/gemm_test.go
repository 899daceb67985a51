package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// forEachSet runs a test once for every set of kernels of this processor.
func forEachSet(t *testing.T, f func(t *testing.T, k *amd64.Kernels)) {
	for _, k := range amd64.Available() {
		t.Run(k.Name, func(t *testing.T) { f(t, k) })
	}
}

// newTestPool gives a pool that ends with the test.
func newTestPool(t testing.TB, size int, k *amd64.Kernels) *Pool {
	p := NewPool(size, WithKernels(k))
	t.Cleanup(p.Close)
	return p
}

// matrix gives rows x cols random values in [-1, 1), with leading dimension cols+pad; the padding is NaN, which any
// kernel that reads it shows.
func matrix[T amd64.Float](rng *rand.Rand, rows, cols, pad int) ([]T, int) {
	ld := cols + pad
	s := make([]T, rows*ld)
	for i := range s {
		s[i] = T(math.NaN())
		if i%ld < cols {
			s[i] = T(2*rng.Float64() - 1)
		}
	}
	return s, ld
}

func epsilon[T amd64.Float]() float64 {
	var zero T
	if _, ok := any(zero).(float32); ok {
		return 0x1p-23
	}
	return 0x1p-52
}

// naiveGemm is the triple loop in float64.
func naiveGemm[T amd64.Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) []float64 {
	at := func(s []T, ld int, trans bool, i, j int) float64 {
		if trans {
			i, j = j, i
		}
		return float64(s[i*ld+j])
	}
	out := make([]float64, m*n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for p := range k {
				sum += at(a, lda, transA, i, p) * at(b, ldb, transB, p, j)
			}
			out[i*n+j] = float64(alpha) * sum
			if beta != 0 {
				out[i*n+j] += float64(beta) * float64(c[i*ldc+j])
			}
		}
	}
	return out
}

type gemmCase struct {
	transA, transB bool
	m, n, k, pad   int
	alpha, beta    float64
}

func checkGemm[T amd64.Float](t *testing.T, p *Pool, rng *rand.Rand, s gemmCase) {
	t.Helper()
	ra, ca, rb, cb := s.m, s.k, s.k, s.n
	if s.transA {
		ra, ca = ca, ra
	}
	if s.transB {
		rb, cb = cb, rb
	}
	a, lda := matrix[T](rng, ra, ca, s.pad)
	b, ldb := matrix[T](rng, rb, cb, s.pad)
	c, ldc := matrix[T](rng, s.m, s.n, s.pad)
	alpha, beta := T(s.alpha), T(s.beta)
	if beta == 0 {
		for i := range c {
			c[i] = T(math.NaN())
		}
	}
	want := naiveGemm(s.transA, s.transB, s.m, s.n, s.k, alpha, a, lda, b, ldb, beta, c, ldc)
	Gemm(p, s.transA, s.transB, s.m, s.n, s.k, alpha, a, lda, b, ldb, beta, c, ldc, nil)
	for i := range s.m {
		for j := range ldc {
			got := float64(c[i*ldc+j])
			if j >= s.n {
				if !math.IsNaN(got) {
					t.Fatalf("%+v: wrote %v to the padding of C at %d,%d", s, got, i, j)
				}
				continue
			}
			if d := math.Abs(got - want[i*s.n+j]); !(d <= float64(s.k+2)*epsilon[T]()) {
				t.Fatalf("%+v %T: C[%d,%d] = %v, want %v", s, alpha, i, j, got, want[i*s.n+j])
			}
		}
	}
}

// edgeSizes surround the edges of tiles, strips and blocks.
var edgeSizes = []int{1, 2, 3, 5, 6, 7, 8, 14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255, 256, 257}

// TestGemm compares with the triple loop: every pair of the small sizes, and random mixes of all sizes.
func TestGemm(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		p := newTestPool(t, 2, k)
		rng := rand.New(rand.NewPCG(1, 1))
		scalars := []float64{1, 0, -0.5}
		run := func(m, n, k int) {
			s := gemmCase{
				transA: rng.IntN(2) == 0, transB: rng.IntN(2) == 0, m: m, n: n, k: k, pad: rng.IntN(3) * 3,
				alpha: scalars[rng.IntN(3)], beta: scalars[rng.IntN(3)],
			}
			checkGemm[float32](t, p, rng, s)
			checkGemm[float64](t, p, rng, s)
		}
		for _, m := range edgeSizes[:15] {
			for _, n := range edgeSizes[:15] {
				run(m, n, edgeSizes[rng.IntN(15)])
				run(m, n, edgeSizes[rng.IntN(15)])
			}
		}
		pick := func() int { return edgeSizes[rng.IntN(len(edgeSizes))] }
		for range 60 {
			run(pick(), pick(), pick())
		}
		for _, k := range []int{0, 383, 384, 385, 1100} {
			run(17, 35, k)
			run(1, 35, k)
			run(17, 1, k)
		}
		run(1030, 9, 70)
		run(9, 1030, 70)
	})
}

// TestGemmForms crosses all transposes and scalars at sizes that take each path.
func TestGemmForms(t *testing.T) {
	shapes := [][3]int{{1, 130, 70}, {130, 1, 70}, {1, 1, 70}, {5, 140, 33}, {40, 40, 40}, {150, 140, 130}, {70, 70, 800}}
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		p := newTestPool(t, 2, k)
		rng := rand.New(rand.NewPCG(2, 2))
		for _, d := range shapes {
			for form := range 4 {
				for _, alpha := range []float64{0, 1, -0.5} {
					for _, beta := range []float64{0, 1, -0.5} {
						s := gemmCase{form&1 == 1, form&2 == 2, d[0], d[1], d[2], 3 * (form & 1), alpha, beta}
						checkGemm[float32](t, p, rng, s)
						checkGemm[float64](t, p, rng, s)
					}
				}
			}
		}
	})
}

// TestGemmPropagatesNaN: a NaN or infinity in a factor reaches its row and column even against zeros.
func TestGemmPropagatesNaN(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		p := newTestPool(t, 1, k)
		for _, n := range []int{1, 7, 100} {
			for _, alpha := range []float32{1, 0} {
				a, b, c := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
				a[(n-1)*n] = float32(math.Inf(1))
				Gemm(p, false, false, n, n, n, alpha, a, n, b, n, 0, c, n, nil)
				for i, v := range c {
					if isNaN := v != v; isNaN != (i >= (n-1)*n) {
						t.Fatalf("n %d: C[%d] = %v", n, i, v)
					}
				}
			}
		}
	})
}

func TestGemmBatched(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		p := newTestPool(t, 2, k)
		rng := rand.New(rand.NewPCG(3, 3))
		const batch = 5
		for _, d := range [][3]int{{3, 4, 5}, {1, 70, 20}, {90, 60, 150}} {
			m, n, k := d[0], d[1], d[2]
			for _, strideB := range []int{0, k*n + 1} {
				a, b := make([]float32, 0), make([]float32, 0)
				for range batch {
					x, _ := matrix[float32](rng, m, k, 0)
					y, _ := matrix[float32](rng, k*n+1, 1, 0)
					a, b = append(a, x...), append(b, y...)
				}
				c := make([]float32, batch*m*n)
				GemmBatched(p, false, true, m, n, k, 1, a, k, m*k, b, k, strideB, 0, c, n, m*n, batch, nil)
				for i := range batch {
					want := naiveGemm(false, true, m, n, k, 1, a[i*m*k:], k, b[i*strideB:], k, 0, nil, n)
					for e, w := range want {
						if d := math.Abs(float64(c[i*m*n+e]) - w); !(d <= float64(k+2)*epsilon[float32]()) {
							t.Fatalf("%v stride %d: product %d element %d = %v, want %v", d, strideB, i, e, c[i*m*n+e], w)
						}
					}
				}
			}
		}
	})
}

// TestGemmBatchedSideBySide: the products are column blocks of one matrix.
func TestGemmBatchedSideBySide(t *testing.T) {
	const batch, m, n, k = 3, 20, 5, 33
	rng := rand.New(rand.NewPCG(8, 8))
	p := newTestPool(t, 2, amd64.Best())
	a, _ := matrix[float32](rng, m, batch*k, 0)
	b, _ := matrix[float32](rng, k, batch*n, 0)
	c := make([]float32, m*batch*n)
	GemmBatched(p, false, false, m, n, k, 1, a, batch*k, k, b, batch*n, n, 0, c, batch*n, n, batch, nil)
	for i := range batch {
		want := naiveGemm(false, false, m, n, k, 1, a[i*k:], batch*k, b[i*n:], batch*n, 0, nil, n)
		for e, w := range want {
			got := c[e/n*batch*n+i*n+e%n]
			if d := math.Abs(float64(got) - w); !(d <= float64(k+2)*epsilon[float32]()) {
				t.Fatalf("product %d element %d = %v, want %v", i, e, got, w)
			}
		}
	}
}

func testSyrk[T amd64.Float](t *testing.T, p *Pool, rng *rand.Rand, trans bool, n, k int, beta T) {
	t.Helper()
	rows, cols := n, k
	if trans {
		rows, cols = k, n
	}
	a, lda := matrix[T](rng, rows, cols, 2)
	c, ldc := matrix[T](rng, n, n, 3)
	for i := range n {
		for j := range i {
			c[j*ldc+i] = T(math.NaN()) // the upper triangle must not be read
		}
	}
	lower := slices.Clone(c)
	for i := range n {
		for j := range i {
			lower[j*ldc+i] = lower[i*ldc+j]
		}
	}
	want := naiveGemm(trans, !trans, n, n, k, -0.5, a, lda, a, lda, beta, lower, ldc)
	Syrk(p, trans, n, k, -0.5, a, lda, beta, c, ldc, nil)
	for i := range n {
		for j := range n {
			if d := math.Abs(float64(c[i*ldc+j]) - want[i*n+j]); !(d <= float64(k+2)*epsilon[T]()) {
				t.Fatalf("trans %v n %d k %d beta %v: C[%d,%d] = %v, want %v", trans, n, k, beta, i, j, c[i*ldc+j], want[i*n+j])
			}
			if c[i*ldc+j] != c[j*ldc+i] {
				t.Fatalf("trans %v n %d k %d: not symmetric at %d,%d", trans, n, k, i, j)
			}
		}
	}
}

func TestSyrk(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		p := newTestPool(t, 2, k)
		rng := rand.New(rand.NewPCG(4, 4))
		for _, n := range []int{1, 2, 7, 16, 17, 33, 65, 129, 257} {
			for _, k := range []int{0, 1, 31, 130} {
				for form := range 4 {
					testSyrk[float32](t, p, rng, form&1 == 1, n, k, float32(form&2)/4)
					testSyrk[float64](t, p, rng, form&1 == 1, n, k, -0.5)
				}
			}
		}
	})
}

// TestGemmIndependentOfWorkers: the same bits for every size of the pool.
func TestGemmIndependentOfWorkers(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *amd64.Kernels) {
		rng := rand.New(rand.NewPCG(5, 5))
		for _, d := range [][3]int{{300, 200, 450}, {1, 3000, 900}, {3000, 1, 900}, {260, 260, 60}} {
			m, n, kk := d[0], d[1], d[2]
			a, _ := matrix[float32](rng, m, kk, 0)
			b, _ := matrix[float32](rng, kk, n, 0)
			for form := range 4 {
				transA, transB, lda, ldb := form&1 == 1, form&2 == 2, kk, n
				if transA {
					lda = m
				}
				if transB {
					ldb = kk
				}
				var first []float32
				for _, size := range []int{1, 2, 3, 7} {
					c := make([]float32, m*n)
					Gemm(newTestPool(t, size, k), transA, transB, m, n, kk, 1, a, lda, b, ldb, 0, c, n, nil)
					if first == nil {
						first = c
					} else if !slices.Equal(first, c) {
						t.Fatalf("%v form %d: %d workers give other bits than 1", d, form, size)
					}
				}
			}
		}
	})
}

func TestGemmAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for _, size := range []int{0, 1, 2} {
		var p *Pool
		if size > 0 {
			p = newTestPool(t, size, amd64.Best())
		}
		for _, d := range [][3]int{{8, 8, 8}, {1, 300, 300}, {300, 1, 300}, {300, 300, 300}} {
			m, n, k := d[0], d[1], d[2]
			a, _ := matrix[float32](rng, k, m, 0)
			b, _ := matrix[float32](rng, n, k, 0)
			c := make([]float32, max(m, n)*max(m, n))
			ws := make([]byte, max(GemmWorkspace[float32](p, m, n, k), GemmWorkspace[float32](p, m, m, k)))
			if allocs := testing.AllocsPerRun(20, func() {
				Gemm(p, true, true, m, n, k, 1, a, m, b, k, 0, c, n, ws)
				Syrk(p, true, m, k, 1, a, m, 0, c, m, ws)
			}); allocs != 0 {
				t.Errorf("pool of %d, %v: %v allocations", size, d, allocs)
			}
		}
	}
}

func TestGemmRefusesShortSlices(t *testing.T) {
	full := make([]float32, 100)
	for name, call := range map[string]func(){
		"A":       func() { Gemm(nil, false, false, 10, 10, 10, 1, full[:99], 10, full, 10, 0, full, 10, nil) },
		"B":       func() { Gemm(nil, false, false, 10, 10, 10, 1, full, 10, full[:99], 10, 0, full, 10, nil) },
		"C":       func() { Gemm(nil, false, false, 10, 10, 10, 1, full, 10, full, 10, 0, full[:99], 10, nil) },
		"overlap": func() { GemmBatched(nil, false, false, 2, 2, 2, 1, full, 2, 4, full, 2, 4, 0, full, 2, 1, 4, nil) },
		"ld":      func() { Gemm(nil, false, false, 10, 10, 10, 1, full, 9, full, 10, 0, full, 10, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s too short: no panic", name)
				}
			}()
			call()
		}()
	}
}

func ExampleGemm() {
	a := []float32{1, 2, 3, 4}
	c := make([]float32, 4)
	Gemm(nil, false, true, 2, 2, 2, 1, a, 2, a, 2, 0, c, 2, nil)
	fmt.Println(c)
	// Output: [5 11 11 25]
}
