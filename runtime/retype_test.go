package runtime_test

import (
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Everything that is float32 in a model becomes float64: constants of all kinds, element types given or by default,
// nested graphs and functions.
func TestRetype(t *testing.T) {
	s := session(t, `<ir_version: 8, opset_import: ["" : 17, "my" : 1]> g (float[2,3] x, bool c) => (float[2,3] y, float[2,1] m, float[2,1] d)
		<float[3] w = {0.1, 0.2, 0.3}>
		{
			n, m, d = LayerNormalization(x, w)
			s = Shape(x)
			z = ConstantOfShape(s)
			o = ConstantOfShape <value: tensor = float[1] {0.1}> (s)
			k = Constant <value_float: float = 0.5> ()
			ks = Constant <value_floats: floats = [0.5, 0.25, 0.125]> ()
			i = Shape <start: int = 1> (x)
			f = Cast <to: int = 1> (i)
			a1 = Add(n, z) a2 = Add(a1, o) a3 = Add(a2, k) a4 = Add(a3, ks) a5 = Add(a4, f)
			b = If (c) <then_branch: graph = t () => (float[2,3] p) { q = Constant <value: tensor = float {0.5}> () p = Mul(a5, q) },
				else_branch: graph = e () => (float[2,3] r) { r = Neg(a5) }>
			y = my.Scaled <by: float = 2.0> (b)
		}
		<domain: "my", opset_import: ["" : 17]> Scaled <by> (p) => (q) { v = Constant <value_float: float = @by> () q = Mul(p, v) }`,
		runtime.Options{Float64: true})
	x := kernel.Of([]float64{1, 2, 3, 4, 5, 6}, 2, 3)
	out, err := s.Run(map[string]*kernel.Tensor{"x": x, "c": kernel.Of([]bool{true})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range out {
		if v.Elem != graph.Float64 {
			t.Errorf("%s is %v", name, v)
		}
	}
	const invStd = 1.2247356859083902 // 1/sqrt(2/3 + 1e-5)
	want := []float64{}
	for range 2 {
		for k, centred := range []float64{-1, 0, 1} {
			n := centred * invStd * float64([]float32{0.1, 0.2, 0.3}[k])
			want = append(want, 2*0.5*(n+float64(float32(0.1))+0.5+[]float64{0.5, 0.25, 0.125}[k]+3))
		}
	}
	if err := backendtest.Compare(out["y"], kernel.Of(want, 2, 3), 1e-12, 0); err != nil {
		t.Error(err)
	}
}
