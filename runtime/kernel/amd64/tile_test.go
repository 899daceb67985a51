package amd64

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// forEachSet runs a test on every set of kernels of this processor.
func forEachSet(t *testing.T, f func(t *testing.T, k *Kernels)) {
	for _, k := range Available() {
		t.Run(k.Name, func(t *testing.T) { f(t, k) })
	}
}

func random[T Float](rng *rand.Rand, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = T(2*rng.Float64() - 1)
	}
	return s
}

// epsilon is the unit round-off of T, generously.
func epsilon[T Float]() float64 {
	var zero T
	if _, ok := any(zero).(float32); ok {
		return math.Pow(2, -23)
	}
	return math.Pow(2, -52)
}

func testTile[T Float](t *testing.T, g *GEMM[T]) {
	rng := rand.New(rand.NewPCG(1, 2))
	const guard = 12345
	check := func(rows, cols, k int, alpha, beta T, strided bool) {
		rsa, csa, ldb, ldc := 1, rows, cols, cols+3
		if strided {
			rsa, csa, ldb = k+2, 1, cols+5
		}
		a, b := random[T](rng, rows*rsa+k*csa+1), random[T](rng, (k+1)*ldb)
		c := random[T](rng, rows*ldc)
		if beta == 0 {
			for i := range c {
				c[i] = T(math.NaN())
			}
		}
		for i := range rows {
			for j := cols; j < ldc; j++ {
				c[i*ldc+j] = guard
			}
		}
		got := append([]T(nil), c...)
		g.Tile(rows, cols, k, &a[0], rsa, csa, &b[0], ldb, &got[0], ldc, alpha, beta)
		for i := range rows {
			for j := range ldc {
				want, scale := float64(c[i*ldc+j]), 0.0
				if j < cols {
					sum := 0.0
					for p := range k {
						sum += float64(a[i*rsa+p*csa]) * float64(b[p*ldb+j])
					}
					want = float64(alpha) * sum
					if beta != 0 {
						want += float64(beta) * float64(c[i*ldc+j])
					}
					scale = float64(k + 2)
				}
				if d := math.Abs(float64(got[i*ldc+j]) - want); !(d <= scale*epsilon[T]()) {
					t.Fatalf("%dx%dx%d alpha %v beta %v strided %v: C[%d,%d] = %v, want %v",
						rows, cols, k, alpha, beta, strided, i, j, got[i*ldc+j], want)
				}
			}
		}
	}
	for rows := 1; rows <= g.Rows; rows++ {
		width := g.Cols
		if rows <= g.WideRows {
			width = g.WideCols
		}
		for cols := 1; cols <= width; cols++ {
			for _, k := range []int{0, 1, 2, 7} {
				check(rows, cols, k, 1, 0, cols%2 == 0)
				check(rows, cols, k, -0.5, 1, cols%2 == 1)
				check(rows, cols, k, 0.75, -0.5, false)
			}
		}
	}
}

func TestTile(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testTile(t, &k.F32)
		testTile(t, &k.F64)
	})
}

func testTranspose[T Float](t *testing.T, g *GEMM[T]) {
	for rows := 1; rows <= g.Lanes; rows++ {
		for cols := 0; cols <= 2*g.Lanes+3; cols++ {
			lds, ldd := cols+1, rows+2
			src, dst := random[T](rand.New(rand.NewPCG(3, 4)), rows*lds), make([]T, (cols+1)*ldd)
			g.Transpose(rows, cols, &src[0], lds, &dst[0], ldd)
			for p := range cols + 1 {
				for i := range ldd {
					want := T(0)
					if p < cols && i < rows {
						want = src[i*lds+p]
					}
					if got := dst[p*ldd+i]; got != want {
						t.Fatalf("%dx%d: dst[%d,%d] = %v, want %v", rows, cols, p, i, got, want)
					}
				}
			}
		}
	}
}

func TestTranspose(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testTranspose(t, &k.F32)
		testTranspose(t, &k.F64)
	})
}

func testCopy[T Float](t *testing.T, g *GEMM[T]) {
	for _, rows := range []int{1, 2, 5} {
		for cols := 1; cols <= 4*g.Lanes; cols++ {
			lds, ldd := cols+1, cols+2
			src, dst := random[T](rand.New(rand.NewPCG(7, 8)), rows*lds), make([]T, rows*ldd)
			g.Copy(rows, cols, &src[0], lds, &dst[0], ldd)
			for i, got := range dst {
				want := T(0)
				if i%ldd < cols {
					want = src[i/ldd*lds+i%ldd]
				}
				if got != want {
					t.Fatalf("%dx%d: dst[%d,%d] = %v, want %v", rows, cols, i/ldd, i%ldd, got, want)
				}
			}
		}
	}
}

