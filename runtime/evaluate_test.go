package runtime_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// The score does not depend on the batch size, which need not divide the number of samples.
func TestEvaluate(t *testing.T) {
	split := digits(t, 20, 33)
	m := softmaxModel(t)
	w := make([]float64, 7840)
	w32 := make([]float32, 7840)
	for i := range w {
		w32[i] = float32(math.Sin(float64(i*i))) / 8
		w[i] = float64(w32[i])
	}
	m.Graph.Initializers()[0].SetConst(graph.TensorOf(w32, 784, 10))
	want := runtime.Score{Accuracy: testAccuracy(split.Test, w), Samples: 33}
	x, label := make([]float32, 784), make([]int64, 1)
	for i := range 33 {
		split.Test.Batch(x, label, []int{i})
		var p [10]float64
		sum := 0.0
		for k := range p {
			for j, v := range x {
				p[k] += float64(v) * w[j*10+k]
			}
			sum += math.Exp(p[k])
		}
		want.Loss += (math.Log(sum) - p[label[0]]) / 33
	}
	for _, batch := range []int{1, 7, 33, 64, 0} {
		e, err := runtime.NewEvaluator(m, split, runtime.EvaluatorConfig{Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Evaluate(t.Context(), split.Test)
		if err != nil || got.Accuracy != want.Accuracy || got.Samples != 33 || math.Abs(got.Loss-want.Loss) > 1e-5 {
			t.Errorf("batch %d: %+v %v, want %+v", batch, got, err, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.Evaluate(ctx, split.Test); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		_ = e.Close()
	}
}

// Scores that are not numbers are never right.
func TestEvaluateNaN(t *testing.T) {
	split := digits(t, 20, 20)
	m := softmaxModel(t)
	nan := kernel.New(graph.Float32, 784, 10)
	for i := range kernel.Data[float32](nan) {
		kernel.Data[float32](nan)[i] = float32(math.NaN())
	}
	m.Graph.Initializers()[0].SetConst(nan.Const())
	e, err := runtime.NewEvaluator(m, split, runtime.EvaluatorConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got, err := e.Evaluate(t.Context(), split.Test); err != nil || got.Accuracy != 0 || !math.IsNaN(got.Loss) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestEvaluatorRefuses(t *testing.T) {
	image := constant(t, 784, 9)
	for _, c := range []struct {
		name   string
		change func(*graph.Model)
		split  *data.Split
		config runtime.EvaluatorConfig
		says   string
	}{
		{"samples of another size", nil, constant(t, 5, 9), runtime.EvaluatorConfig{}, "[5] do not fit"},
		{"labels above the classes", nil, constant(t, 784, 10), runtime.EvaluatorConfig{}, "10 classes"},
		{"no such output", nil, image, runtime.EvaluatorConfig{Logits: "z"}, `no output "z"`},
		{"no scores", func(m *graph.Model) { m.Graph.Outputs()[0].Type = graph.TensorType(graph.Float32, graph.Sym("N")) }, image, runtime.EvaluatorConfig{}, "class scores"},
		{"no such weight", nil, image, runtime.EvaluatorConfig{Weights: []string{"v"}}, `no initializer "v"`},
		{"two inputs", func(m *graph.Model) { m.Graph.AddInput("z", graph.StaticType(graph.Float32, 3)) }, image, runtime.EvaluatorConfig{}, `"x" and "z"`},
	} {
		m := softmaxModel(t)
		if c.change != nil {
			c.change(m)
		}
		e, err := runtime.NewEvaluator(m, c.split, c.config)
		if err == nil {
			_ = e.Close()
			t.Errorf("%s: no error", c.name)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", c.name, err, c.says)
		}
	}
}
