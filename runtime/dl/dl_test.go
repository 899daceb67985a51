package dl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// lapack is the library of this machine; the test is skipped if there is none.
func lapack(t *testing.T) *LAPACK {
	t.Helper()
	l, err := Here().LAPACK()
	if err != nil {
		t.Skip(err)
	}
	return l
}

func TestAbsent(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"off":      "ASDLC_LIBRARIES=off",
		"of":       "neither off nor a file",
		"/no/such": "/no/such",
		text:       "text.so",
	} {
		l, err := New(setting).LAPACK()
		if !available {
			want = "-tags nodl"
		}
		if l != nil || !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%s: %v, %v", Setting, setting, l, err)
		}
	}
}

func TestLAPACK(t *testing.T) {
	l := lapack(t)
	if l.File == "" {
		t.Error("the file of the library is not known")
	}
	if _, ok := l.Routine("no_such_routine_"); ok {
		t.Error("there is a no_such_routine_")
	}
	again, err := New(os.Getenv(Setting)).LAPACK()
	if err != nil || again.File != l.File {
		t.Errorf("a second search gives %v, %v", again, err)
	}
}

// TestSyevd: from several goroutines at once, one of A's triangles, with and without vectors.
func TestSyevd(t *testing.T) {
	l := lapack(t)
	r, ok := l.Routine("dsyevd_")
	if !ok {
		t.Fatal("no dsyevd_")
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for k := range 50 {
				a, w := []float64{2, 9, 9, 1, 2, 9, 0, 0, float64(5 + g)}, make([]float64, 3)
				s := NewSyevd(r, k%2 == 0, 3)
				work, ints := make([]float64, s.Work), make([]int64, s.IntWork)
				info := s.Do(unsafe.Pointer(&a[0]), unsafe.Pointer(&w[0]), unsafe.Pointer(&work[0]), unsafe.Pointer(&ints[0]))
				for i, want := range []float64{1, 3, float64(5 + g)} {
					if d := w[i] - want; info != 0 || d > 1e-14 || d < -1e-14 {
						t.Errorf("info %d, eigenvalues %v", info, w)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestSlowdowns(t *testing.T) {
	set := map[string]string{"OPENBLAS_CORETYPE": "Haswell"}
	if got := Slowdowns(func(name string) string { return set[name] }); len(got) != 1 || got[0] != "OPENBLAS_CORETYPE" {
		t.Errorf("slowdowns are %v", got)
	}
}