func TestCopy(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testCopy(t, &k.F32)
		testCopy(t, &k.F64)
	})
}

func testCopyEven[T Float](t *testing.T, g *GEMM[T]) {
	for _, rows := range []int{1, 2, 5} {
		for cols := 1; cols <= 5*g.Lanes; cols++ {
			lds, ldd := 2*cols+1, cols+2
			src, dst := random[T](rand.New(rand.NewPCG(7, 8)), rows*lds-2), make([]T, rows*ldd)
			g.CopyEven(rows, cols, &src[0], lds, &dst[0], ldd)
			for i, got := range dst {
				want := T(0)
				if i%ldd < cols {
					want = src[i/ldd*lds+i%ldd*2]
				}
				if got != want {
					t.Fatalf("%dx%d: dst[%d,%d] = %v, want %v", rows, cols, i/ldd, i%ldd, got, want)
				}
			}
		}
	}
}

func TestCopyEven(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testCopyEven(t, &k.F32)
		testCopyEven(t, &k.F64)
	})
}

// offsets are starts of rows in no order, and where they begin in the source.
func offsets(rows, cols int) (off []int32, base, size int) {
	for i := range rows {
		off = append(off, int32((i*7%rows-rows/2)*(cols+3)))
	}
	return off, rows * (cols + 3), 2 * rows * (cols + 3)
}

func testCopyAt[T Float](t *testing.T, g *GEMM[T]) {
	for _, rows := range []int{1, 2, 5} {
		for cols := 1; cols <= 4*g.Lanes; cols++ {
			off, base, size := offsets(rows, cols)
			ldd := cols + 2
			src, dst := random[T](rand.New(rand.NewPCG(7, 8)), size), make([]T, rows*ldd)
			g.CopyAt(rows, cols, &src[base], &off[0], &dst[0], ldd)
			for i, got := range dst {
				want := T(0)
				if i%ldd < cols {
					want = src[base+int(off[i/ldd])+i%ldd]
				}
				if got != want {
					t.Fatalf("%dx%d: dst[%d,%d] = %v, want %v", rows, cols, i/ldd, i%ldd, got, want)
				}
			}
		}
	}
}

func testTransposeAt[T Float](t *testing.T, g *GEMM[T]) {
	for rows := 1; rows <= g.Lanes; rows++ {
		for cols := 0; cols <= 2*g.Lanes+3; cols++ {
			off, base, size := offsets(rows, cols)
			ldd := rows + 2
			src, dst := random[T](rand.New(rand.NewPCG(3, 4)), size), make([]T, (cols+1)*ldd)
			g.TransposeAt(rows, cols, &src[base], &off[0], &dst[0], ldd)
			for i, got := range dst {
				want := T(0)
				if i/ldd < cols && i%ldd < rows {
					want = src[base+int(off[i%ldd])+i/ldd]
				}
				if got != want {
					t.Fatalf("%dx%d: dst[%d,%d] = %v, want %v", rows, cols, i/ldd, i%ldd, got, want)
				}
			}
		}
	}
}

func TestByOffsets(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testCopyAt(t, &k.F32)
		testCopyAt(t, &k.F64)
		testTransposeAt(t, &k.F32)
		testTransposeAt(t, &k.F64)
	})
}

func testDotRows[T Float](t *testing.T, g *GEMM[T]) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, rows := range []int{0, 1, 3, 4, 5, 9} {
		for k := range 70 {
			lda := k + 1
			a, x, y := random[T](rng, rows*lda+1), random[T](rng, k+1), make([]T, rows+1)
			y[rows] = 7
			g.DotRows(rows, k, &a[0], lda, &x[0], &y[0])
			if y[rows] != 7 {
				t.Fatalf("%d rows, k %d: wrote past the end", rows, k)
			}
			for i := range rows {
				want, alone := 0.0, []T{0}
				for p := range k {
					want += float64(a[i*lda+p]) * float64(x[p])
				}
				if d := math.Abs(float64(y[i]) - want); !(d <= float64(k+1)*epsilon[T]()) {
					t.Fatalf("%d rows, k %d: y[%d] = %v, want %v", rows, k, i, y[i], want)
				}
				g.DotRows(1, k, &a[i*lda], lda, &x[0], &alone[0])
				if alone[0] != y[i] {
					t.Fatalf("k %d: row %d alone gives %v, in the group %v", k, i, alone[0], y[i])
				}
			}
		}
	}
}

