package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/dl"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// TestLibraryRows: LAPACK serves where our kernels are not in assembler and the side is large enough, and a library that is not
// there serves nowhere.
func TestLibraryRows(t *testing.T) {
	sets := amd64.Available()
	portable := sets[len(sets)-1]
	if portable.Assembler() {
		t.Fatalf("%s is not the portable set", portable.Name)
	}
	for name, libraries := range map[string]*dl.Libraries{"here": dl.Here(), "off": dl.New("off")} {
		_, absent := libraries.LAPACK()
		for _, set := range sets {
			for _, side := range []int{librarySide - 1, librarySide} {
				registry, err := NewRegistry(linalgTable, Library(libraries))
				if err != nil {
					t.Fatal(err)
				}
				want := "portable"
				if absent == nil && side >= librarySide && !set.Assembler() {
					want = "lapack"
				}
				spec := outLike[float32](side, side)
				g := graph.NewGraph("test")
				a := g.AddInput("a", graph.StaticType(graph.Float32, int64(side), int64(side)))
				for _, op := range []string{"SymmetricEigen", "CholeskyInverse3"} {
					c := &Call{Pool: newTestPool(t, 1, set), In: []Spec{spec}, Out: []Spec{outLike[float32](side), spec}}
					c.Node = g.AddNode(graph.Asdl, op, []*graph.Value{a}, []string{op + "w" + set.Name + name + fmt.Sprint(side)})
					row, _, err := registry.Make(c)
					if err != nil || row.Note != want {
						t.Errorf("libraries %s, %s kernels, %s of side %d: %v, %v, want %s", name, set.Name, op, side, row, err, want)
					}
				}
			}
		}
	}
}

// TestBatchInverse: one matrix of a stack that is not positive definite leaves the others alone.
func TestBatchInverse(t *testing.T) {
	forKernels(t, func(t *testing.T, rows []Row) {
		const n, count = 20, 4
		rng := rand.New(rand.NewPCG(61, 62))
		a := New(graph.Float64, count, n, n)
		for i := range count {
			copy(Data[float64](a)[i*n*n:], Data[float64](tensorOf[float64](withSpectrum(rng, n, logSpaced(n, 10)))))
		}
		Data[float64](a)[n*n] = -1
		o := matrixCase[float64]("BatchInverse", a, nil)
		o.rows = rows
		got := Data[float64](o.run(t)[0])
		for i := range count {
			one := New(graph.Float64, n, n)
			copy(Data[float64](one), Data[float64](a)[i*n*n:])
			want := Data[float64](matrixCase[float64]("CholeskyInverse", one, nil).run(t)[0])
			for k, w := range want {
				if g := got[i*n*n+k]; math.IsNaN(g) != math.IsNaN(w) || math.Abs(g-w) > 1e-12 {
					t.Fatalf("matrix %d, element %d is %g, want %g", i, k, g, w)
				}
			}
		}
		if got := o.allocs(t); got != 0 {
			t.Errorf("%v allocations per run", got)
		}
	})
}
