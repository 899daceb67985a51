//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

var benchSizes = []int{64, 128, 256, 512, 1024, 2048}

// gflops is the rate of so many floating-point operations in the given time.
func gflops(flops float64, d time.Duration) float64 { return flops / float64(d.Nanoseconds()) }

// BenchmarkGemm measures float32 and float64 products of square matrices for 1 and 2 workers.
func BenchmarkGemm(b *testing.B) {
	b.Run("f32", benchGemm[float32])
	b.Run("f64", benchGemm[float64])
}

func benchGemm[T amd64.Float](b *testing.B) {
	for _, n := range benchSizes {
		for workers := 1; workers <= 2; workers++ {
			b.Run(fmt.Sprintf("n=%d/workers=%d", n, workers), func(b *testing.B) {
				p := newTestPool(b, workers, amd64.Best())
				rng := rand.New(rand.NewPCG(1, 1))
				x, _ := matrix[T](rng, n, n, 0)
				y, _ := matrix[T](rng, n, n, 0)
				z, ws := make([]T, n*n), make([]byte, GemmWorkspace[T](p, n, n, n))
				clock, release := clockFor(workers)
				defer release()
				var times []time.Duration
				for b.Loop() {
					start := clock()
					Gemm(p, false, false, n, n, n, 1, x, n, y, n, 0, z, n, ws)
					times = append(times, clock()-start)
				}
				flops := 2 * float64(n) * float64(n) * float64(n)
				b.ReportMetric(gflops(flops, undisturbed(times)), "GFLOP/s")
			})
		}
	}
}

// BenchmarkGemmSets measures every set of kernels on one worker.
func BenchmarkGemmSets(b *testing.B) {
	const n = 512
	for _, set := range amd64.Available() {
		b.Run(set.Name, func(b *testing.B) {
			p := newTestPool(b, 1, set)
			rng := rand.New(rand.NewPCG(1, 1))
			x, _ := matrix[float32](rng, n, n, 0)
			y, ws := make([]float32, n*n), make([]byte, GemmWorkspace[float32](p, n, n, n))
			clock, release := clockFor(1)
			defer release()
			var times []time.Duration
			for b.Loop() {
				start := clock()
				Gemm(p, false, true, n, n, n, 1, x, n, x, n, 0, y, n, ws)
				times = append(times, clock()-start)
			}
			b.ReportMetric(gflops(2*n*n*n, undisturbed(times)), "GFLOP/s")
		})
	}
}

// BenchmarkSyrk measures the Gram matrix of a batch, counting the operations of one triangle.
func BenchmarkSyrk(b *testing.B) {
	for _, s := range []struct{ n, k int }{{64, 32}, {512, 32}, {512, 512}, {1024, 1024}, {2048, 256}} {
		b.Run(fmt.Sprintf("n=%d/k=%d", s.n, s.k), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			x, _ := matrix[float32](rng, s.k, s.n, 0)
			y, ws := make([]float32, s.n*s.n), make([]byte, GemmWorkspace[float32](nil, s.n, s.n, s.k))
			clock, release := clockFor(1)
			defer release()
			var times []time.Duration
			for b.Loop() {
				start := clock()
				Syrk(nil, true, s.n, s.k, 1, x, s.n, 0, y, s.n, ws)
				times = append(times, clock()-start)
			}
			b.ReportMetric(gflops(float64(s.n)*float64(s.n+1)*float64(s.k), undisturbed(times)), "GFLOP/s")
		})
	}
}

// BenchmarkGemmVersusOpenBLAS alternates the two libraries in one loop, so that both meet the same machine, and reports
// the rate of each. With two workers OpenBLAS is favoured: its idle thread keeps a processor busy during our turn. The four forms are the transposes of the row-major operands.
func BenchmarkGemmVersusOpenBLAS(b *testing.B) {
	theirs := openBLAS(b)
	for _, form := range []string{"NN", "TN", "NT", "TT"} {
		transA, transB := form[0] == 'T', form[1] == 'T'
		for _, n := range benchSizes {
			for workers := 1; workers <= 2; workers++ {
				b.Run(fmt.Sprintf("%s/n=%d/workers=%d", form, n, workers), func(b *testing.B) {
					p := newTestPool(b, workers, amd64.Best())
					theirs.SetThreads(workers)
					rng := rand.New(rand.NewPCG(1, 1))
					x, _ := matrix[float32](rng, n, n, 0)
					y, _ := matrix[float32](rng, n, n, 0)
					z, ws := make([]float32, n*n), make([]byte, GemmWorkspace[float32](p, n, n, n))
					clock, release := clockFor(workers)
					defer release()
					ratio := alternation{clock: clock}
					for b.Loop() {
						ratio.run(
							func() { Gemm(p, transA, transB, n, n, n, 1, x, n, y, n, 0, z, n, ws) },
							func() { theirs.sgemm(transA, transB, n, n, n, x, n, y, n, z, n) },
						)
					}
					ratio.report(b, 2*float64(n)*float64(n)*float64(n))
				})
			}
		}
	}
}

