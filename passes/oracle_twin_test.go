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
