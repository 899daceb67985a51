package passes_test

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// TestRunningStatisticsOnce: no normalisation reads a running statistic itself, in a model evaluated once or more often in a
// step: onnxruntime writes the next one over its input, once for each that does, and a step that does not count keeps the old one.
// Without guards one may.
func TestRunningStatisticsOnce(t *testing.T) {
	text, _ := dropNet(t)
	for _, c := range []struct {
		name, guard string
		nodes, most int
		o           pass.Options
	}{
		{"sgd", "true", 1, 0, pass.Options{}},
		{"k-bfgs", "true", 2, 0, pass.Options{}},
		{"k-bfgs", "false", 2, 1, pass.Options{}},
		{"esgd", "false", 2, 1, pass.Options{HVP: "difference"}},
	} {
		readers, nodes := map[*graph.Value]int{}, 0
		for n := range compile(t, text, record(t, c.name, "guards.finite="+c.guard), c.o).Step.Graph.All() {
			if n.Is("", "BatchNormalization") {
				nodes++
				readers[n.In(3)]++
				readers[n.In(4)]++
			}
		}
		if nodes < c.nodes {
			t.Errorf("%s: %d batch normalisations", c.name, nodes)
		}
		for v, count := range readers {
			if v.IsInput() && count > c.most {
				t.Errorf("%s, guards %s: %d batch normalisations read %s", c.name, c.guard, count, v)
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
