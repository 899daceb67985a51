package passes_test

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// TestRunningStatisticsOnce: of a model evaluated more than once in a step, one normalisation alone reads a running
// statistic. onnxruntime writes the next one over its input, once for each that does.
func TestRunningStatisticsOnce(t *testing.T) {
	text, _ := dropNet(t)
	for name, o := range map[string]pass.Options{"k-bfgs": {}, "esgd": {HVP: "difference"}} {
		readers, nodes := map[*graph.Value]int{}, 0
		for n := range compile(t, text, record(t, name), o).Step.Graph.All() {
			if n.Is("", "BatchNormalization") {
				nodes++
				readers[n.In(3)]++
				readers[n.In(4)]++
			}
		}
		if nodes < 2 {
			t.Errorf("%s: %d batch normalisations", name, nodes)
		}
		for v, count := range readers {
			if v.IsInput() && count > 1 {
				t.Errorf("%s: %d batch normalisations read %s", name, count, v)
			}
		}
	}
}

// TestSecantBeforeNormalisation: the mean gradient in the output of a convolution before a batch normalisation is zero, and
// what rounding leaves of it in float32 is no curvature.
func TestSecantBeforeNormalisation(t *testing.T) {
	text, batch := dropNet(t)
	s := instrument(t, single(text), record(t, "k-bfgs", "update.lr=0.05"), pass.Options{})
	rng := rand.New(rand.NewPCG(7, 34))
	for range 5 {
		out := s.step(batch(rng))
		for i, v := range out["asdl/c/y/next"].v {
			if v != 0 {
				t.Errorf("y[%d] is %g", i, v)
			}
		}
		if moved := out["asdl/head/y/next"].v; moved[0] == 0 {
			t.Error("the head has no curvature")
		}
	}
}

// TestCurvedOnLayerKinds: on attention, recurrent cells, embeddings, grouped convolutions and batch normalisations the methods
// of Hessian-vector products and secant pairs learn one batch.
func TestCurvedOnLayerKinds(t *testing.T) {
	rates := map[string]float64{"adahessian": 0.01, "sfn": 0.01, "esgd": 1e-4, "sophia-g": 0.01, "psgd-kf": 0.01, "k-bfgs": 0.02}
	for _, k := range kinds {
		for name, lr := range rates {
			rng := rand.New(rand.NewPCG(8, 34))
			params, batch := layerBatch(rng, k.shapes, k.x, k.tokens, 3)
			s := instrument(t, source(k.body, params), record(t, name), pass.Options{})
			var losses []float64
			for range 20 {
				out := s.step(batch.with("lr", number(lr)))
				if !finiteArrays(out) {
					t.Fatalf("%s, %s: not finite", k.name, name)
				}
				losses = append(losses, out["loss"].v[0])
			}
			if last := losses[len(losses)-1]; !(last < losses[0]) {
				t.Errorf("%s, %s: the loss goes from %g to %g", k.name, name, losses[0], last)
			}
		}
	}
}
