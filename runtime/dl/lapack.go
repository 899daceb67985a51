package dl

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// LAPACK is a linear algebra library with the Fortran interface. Its own threads are off: results are then the same whatever
// else runs, sessions beside each other do not share a setting, and none of the routines in use gains from threads.
type LAPACK struct {
	File    string // the file that was loaded, links resolved, where the system tells
	Version string // what the library says of itself; "" for nothing
	lib     library
}

// lapackFiles are the names that are tried, in order, by operating system. The reference implementation is not among the
// libraries that count: asdlc's own kernels are faster.
var lapackFiles = map[string][]string{
	"linux":  {"libopenblas.so.0", "libopenblas.so", "liblapack.so.3"},
	"darwin": {"/System/Library/Frameworks/Accelerate.framework/Accelerate"},
}

// slowdowns are environment variables that make OpenBLAS leave its best kernels or block sizes.
var slowdowns = []string{"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}

// Slowdowns lists the variables of an environment, given as a look-up, that slow OpenBLAS down.
func Slowdowns(lookup func(string) string) []string {
	return slices.DeleteFunc(slices.Clone(slowdowns), func(name string) bool { return lookup(name) == "" })
}

func findLAPACK(setting string) (*LAPACK, error) {
	files := lapackFiles[runtime.GOOS]
	switch {
	case !available:
		return nil, fmt.Errorf("%w: this program is built with -tags nodl, or for a system where none can be opened", ErrAbsent)
	case setting == "off":
		return nil, fmt.Errorf("%w: %s=off", ErrAbsent, Setting)
	case strings.Contains(setting, "/"):
		files = []string{setting}
	case setting != "":
		return nil, fmt.Errorf("%w: %s=%s is neither off nor a file with a slash in its name", ErrAbsent, Setting, setting)
	}
	var reasons []string
	for _, name := range files {
		l, err := openLAPACK(name)
		if err == nil {
			return l, nil
		}
		reasons = append(reasons, err.Error())
	}
	return nil, fmt.Errorf("%w: %s", ErrAbsent, strings.Join(reasons, "; "))
}

// openLAPACK loads a library, turns its threads off and tries it.
func openLAPACK(name string) (*LAPACK, error) {
	lib, err := open(name)
	if err != nil {
		return nil, err
	}
	l := &LAPACK{lib: lib}
	if err := l.accept(); err != nil {
		lib.close()
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return l, nil
}

func (l *LAPACK) accept() error {
	first, ok := l.Routine("ssyevd_")
	if !ok {
		return fmt.Errorf("has no ssyevd_")
	}
	l.File = l.lib.file(first.address)
	if config := l.lib.symbol("openblas_get_config"); config != 0 {
		l.Version = strings.TrimSpace(textOf(config))
		l.SetThreads(1)
	} else if runtime.GOOS == "linux" {
		return fmt.Errorf("is not OpenBLAS; others are slower than asdlc's own kernels")
	}
	return l.try()
}

// Routine is the entry point of a name in Fortran's spelling, as in "ssyevd_".
func (l *LAPACK) Routine(name string) (Routine, bool) {
	address := l.lib.symbol(name)
	return Routine{address}, address != 0
}

// SetThreads sets the number of OpenBLAS's threads, for the whole process. Benchmarks do; otherwise it stays 1.
func (l *LAPACK) SetThreads(n int) {
	if set := l.lib.symbol("openblas_set_num_threads"); set != 0 {
		invoke(set, []uintptr{uintptr(n)})
	}
}

// try computes the eigenvalues -1 and 3 of [1 2; 2 1]. A library of other conventions would give something else.
func (l *LAPACK) try() error {
	r, _ := l.Routine("ssyevd_")
	s := NewSyevd(r, true, 2)
	a, w := []float32{1, 2, 2, 1}, make([]float32, 2)
	work, iwork := make([]float32, s.Work), make([]int64, s.IntWork)
	if info := s.Do(unsafe.Pointer(&a[0]), unsafe.Pointer(&w[0]), unsafe.Pointer(&work[0]), unsafe.Pointer(&iwork[0])); info != 0 {
		return fmt.Errorf("fails: ssyevd gives info %d for [1 2; 2 1]", info)
	}
	near := func(x, y float32) bool { return x-y < 1e-5 && y-x < 1e-5 }
	if !near(w[0], -1) || !near(w[1], 3) || !near(a[0], -a[1]) || !near(a[2], a[3]) || !near(a[0]*a[0], 0.5) || !near(a[2]*a[2], 0.5) {
		return fmt.Errorf("is wrong: ssyevd gives eigenvalues %v and vectors %v for [1 2; 2 1]", w, a)
	}
	return nil
}

// Syevd is a prepared call of ssyevd or dsyevd: eigenvalues and, if wanted, eigenvectors of a symmetric matrix, by Householder
// tridiagonalisation and divide and conquer (LAPACK Users' Guide, 3rd edition, section 2.4.4).
type Syevd struct {
	// Work and IntWork are the lengths of the working memory, in elements of the matrix and in int64.
	Work, IntWork int

	call *Call
	// Integers are 64 bits wide here: a library with integers of 32 reads the lower half, which comes first.
	n, work, intWork, info int64
	job, triangle          byte
}

// NewSyevd prepares a call of r for matrices of side n.
func NewSyevd(r Routine, vectors bool, n int) *Syevd {
	// The upper triangle by columns is the lower one by rows.
	s := &Syevd{n: int64(max(n, 1)), job: 'N', triangle: 'U', Work: 2*n + 1, IntWork: 1}
	if vectors {
		s.job, s.Work, s.IntWork = 'V', 1+6*n+2*n*n, 3+5*n
	}
	s.work, s.intWork = int64(s.Work), int64(s.IntWork)
	s.call = r.Prepare(11, 2)
	for i, p := range map[int]unsafe.Pointer{
		0: unsafe.Pointer(&s.job), 1: unsafe.Pointer(&s.triangle), 2: unsafe.Pointer(&s.n), 4: unsafe.Pointer(&s.n),
		7: unsafe.Pointer(&s.work), 9: unsafe.Pointer(&s.intWork), 10: unsafe.Pointer(&s.info),
	} {
		s.call.Args[i] = p
	}
	return s
}

// Do reads the lower triangle of the row-major a[n, n], writes the eigenvalues to w[n] in ascending order and, if vectors are
// wanted, the vectors to the rows of a; else a is spoilt. 0 is success.
func (s *Syevd) Do(a, w, work, intWork unsafe.Pointer) (info int) {
	s.call.Args[3], s.call.Args[5], s.call.Args[6], s.call.Args[8] = a, w, work, intWork
	s.info = 0
	s.call.Do()
	clear(s.call.Args[5:7])
	s.call.Args[3], s.call.Args[8] = nil, nil
	return int(int32(s.info))
}

// Potri is a prepared pair of calls, of spotrf and spotri or dpotrf and dpotri: the inverse of a symmetric positive definite matrix
// by its Cholesky factor.
type Potri struct {
	factor, invert *Call
	n, info        int64 // as in Syevd
	triangle       byte
}

// NewPotri prepares calls of potrf and potri for matrices of side n.
func NewPotri(potrf, potri Routine, n int) *Potri {
	p := &Potri{n: int64(max(n, 1)), triangle: 'U', factor: potrf.Prepare(5, 1), invert: potri.Prepare(5, 1)}
	for _, c := range []*Call{p.factor, p.invert} {
		c.Args[0], c.Args[1], c.Args[3] = unsafe.Pointer(&p.triangle), unsafe.Pointer(&p.n), unsafe.Pointer(&p.n)
		c.Args[4] = unsafe.Pointer(&p.info)
	}
	return p
}

// Do turns the lower triangle of the row-major a[n, n] into that of its inverse. 0 is success; else it is not positive definite.
func (p *Potri) Do(a unsafe.Pointer) (info int) {
	for _, c := range [2]*Call{p.factor, p.invert} {
		p.info = 0
		c.Args[2] = a
		c.Do()
		c.Args[2] = nil
		if info := int(int32(p.info)); info != 0 {
			return info
		}
	}
	return 0
}
