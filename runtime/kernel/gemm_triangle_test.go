package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// TestGemmTriangular: leaving out zeros changes nothing, not a bit.
func TestGemmTriangular(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testTriangular[float32](t, p)
		testTriangular[float64](t, p)
	})
}

func testTriangular[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(51, 52))
	shapes := []triangle{dense, lowerTriangle, upperTriangle}
	for _, n := range []int{1, 2, 15, 33, 100, 270, 550} {
		other := max(1, n*2/3)
		for form := range 4 {
			transA, transB := form&1 != 0, form&2 != 0
			for _, ta := range shapes {
				for _, tb := range shapes {
					m, cols := n, n
					if ta == dense {
						m = other
					}
					if tb == dense {
						cols = other + 1
					}
					a, lda := cut[T](rng, m, n, transA, ta)
					b, ldb := cut[T](rng, n, cols, transB, tb)
					beta := T(form % 2)
					c, ldc := matrix[T](rng, m, cols, 3)
					want := slices.Clone(c)
					Gemm(p, transA, transB, m, cols, n, 0.5, a, lda, b, ldb, beta, want, ldc, nil)
					soil(a, lda, n, transA, ta)
					soil(b, ldb, n, transB, tb)
					gemmTriangular(p, transA, transB, m, cols, n, 0.5, a, lda, ta, b, ldb, tb, beta, c, ldc, nil)
					same := func(x, y T) bool { return x == y || x != x && y != y } // NaN between rows
					if m == 1 && transB {                                           // Gemm sums in another order there
						same = func(x, y T) bool { return !(math.Abs(float64(x-y)) > 1e-5) }
					}
					if !slices.EqualFunc(c, want, same) {
						t.Fatalf("%dx%dx%d, transposed %t %t, triangles %d %d: not the product", m, cols, n, transA, transB, ta, tb)
					}
				}
			}
		}
	}
}

// cut is a random op^-1(X) for X[rows, cols] that is zero outside of a triangle.
func cut[T amd64.Float](rng *rand.Rand, rows, cols int, trans bool, t triangle) (x []T, ld int) {
	if trans {
		rows, cols, t = cols, rows, t.transposed()
	}
	x, ld = matrix[T](rng, rows, cols, 2)
	for i := range rows {
		for j := range cols {
			if t == lowerTriangle && j > i || t == upperTriangle && j < i {
				x[i*ld+j] = 0
			}
		}
	}
	return x, ld
}

// soil puts NaN outside of the triangle of a matrix of cut: nobody may see it.
func soil[T amd64.Float](x []T, ld, n int, trans bool, t triangle) {
	if trans {
		t = t.transposed()
	}
	for i := range n {
		for j := range n {
			if t == lowerTriangle && j > i || t == upperTriangle && j < i {
				x[i*ld+j] = T(math.NaN())
			}
		}
	}
}

// TestSymmetricProducts: I^T I for triangular I, and powers of a symmetric matrix, are symmetric and the products that they
// should be.
func TestSymmetricProducts(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(53, 54))
		for _, n := range []int{1, 7, 33, 100, 300, 530} {
			for _, shape := range []triangle{lowerTriangle, upperTriangle} {
				for _, trans := range []bool{false, true} {
					x, ld := cut[float64](rng, n, n, trans, shape)
					want, got, power := make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
					Gemm(p, trans, !trans, n, n, n, 1, x, ld, x, ld, 0, want, n, nil)
					soil(x, ld, n, trans, shape)
					syrkTriangular(p, trans, n, x, ld, shape, got, n, nil)
					wantProduct(t, fmt.Sprint("syrk ", n), n, got, want)
					Gemm(p, false, false, n, n, n, 2, got, n, got, n, 0, want, n, nil)
					gemmSymmetric(p, false, false, n, n, 2, got, n, got, n, 0, power, n, nil)
					wantProduct(t, fmt.Sprint("square ", n), n, power, want)
				}
			}
		}
	})
}

func wantProduct(t *testing.T, name string, n int, got, want []float64) {
	t.Helper()
	largest := slices.Max(want)
	for i := range n {
		for j := range n {
			if got[i*n+j] != got[j*n+i] {
				t.Fatalf("%s: elements %d,%d and %d,%d differ", name, i, j, j, i)
			}
			if d := got[i*n+j] - want[i*n+j]; d > 1e-13*largest || d < -1e-13*largest {
				t.Fatalf("%s: element %d,%d is off by %g", name, i, j, d)
			}
		}
	}
}