func testDotTile[T Float](t *testing.T, g *GEMM[T]) {
	rng := rand.New(rand.NewPCG(9, 10))
	for rows := 1; rows <= g.DotSide; rows++ {
		for cols := 1; cols <= g.DotSide; cols++ {
			for k := range 3*g.Lanes + 2 {
				lda, ldb, ldc := k+1, k+2, cols+1
				a, b, old := random[T](rng, rows*lda), random[T](rng, cols*ldb), random[T](rng, rows*ldc)
				for _, beta := range []T{0, -2} {
					c := append([]T{}, old...)
					if beta == 0 {
						c[0] = T(math.NaN())
					}
					g.DotTile(rows, cols, k, &a[0], lda, &b[0], ldb, &c[0], ldc, 3, beta)
					for i, got := range c {
						want := float64(old[i])
						if r, j := i/ldc, i%ldc; j < cols {
							want *= float64(beta)
							for p := range k {
								want += 3 * float64(a[r*lda+p]) * float64(b[j*ldb+p])
							}
						}
						if d := math.Abs(float64(got) - want); !(d <= 1e-5*float64(k+2)) {
							t.Fatalf("%dx%dx%d beta %v: c[%d] = %v, want %v", rows, cols, k, beta, i, got, want)
						}
					}
				}
			}
		}
	}
}

func TestDotTile(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testDotTile(t, &k.F32)
		testDotTile(t, &k.F64)
	})
}

func testCombine[T Float](t *testing.T, g *GEMM[T]) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, taps := range []int{0, 1, 2, 9} {
		off, w := make([]int32, taps+1), random[T](rng, taps+1)
		for i := range off {
			off[i] = int32(rng.IntN(20))
		}
		for n := range 9*g.Lanes + 2 {
			src, dst := random[T](rng, n+20), make([]T, n+1)
			g.Combine(n, taps, &src[0], &off[0], &w[0], &dst[0], 3)
			for j, got := range dst {
				want := 0.0
				if j < n {
					want = 3
					for i := range taps {
						want += float64(w[i]) * float64(src[int(off[i])+j])
					}
				}
				if d := math.Abs(float64(got) - want); !(d <= 1e-5) {
					t.Fatalf("%d taps, n=%d: dst[%d] = %v, want %v", taps, n, j, got, want)
				}
			}
		}
	}
}

func testHighest[T Float](t *testing.T, g *GEMM[T]) {
	rng := rand.New(rand.NewPCG(13, 14))
	special := []T{T(math.NaN()), T(math.Inf(1)), T(math.Inf(-1)), 0, 1, 1, 2}
	for _, taps := range []int{1, 2, 9} {
		off := make([]int32, taps)
		for i := range off {
			off[i] = int32(rng.IntN(20))
		}
		for n := range 9*g.Lanes + 2 {
			src, dst, which := random[T](rng, n+20), make([]T, n+1), make([]T, n+1)
			for range n {
				src[rng.IntN(len(src))] = special[rng.IntN(len(special))]
			}
			g.Highest(n, taps, &src[0], &off[0], &dst[0], &which[0])
			if dst[n] != 0 || which[n] != 0 {
				t.Fatalf("n=%d: written beyond the end", n)
			}
			for j := range n {
				want, at := src[int(off[0])+j], 0
				for i, o := range off {
					if v := src[int(o)+j]; v > want || v != v && want == want {
						want, at = v, i
					}
				}
				if got := dst[j]; got != want && (got == got || want == want) || which[j] != T(at) {
					t.Fatalf("%d taps, n=%d: %v of tap %v at %d, want %v of %d", taps, n, got, which[j], j, want, at)
				}
			}
		}
	}
}

func TestHighest(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testHighest(t, &k.F32)
		testHighest(t, &k.F64)
	})
}

func TestCombine(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testCombine(t, &k.F32)
		testCombine(t, &k.F64)
	})
}

func TestDotRows(t *testing.T) {
	forEachSet(t, func(t *testing.T, k *Kernels) {
		testDotRows(t, &k.F32)
		testDotRows(t, &k.F64)
	})
}

func BenchmarkTile(b *testing.B) {
	for _, set := range Available() {
		for _, shape := range [][2]int{{set.F32.Rows, set.F32.Cols}, {set.F32.WideRows, set.F32.WideCols}} {
			rows, cols, k := shape[0], shape[1], 256
			b.Run(fmt.Sprintf("%s/%dx%d", set.Name, rows, cols), func(b *testing.B) {
				x, y, z := make([]float32, rows*k), make([]float32, cols*k), make([]float32, rows*cols)
				for b.Loop() {
					set.F32.Tile(rows, cols, k, &x[0], 1, rows, &y[0], cols, &z[0], cols, 1, 0)
				}
				b.ReportMetric(2*float64(rows*cols*k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	}
}
