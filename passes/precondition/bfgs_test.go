package precondition

import (
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// bfgsSession calls the update, by the function's body or the native kernel.
func bfgsSession(t *testing.T, native bool, n int) *runtime.Session {
	t.Helper()
	m, err := pass.Library(section("bfgs"), 17)
	if err != nil {
		t.Fatal(err)
	}
	h := m.Graph.AddInput("H", graph.StaticType(graph.Float64, int64(n), int64(n)))
	s, y := m.Graph.AddInput("s", graph.StaticType(graph.Float64, int64(n))), m.Graph.AddInput("y", graph.StaticType(graph.Float64, int64(n)))
	b := op.NewBuilder(m, m.Graph)
	m.Graph.AddOutput(b.Call("BFGS", 1, []*graph.Value{h, s, y})[0])
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	reg, err := kernel.NewRegistry(tablesOf(native)...)
	if err != nil {
		t.Fatal(err)
	}
	session, err := runtime.NewSession(m, runtime.Options{Registry: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

// TestHessianAction: pairs s = H v of random v, y = A s, make H the inverse of A; each update keeps H y = s and H symmetric.
func TestHessianAction(t *testing.T) {
	for _, native := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(9, 10))
		const n = 5
		a := spd(rng, spectrum(n, 100))
		h := mat.NewDense(n, n, nil)
		for i := range n {
			h.Set(i, i, 1)
		}
		session := bfgsSession(t, native, n)
		for range 600 {
			v := mat.NewVecDense(n, nil)
			for i := range n {
				v.SetVec(i, rng.NormFloat64())
			}
			var s, y, hy mat.VecDense
			s.MulVec(h, v)
			y.MulVec(a, &s)
			out, err := session.Run(map[string]*kernel.Tensor{
				"H": kernel.Of(h.RawMatrix().Data, n, n), "s": kernel.Of(s.RawVector().Data, n), "y": kernel.Of(y.RawVector().Data, n),
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range out {
				h = mat.NewDense(n, n, append([]float64{}, kernel.Data[float64](x)...))
			}
			hy.MulVec(h, &y)
			hy.SubVec(&hy, &s)
			if e := mat.Norm(&hy, 2) / mat.Norm(&s, 2); !(e < 1e-8) {
				t.Fatalf("native %v: H y is off s by %g", native, e)
			}
			if !mat.Equal(h, h.T()) {
				t.Fatalf("native %v: H is not symmetric", native)
			}
		}
		if e := relative(h, power(a, -1)); !(e < 1e-6) {
			t.Errorf("native %v: after 600 updates H is off the inverse by %g", native, e)
		}
	}
}
