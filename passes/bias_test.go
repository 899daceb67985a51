package passes_test

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// A bias of shape [1, out], as TensorFlow's and scikit-learn's converters write it, trains as one of shape [out] does, by
// every method.
func TestBiasOfTwoDimensions(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	params := arrays{"w1": normals(rng, 3, 4), "b1": normals(rng, 4), "w2": normals(rng, 2, 4), "b2": normals(rng, 2)}
	wide := params.clone()
	for _, name := range []string{"b1", "b2"} {
		wide[name] = array{append([]int{1}, params[name].shape...), params[name].v}
	}
	const body = `(double[N,3] x) => (double[N,2] y) PARAMS { m = MatMul(x, w1) a = Add(m, b1) h = Tanh(a) y = Gemm <transB = 1> (h, w2, b2) }`
	feeds := arrays{"x": normals(rng, 6, 3), "target": labels(rng, 2, 6)}
	for _, name := range method.Names() {
		t.Run(name, func(t *testing.T) {
			rec, _ := method.Lookup(name)
			flat := instrument(t, source(body, params), rec, pass.Options{})
			other := instrument(t, source(body, wide), rec, pass.Options{})
			for _, l := range other.result.Report.Layers {
				if l.Kind == "bias" {
					t.Errorf("%s is a layer of its own", l.Layer)
				}
			}
			for range 3 {
				want, got := flat.step(feeds), other.step(feeds)
				for _, p := range []string{"loss", "w1/next", "b1/next", "w2/next", "b2/next"} {
					near(t, p, got[p].v, want[p].v, 1e-10)
				}
			}
		})
	}
}
