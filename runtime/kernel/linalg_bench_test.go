//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// BenchmarkCholeskyInverseVersusLAPACK alternates asdl.CholeskyInverse and LAPACK's spotrf and spotri as OpenBLAS has them,
// and reports the rate of each, counting n^3 operations. LAPACK leaves one triangle of the inverse, ours has both.
func BenchmarkCholeskyInverseVersusLAPACK(b *testing.B) {
	theirs := openBLAS(b)
	for _, n := range []int{32, 64, 128, 256, 512, 1024, 2048} {
		for workers := 1; workers <= 2; workers++ {
			b.Run(fmt.Sprintf("n=%d/workers=%d", n, workers), func(b *testing.B) {
				p := newTestPool(b, workers, amd64.Best())
				theirs.SetThreads(workers)
				a := definite(p, n)
				o := matrixCase[float32]("CholeskyInverse", a, p)
				run, out, err := o.prepare(b)
				if err != nil {
					b.Fatal(err)
				}
				work := make([]float32, n*n)
				clock, release := clockFor(workers)
				defer release()
				ratio := alternation{clock: clock}
				for b.Loop() {
					ratio.run(
						func() {
							if err := run(o.in, out); err != nil {
								b.Fatal(err)
							}
						},
						func() {
							copy(work, Data[float32](a))
							theirs.inverse(n, work)
						},
					)
				}
				ratio.report(b, float64(n)*float64(n)*float64(n))
			})
		}
	}
}

// BenchmarkEigenVersusLAPACK alternates the portable asdl.SymmetricEigen and the one by LAPACK, and reports the milliseconds of
// each. LAPACK has one thread always; with more than one worker the clock is that of the wall.
func BenchmarkEigenVersusLAPACK(b *testing.B) {
	b.Run("f32", benchEigenVersusLAPACK[float32])
	b.Run("f64", benchEigenVersusLAPACK[float64])
}

func benchEigenVersusLAPACK[T amd64.Float](b *testing.B) {
	openBLAS(b)
	for _, n := range []int{16, 64, 256, 512, 1024, 2048} {
		for workers := 1; workers <= 2; workers++ {
			b.Run(fmt.Sprintf("n=%d/workers=%d", n, workers), func(b *testing.B) {
				p := newTestPool(b, workers, amd64.Best())
				x := randomTensor[T](rand.New(rand.NewPCG(1, 1)), n, n)
				a := New(x.Elem, n, n)
				Syrk(p, false, n, n, 1, Data[T](x), n, 0, Data[T](a), n, nil)
				var runs [2]func()
				for i, rows := range [][]Row{nil, anyLibrary(dl.Here())} {
					o := eigenCase[T](a, p)
					o.rows = rows
					run, out, err := o.prepare(b)
					if err != nil {
						b.Fatal(err)
					}
					runs[i] = func() {
						if err := run(o.in, out); err != nil {
							b.Fatal(err)
						}
					}
				}
				clock, release := clockFor(workers)
				defer release()
				ratio := alternation{clock: clock}
				for b.Loop() {
					ratio.run(runs[0], runs[1])
				}
				ours, theirs := undisturbed(ratio.ours), undisturbed(ratio.theirs)
				b.ReportMetric(ours.Seconds()*1e3, "ms")
				b.ReportMetric(theirs.Seconds()*1e3, "LAPACK-ms")
				b.ReportMetric(float64(theirs)/float64(ours), "ratio")
			})
		}
	}
}

// definite is a well conditioned positive definite matrix.
func definite(p *Pool, n int) *Tensor {
	x := randomTensor[float32](rand.New(rand.NewPCG(1, 1)), n, n)
	a := New(graph.Float32, n, n)
	Syrk(p, false, n, n, 1, Data[float32](x), n, 0, Data[float32](a), n, nil)
	for i := range n {
		Data[float32](a)[i*n+i] += float32(n)
	}
	return a
}

// BenchmarkSyrkVersusOpenBLAS does the same for Gram matrices of a batch, counting the operations of one triangle.
func BenchmarkSyrkVersusOpenBLAS(b *testing.B) {
	theirs := openBLAS(b)
	theirs.SetThreads(1)
	for _, s := range []struct{ n, k int }{{64, 64}, {64, 1024}, {512, 32}, {512, 512}, {1024, 1024}, {2048, 2048}} {
		b.Run(fmt.Sprintf("n=%d/k=%d", s.n, s.k), func(b *testing.B) {
			x, _ := matrix[float32](rand.New(rand.NewPCG(1, 1)), s.k, s.n, 0)
			y, ws := make([]float32, s.n*s.n), make([]byte, GemmWorkspace[float32](nil, s.n, s.n, s.k))
			clock, release := clockFor(1)
			defer release()
			ratio := alternation{clock: clock}
			for b.Loop() {
				ratio.run(
					func() { Syrk(nil, true, s.n, s.k, 1, x, s.n, 0, y, s.n, ws) },
					func() { theirs.ssyrk(s.n, s.k, x, y) },
				)
			}
			ratio.report(b, float64(s.n)*float64(s.n+1)*float64(s.k))
		})
	}
}

// BenchmarkInverseRoot measures asdl.InverseRoot with p = 4 on a matrix of condition 1e4, on one worker.
func BenchmarkInverseRoot(b *testing.B) {
	for _, n := range []int{128, 512, 1024} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			a := tensorOf[float32](withSpectrum(rand.New(rand.NewPCG(1, 1)), n, logSpaced(n, 1e4)))
			o := matrixCase[float32]("InverseRoot", a, nil)
			o.attrs = []graph.Attr{graph.I("p", 4)}
			run, out, err := o.prepare(b)
			if err != nil {
				b.Fatal(err)
			}
			clock, release := clockFor(1)
			defer release()
			ratio := alternation{clock: clock}
			for b.Loop() {
				ratio.run(func() { _ = run(o.in, out) }, func() {})
			}
			b.ReportMetric(float64(undisturbed(ratio.ours).Nanoseconds())/1e6, "ms")
		})
	}
}

// inverse overwrites a triangle of the symmetric a[n, n] with that of its inverse.
func (l *blas) inverse(n int, a []float32) {
	c := l.args
	c.n, c.lda = int32(n), int32(n)
	for _, call := range []*dl.Call{l.potrf, l.potri} {
		call.Args = append(call.Args[:0], unsafe.Pointer(&c.upper), unsafe.Pointer(&c.n), unsafe.Pointer(&a[0]),
			unsafe.Pointer(&c.lda), unsafe.Pointer(&c.info))
		call.Do()
	}
}

// ssyrk computes a triangle of the row-major y = x^T x of x[k, n].
func (l *blas) ssyrk(n, k int, x, y []float32) {
	c := l.args
	c.n, c.k, c.lda, c.ldc = int32(n), int32(k), int32(n), int32(n)
	l.syrk.Args = append(l.syrk.Args[:0],
		unsafe.Pointer(&c.upper), unsafe.Pointer(&c.plain), unsafe.Pointer(&c.n), unsafe.Pointer(&c.k),
		unsafe.Pointer(&c.one), unsafe.Pointer(&x[0]), unsafe.Pointer(&c.lda),
		unsafe.Pointer(&c.zero), unsafe.Pointer(&y[0]), unsafe.Pointer(&c.ldc))
	l.syrk.Do()
}
