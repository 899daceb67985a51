package precondition

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestBatchEigen, of the body and of the kernel: V diag(w) V^T is each of several matrices and V is orthogonal, also where one of them vanishes or has equal
// eigenvalues. Where eigenvalues differ, both forms give the same vectors, in the same order and with the same signs.
func TestBatchEigen(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 17} {
		rng := rand.New(rand.NewPCG(uint64(n), 63))
		singular, equal := spectrum(n, 100), make([]float64, n)
		for i := range n {
			equal[i] = 2
			if i%2 == 1 {
				singular[i] = 0
			}
		}
		each := []*mat.Dense{spd(rng, spectrum(n, 1e4)), mat.NewDense(n, n, nil), spd(rng, singular), spd(rng, equal)}
		var stack []float64
		for _, a := range each {
			stack = append(stack, a.RawMatrix().Data...)
		}
		m, err := pass.Library(section("batch eigen"), 17)
		if err != nil {
			t.Fatal(err)
		}
		b := op.NewBuilder(m, m.Graph)
		out := b.Call("BatchEigen", 2, []*graph.Value{m.Graph.AddInput("A", graph.StaticType(graph.Float64, int64(len(each)), int64(n), int64(n)))})
		out[0].Rename("w")
		out[1].Rename("V")
		m.Graph.SetOutputs(out...)
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		var forms [][]float64 // V of the first matrix
		for _, native := range []bool{false, true} {
			s, err := runtime.NewSession(m, runtime.Options{Registry: solvers(t, native)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Run(map[string]*kernel.Tensor{"A": kernel.Of(stack, len(each), n, n)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ws, vs := kernel.Data[float64](got["w"]), kernel.Data[float64](got["V"])
			forms = append(forms, append([]float64{}, vs[:n*n]...))
			for i, a := range each {
				w, v := ws[i*n:(i+1)*n], mat.NewDense(n, n, append([]float64{}, vs[i*n*n:(i+1)*n*n]...))
				var back, square mat.Dense
				back.Product(v, mat.NewDiagDense(n, w), v.T())
				back.Sub(&back, a)
				square.Mul(v.T(), v)
				if e := mat.Norm(&back, 2); !(e <= 1e-12*math.Max(1, mat.Norm(a, 2))) {
					t.Errorf("n=%d, native %v, matrix %d: V diag(w) V^T is off by %g", n, native, i, e)
				}
				if e := relative(&square, eyeDense(n)); !(e < 1e-12) {
					t.Errorf("n=%d, native %v, matrix %d: V is not orthogonal by %g", n, native, i, e)
				}
			}
			_ = s.Close()
		}
		for k, x := range forms[0] {
			if math.Abs(x-forms[1][k]) > 1e-9 {
				t.Errorf("n=%d: entry %d of V is %g by the body, %g by the kernel", n, k, x, forms[1][k])
				break
			}
		}
	}
}