// BenchmarkGemmShapesVersusOpenBLAS does the same, on one worker, for the shapes of layers: a batch through a layer,
// the gradients of its input and weight, narrow outputs.
func BenchmarkGemmShapesVersusOpenBLAS(b *testing.B) {
	theirs := openBLAS(b)
	theirs.SetThreads(1)
	for _, s := range []gemmShape{
		{"NT", 32, 512, 512},
		{"NN", 32, 512, 512},
		{"TN", 512, 512, 32},
		{"NN", 4, 1024, 1024},
		{"NT", 4, 1024, 1024},
		{"NN", 32, 2048, 2048},
		{"NT", 128, 1024, 1024},
		{"NN", 64, 1024, 576},
		{"NN", 1024, 64, 64},
		{"NN", 16, 16, 16},
		{"NN", 8, 8, 8},
	} {
		b.Run(s.String(), func(b *testing.B) { s.versus(b, theirs) })
	}
}

// BenchmarkGemmOddVersusOpenBLAS does the same, in all four forms, for products with a narrow or an odd side: the last
// layer and its gradients, few examples, sides that vectors do not divide.
func BenchmarkGemmOddVersusOpenBLAS(b *testing.B) {
	theirs := openBLAS(b)
	theirs.SetThreads(1)
	for _, s := range []gemmShape{
		{"", 32, 10, 512},
		{"", 10, 32, 512},
		{"", 512, 10, 32},
		{"", 10, 512, 32},
		{"", 32, 512, 10},
		{"", 10, 10, 512},
		{"", 128, 10, 2048},
		{"", 100, 3, 1000},
		{"", 3, 100, 1000},
		{"", 7, 9, 1000},
		{"", 1, 512, 512},
		{"", 512, 1, 512},
		{"", 2, 512, 512},
		{"", 512, 2, 512},
		{"", 1, 10, 512},
		{"", 17, 17, 17},
		{"", 33, 33, 33},
		{"", 48, 48, 48},
		{"", 65, 65, 65},
		{"", 100, 100, 100},
		{"", 129, 127, 257},
		{"", 300, 300, 300},
	} {
		for _, s.form = range []string{"NN", "TN", "NT", "TT"} {
			b.Run(s.String(), func(b *testing.B) { s.versus(b, theirs) })
		}
	}
}

// gemmShape is a product of an m x k and a k x n matrix, with the form of each.
type gemmShape struct {
	form    string
	m, n, k int
}

func (s gemmShape) String() string { return fmt.Sprintf("%s/%dx%dx%d", s.form, s.m, s.n, s.k) }

// versus measures the product beside OpenBLAS.
func (s gemmShape) versus(b *testing.B, theirs *blas) {
	transA, transB := s.form[0] == 'T', s.form[1] == 'T'
	lda, ldb := s.k, s.n
	if transA {
		lda = s.m
	}
	if transB {
		ldb = s.k
	}
	rng := rand.New(rand.NewPCG(1, 1))
	x, _ := matrix[float32](rng, s.m, s.k, 0)
	y, _ := matrix[float32](rng, s.k, s.n, 0)
	z, ws := make([]float32, s.m*s.n), make([]byte, GemmWorkspace[float32](nil, s.m, s.n, s.k))
	clock, release := clockFor(1)
	defer release()
	ratio := alternation{clock: clock}
	// The clock takes as long as the smallest products: several a time.
	calls := max(1, 1<<20/(s.m*s.n*s.k))
	for b.Loop() {
		ratio.run(
			func() {
				for range calls {
					Gemm(nil, transA, transB, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, z, s.n, ws)
				}
			},
			func() {
				for range calls {
					theirs.sgemm(transA, transB, s.m, s.n, s.k, x, lda, y, ldb, z, s.n)
				}
			},
		)
	}
	ratio.report(b, 2*float64(s.m*s.n*s.k)*float64(calls))
}

