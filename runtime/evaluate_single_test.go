package runtime_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestEvaluateSingle: one score of two classes, as a logit, as a probability by Sigmoid, and as a probability that only the
// threshold tells of.
func TestEvaluateSingle(t *testing.T) {
	x, labels := []float32{-2, -0.5, 0.25, 3, 0.75}, []int64{0, 1, 1, 1, 0}
	path := filepath.Join(t.TempDir(), "set.npz")
	arrays := map[string]*data.Array{"x_train": {Shape: []int{5, 1}, Data: x}, "y_train": {Shape: []int{5}, Data: labels}}
	if err := data.WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
	split, err := data.OpenNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	half := 0.5
	for _, c := range []struct {
		name      string
		ops       []string
		threshold *float64
		correct   float64
	}{
		{"logits", nil, nil, 3}, {"sigmoid", []string{"Sigmoid"}, nil, 3}, {"probabilities", []string{"Sigmoid", "Identity", "Abs"}, &half, 3},
	} {
		m := graph.NewModel(17)
		v := m.Graph.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(1)))
		w := m.Graph.AddInitializer("w", kernel.New(graph.Float32, 1, 1).Const())
		w.SetConst(graph.TensorOf([]float32{1}, 1, 1))
		for i, name := range append([]string{"MatMul"}, c.ops...) {
			in := []*graph.Value{v}
			if i == 0 {
				in = append(in, w)
			}
			typ := v.Type
			v = m.Graph.AddNode("", name, in, []string{name + "/y"}).Out(0)
			v.Type = typ
		}
		m.Graph.AddOutput(v)
		e, err := runtime.NewEvaluator(m, split, runtime.EvaluatorConfig{Threshold: c.threshold})
		if err != nil {
			t.Fatal(c.name, err)
		}
		got, err := e.Evaluate(t.Context(), split.Train)
		want := 0.0
		for i, z := range x {
			p := 1 / (1 + math.Exp(-float64(z)))
			if labels[i] == 0 {
				p = 1 - p
			}
			want -= math.Log(p) / 5
		}
		if err != nil || got.Accuracy != c.correct/5 || math.Abs(got.Loss-want) > 1e-6 {
			t.Errorf("%s: %+v %v, want accuracy %v, loss %v", c.name, got, err, c.correct/5, want)
		}
		_ = e.Close()
	}
}
