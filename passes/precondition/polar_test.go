package precondition

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// TestPolarBody: the function body and the native kernel act on singular values as the polynomials of the table do.
func TestPolarBody(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, k := range polarKernels {
		for _, n := range []int{1, 2, 7, 33} {
			table, steps := polarTable(k.Name, 0)
			m := functionModel(t, graph.Float64, polarText(steps), polarFunction(steps), []int64{int64(n), int64(n)}, graph.T("coefficients", table))
			a := spd(rng, spectrum(n, 50)) // symmetric positive: its polar factor is I
			w := spectrum(n, 50)
			norm := mat.Norm(mat.NewDiagDense(n, w), 2)
			for i := range w {
				w[i] /= norm
				for s := range steps {
					c := k.At(s, steps)
					x := w[i]
					w[i] = c[0]*x + c[1]*x*x*x + c[2]*x*x*x*x*x
				}
			}
			want := product3(a, w)
			for _, native := range []bool{false, true} {
				if e := relative(solve(t, m, native, a), want); !(e < 1e-10) {
					t.Errorf("%s, side %d, native %v: relative error %g", k.Name, n, native, e)
				}
			}
		}
	}
}

// product3 gives the symmetric a other eigenvalues, in falling order of the old ones.
func product3(a *mat.Dense, w []float64) *mat.Dense {
	n := len(w)
	sym := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			sym.SetSym(i, j, (a.At(i, j)+a.At(j, i))/2)
		}
	}
	var eig mat.EigenSym
	eig.Factorize(sym, true)
	var v, out mat.Dense
	eig.VectorsTo(&v)
	d := mat.NewDiagDense(n, nil)
	for i := range n {
		d.SetDiag(n-1-i, w[i]) // gonum's eigenvalues rise
	}
	out.Product(&v, d, v.T())
	return &out
}

// functionModel is a model whose one node calls a function with the given text on an input A.
func functionModel(t *testing.T, e graph.Elem, text, name string, shape []int64, attrs ...graph.Attr) *graph.Model {
	t.Helper()
	m, err := pass.Library(text, 17)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	callOn(t, m, m.Graph.AddInput("A", graph.StaticType(e, shape...)), name, attrs...)
	return m
}