// BenchmarkGemv measures products of a square matrix with a vector, which are bound by memory.
func BenchmarkGemv(b *testing.B) {
	for _, n := range []int{256, 1024, 4096} {
		for _, trans := range []bool{false, true} {
			b.Run(fmt.Sprintf("n=%d/trans=%v", n, trans), func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 1))
				a, _ := matrix[float32](rng, n, n, 0)
				x, _ := matrix[float32](rng, n, 1, 0)
				y, ws := make([]float32, n), make([]byte, GemmWorkspace[float32](nil, n, 1, n))
				b.SetBytes(int64(4 * n * n))
				for b.Loop() {
					Gemm(nil, trans, false, n, 1, n, 1, a, n, x, 1, 0, y, 1, ws)
				}
			})
		}
	}
}

// alternation times two functions that are run in turn.
type alternation struct {
	clock        func() time.Duration
	ours, theirs []time.Duration
}

// threadClock is the processor time of the calling thread: it does not count what other processes take.
func threadClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// clockFor is the clock that a measurement of so many workers needs. For one worker it binds the calling goroutine to
// its thread until release.
func clockFor(workers int) (clock func() time.Duration, release func()) {
	if workers > 1 {
		return wallClock, func() {}
	}
	runtime.LockOSThread()
	return threadClock, runtime.UnlockOSThread
}

var processStart = time.Now()

func wallClock() time.Duration { return time.Since(processStart) }

func (a *alternation) run(ours, theirs func()) {
	begin := a.clock()
	ours()
	middle := a.clock()
	theirs()
	a.ours, a.theirs = append(a.ours, middle-begin), append(a.theirs, a.clock()-middle)
}

func (a *alternation) report(b *testing.B, flops float64) {
	ours, theirs := undisturbed(a.ours), undisturbed(a.theirs)
	b.ReportMetric(gflops(flops, ours), "GFLOP/s")
	b.ReportMetric(gflops(flops, theirs), "OpenBLAS-GFLOP/s")
	b.ReportMetric(float64(theirs)/float64(ours), "ratio")
}

// undisturbed is the first decile: what the code takes when nothing else interferes. The minimum would be a clock's
// glitch on a virtual machine.
func undisturbed(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/10]
}

// blas is OpenBLAS, called through its Fortran interface.
type blas struct {
	*dl.LAPACK
	gemm, syrk, potrf, potri *dl.Call
	args                     *blasArgs
}

type blasArgs struct {
	plain, transposed, upper byte
	m, n, k, lda, ldb, ldc   int32
	info                     int32
	one, zero                float32
}

// openBLAS finds the library, or skips the benchmark.
func openBLAS(b *testing.B) *blas {
	for _, name := range dl.Slowdowns(os.Getenv) {
		b.Skipf("%s is set and slows OpenBLAS down: unset it", name)
	}
	lapack, err := dl.Here().LAPACK()
	if err != nil {
		b.Skip(err)
	}
	l := &blas{LAPACK: lapack, args: &blasArgs{plain: 'N', transposed: 'T', upper: 'U', one: 1}}
	for _, r := range []struct {
		name          string
		args, strings int
		call          **dl.Call
	}{{"sgemm_", 13, 2, &l.gemm}, {"ssyrk_", 10, 2, &l.syrk}, {"spotrf_", 5, 1, &l.potrf}, {"spotri_", 5, 1, &l.potri}} {
		routine, ok := lapack.Routine(r.name)
		if !ok {
			b.Skipf("%s has no %s", lapack.File, r.name)
		}
		*r.call = routine.Prepare(r.args, r.strings)
	}
	b.Cleanup(func() { lapack.SetThreads(1) })
	return l
}

// sgemm computes the row-major z = op(x)*op(y): in column-major terms z^T = op(y)^T * op(x)^T.
func (l *blas) sgemm(transX, transY bool, m, n, k int, x []float32, ldx int, y []float32, ldy int, z []float32, ldz int) {
	c := l.args
	c.m, c.n, c.k, c.lda, c.ldb, c.ldc = int32(n), int32(m), int32(k), int32(ldy), int32(ldx), int32(ldz)
	form := func(trans bool) unsafe.Pointer {
		if trans {
			return unsafe.Pointer(&c.transposed)
		}
		return unsafe.Pointer(&c.plain)
	}
	l.gemm.Args = append(l.gemm.Args[:0],
		form(transY), form(transX), unsafe.Pointer(&c.m), unsafe.Pointer(&c.n), unsafe.Pointer(&c.k), unsafe.Pointer(&c.one),
		unsafe.Pointer(&y[0]), unsafe.Pointer(&c.lda), unsafe.Pointer(&x[0]), unsafe.Pointer(&c.ldb),
		unsafe.Pointer(&c.zero), unsafe.Pointer(&z[0]), unsafe.Pointer(&c.ldc))
	l.gemm.Do()
}
