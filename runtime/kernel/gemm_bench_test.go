//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

var benchSizes = []int{64, 128, 256, 512, 1024, 2048}

// gflops is the rate of one n x n x n product in the given time.
func gflops(n int, d time.Duration) float64 {
	return 2 * float64(n) * float64(n) * float64(n) / float64(d.Nanoseconds())
}

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
				best := time.Hour
				for b.Loop() {
					start := time.Now()
					Gemm(p, false, false, n, n, n, 1, x, n, y, n, 0, z, n, ws)
					best = min(best, time.Since(start))
				}
				b.ReportMetric(gflops(n, best), "GFLOP/s(best)")
				b.ReportMetric(gflops(n, b.Elapsed()/time.Duration(b.N)), "GFLOP/s")
			})
		}
	}
}

// BenchmarkGemmVersusOpenBLAS alternates the two libraries in one loop, so that both meet the same machine, and reports
// the best rate of each. The four forms are the transposes of the row-major operands.
func BenchmarkGemmVersusOpenBLAS(b *testing.B) {
	theirs := openBLAS(b)
	for _, form := range []string{"NN", "TN", "NT", "TT"} {
		transA, transB := form[0] == 'T', form[1] == 'T'
		for _, n := range benchSizes {
			for workers := 1; workers <= 2; workers++ {
				b.Run(fmt.Sprintf("%s/n=%d/workers=%d", form, n, workers), func(b *testing.B) {
					p := newTestPool(b, workers, amd64.Best())
					theirs.setThreads(workers)
					rng := rand.New(rand.NewPCG(1, 1))
					x, _ := matrix[float32](rng, n, n, 0)
					y, _ := matrix[float32](rng, n, n, 0)
					z, ws := make([]float32, n*n), make([]byte, GemmWorkspace[float32](p, n, n, n))
					ratio := alternation{clock: wallClock}
					if workers == 1 {
						runtime.LockOSThread()
						defer runtime.UnlockOSThread()
						ratio.clock = threadClock
					}
					for b.Loop() {
						ratio.run(
							func() { Gemm(p, transA, transB, n, n, n, 1, x, n, y, n, 0, z, n, ws) },
							func() { theirs.sgemm(transA, transB, n, x, y, z) },
						)
					}
					ratio.report(b, n)
				})
			}
		}
	}
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

// alternation keeps the best times of two functions that are run in turn.
type alternation struct {
	clock        func() time.Duration
	ours, theirs time.Duration
}

// threadClock is the processor time of the calling thread: it does not count what other processes take.
func threadClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

var processStart = time.Now()

func wallClock() time.Duration { return time.Since(processStart) }

func (a *alternation) run(ours, theirs func()) {
	begin := a.clock()
	ours()
	middle := a.clock()
	theirs()
	end := a.clock()
	if d := middle - begin; a.ours == 0 || d < a.ours {
		a.ours = d
	}
	if d := end - middle; a.theirs == 0 || d < a.theirs {
		a.theirs = d
	}
}

func (a *alternation) report(b *testing.B, n int) {
	b.ReportMetric(gflops(n, a.ours), "GFLOP/s")
	b.ReportMetric(gflops(n, a.theirs), "OpenBLAS-GFLOP/s")
	b.ReportMetric(float64(a.theirs)/float64(a.ours), "ratio")
}

// blas is OpenBLAS, called through its Fortran interface, whose arguments are all pointers.
type blas struct {
	sgemmPtr, threadsPtr uintptr
	args                 []uintptr
	pinned               *blasArgs
}

type blasArgs struct {
	plain, transposed byte
	n, threads        int32
	one, zero         float32
}

// openBLAS loads the library, or skips the benchmark.
func openBLAS(b *testing.B) *blas {
	for _, name := range []string{"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} {
		if os.Getenv(name) != "" {
			b.Skipf("%s is set and slows OpenBLAS down: unset it", name)
		}
	}
	lib, err := purego.Dlopen("libopenblas.so.0", purego.RTLD_NOW)
	if err != nil {
		b.Skipf("libopenblas.so.0 absent: %v", err)
	}
	l := &blas{args: make([]uintptr, 13), pinned: &blasArgs{plain: 'N', transposed: 'T', one: 1}}
	if l.sgemmPtr, err = purego.Dlsym(lib, "sgemm_"); err != nil {
		b.Skipf("OpenBLAS: %v", err)
	}
	if l.threadsPtr, err = purego.Dlsym(lib, "openblas_set_num_threads"); err != nil {
		b.Skipf("OpenBLAS: %v", err)
	}
	return l
}

func (l *blas) setThreads(n int) { purego.SyscallN(l.threadsPtr, uintptr(n)) }

// sgemm computes the row-major z = op(x)*op(y): in column-major terms z^T = op(y)^T * op(x)^T.
func (l *blas) sgemm(transX, transY bool, n int, x, y, z []float32) {
	c := l.pinned
	c.n = int32(n)
	form := func(trans bool) uintptr {
		if trans {
			return uintptr(unsafe.Pointer(&c.transposed))
		}
		return uintptr(unsafe.Pointer(&c.plain))
	}
	size := uintptr(unsafe.Pointer(&c.n))
	for i, v := range []uintptr{
		form(transY), form(transX), size, size, size, uintptr(unsafe.Pointer(&c.one)),
		uintptr(unsafe.Pointer(&y[0])), size, uintptr(unsafe.Pointer(&x[0])), size,
		uintptr(unsafe.Pointer(&c.zero)), uintptr(unsafe.Pointer(&z[0])), size,
	} {
		l.args[i] = v
	}
	purego.SyscallN(l.sgemmPtr, l.args...)
}
