package onnxgo_test

import (
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
	asdlgo "github.com/asdlc/asdlc/runtime/onnxgo"
)

const mlp = `<ir_version: 8, opset_import: ["" : 17]> mlp (float[N,4] x) => (float[N,3] y)
<float[4,5] "fc1.W" = {0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, -0.8, 0.9, 1, -0.1, 0.2, -0.3, 0.4, 0.5, -0.6, 0.7, 0.8, -0.9, 0.3},
 float[5] "fc1.b" = {0.1, 0.2, -0.1, 0, 0.3},
 float[5,3] "fc2.W" = {0.5, -0.4, 0.3, 0.2, -0.1, 0.6, 0.7, 0.2, -0.3, -0.5, 0.4, 0.1, 0.2, 0.3, -0.6},
 float[3] "fc2.b" = {0, 0.1, -0.1}>
{
   h0 = MatMul(x, "fc1.W")
   h1 = Add(h0, "fc1.b")
   h = Tanh(h1)
   y0 = MatMul(h, "fc2.W")
   y = Add(y0, "fc2.b")
}`

// An inlined step graph, split from its refresh steps, trains through onnx-go as it does in a session.
func TestInlinedStepGraph(t *testing.T) {
	for _, name := range []string{"sgd", "adam", "kfac"} {
		t.Run(name, func(t *testing.T) {
			rec, ok := method.Lookup(name)
			if !ok {
				t.Fatal("no such method")
			}
			r, err := passes.Instrument(graphtest.MustParse(t, mlp), rec, pass.Options{Inline: true, Split: true}, "")
			if err != nil {
				t.Fatal(err)
			}
			compareSteps(t, r.Step, r.Init)
		})
	}
}

func compareSteps(t *testing.T, step, init *graph.Model) {
	t.Helper()
	s, err := runtime.NewSession(step, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.LoadInit(init); err != nil {
		t.Fatal(err)
	}
	feeds := initial(t, init)
	feeds["x"] = kernel.Of(ramp(24, 0.3), 6, 4)
	feeds["target"] = kernel.Of([]int64{0, 2, 1, 1, 0, 2}, 6)

	data, err := onnx.Encode(step)
	if err != nil {
		t.Fatal(err)
	}
	backend := asdlgo.NewGraph()
	defer backend.Close()
	model := onnxgo.NewModel(backend)
	if err := asdlgo.Unmarshal(model, data); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		want, err := s.Run(map[string]*kernel.Tensor{"x": feeds["x"], "target": feeds["target"]}, []string{"loss"})
		if err != nil {
			t.Fatal(err)
		}
		got := runStep(t, s, model, backend, feeds)
		if g, w := kernel.Data[float32](got["loss"])[0], kernel.Data[float32](want["loss"])[0]; g != w {
			t.Errorf("loss %v, want %v", g, w)
		}
		for _, st := range s.States() {
			feeds[st.In] = got[st.Out]
		}
	}
}

// initial runs the initialisation model.
func initial(t *testing.T, init *graph.Model) map[string]*kernel.Tensor {
	t.Helper()
	s, err := runtime.NewSession(init, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feeds, err := s.Run(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return feeds
}

// runStep runs the step graph once through onnx-go.
func runStep(t *testing.T, s *runtime.Session, model *onnxgo.Model, backend *asdlgo.Graph, feeds map[string]*kernel.Tensor) map[string]*kernel.Tensor {
	t.Helper()
	for i, in := range s.Inputs() {
		d, err := runtime.ToDense(feeds[in.Name])
		if err != nil {
			t.Fatal(err)
		}
		if err := model.SetInput(i, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := backend.Run(); err != nil {
		t.Fatal(err)
	}
	outs, err := model.GetOutputTensors()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*kernel.Tensor{}
	for i, out := range s.Outputs() {
		if got[out.Name], err = runtime.FromDense(outs[i].(*tensor.Dense)); err != nil {
			t.Fatal(err)
		}
	}
	return got
}
