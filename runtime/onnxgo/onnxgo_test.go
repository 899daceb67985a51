package onnxgo_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
	asdlgo "github.com/asdlc/asdlc/runtime/onnxgo"
)

const convNet = `<ir_version: 8, opset_import: ["" : 9]>
convnet (float[1,1,6,6] x) => (float[1,3] y)
<float[2,1,3,3] w = {1, 0, -1, 2, 0, -2, 1, 0, -1, 1, 2, 1, 0, 0, 0, -1, -2, -1},
 float[2] b = {0.5, -0.5},
 float[8,3] fw = {0.1, 0.2, 0.3, -0.1, -0.2, -0.3, 0.4, 0.5, 0.6, -0.4, -0.5, -0.6,
   0.7, 0.8, 0.9, -0.7, -0.8, -0.9, 0.11, 0.12, 0.13, -0.11, -0.12, -0.13},
 float[3] fb = {1, 2, 3}>
{
  c = Conv <kernel_shape: ints = [3, 3]> (x, w, b)
  r = Relu(c)
  p = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (r)
  f = Flatten(p)
  d = Add(f, f)
  y = Gemm(d, fw, fb)
}`

func encode(t testing.TB, src string) []byte {
	t.Helper()
	data, err := onnx.Encode(graphtest.MustParse(t, src))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ramp(n int, scale float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = scale * float32((i*7)%11-5)
	}
	return v
}

func TestConvNet(t *testing.T) {
	data := encode(t, convNet)
	backend := asdlgo.NewGraph()
	defer backend.Close()
	model := onnxgo.NewModel(backend)
	if err := asdlgo.Unmarshal(model, data); err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(graphtest.MustParse(t, convNet), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for run := range 3 {
		x := ramp(36, float32(run)+0.5)
		if err := model.SetInput(0, tensor.New(tensor.WithShape(1, 1, 6, 6), tensor.WithBacking(x))); err != nil {
			t.Fatal(err)
		}
		if err := backend.Run(); err != nil {
			t.Fatal(err)
		}
		got, err := model.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.Run(map[string]*kernel.Tensor{"x": kernel.Of(x, 1, 1, 6, 6)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range kernel.Data[float32](want["y"]) {
			if g := got[0].Data().([]float32)[i]; math.Abs(float64(g-w)) > 1e-6 {
				t.Errorf("run %d: y[%d] = %v, want %v", run, i, g, w)
			}
		}
	}
}

// The form of an operator tells the opset: Squeeze with axes as an attribute is older than 13, as an input not.
func TestOpsetIsInferred(t *testing.T) {
	for _, src := range []string{
		`<ir_version: 8, opset_import: ["" : 9]> g (float[2,1,3] x) => (float[2,3] y) { y = Squeeze <axes: ints = [1]> (x) }`,
		`<ir_version: 8, opset_import: ["" : 17]> g (float[2,1,3] x) => (float[2,3] y) <int64[1] a = {1}> { y = Squeeze (x, a) }`,
	} {
		backend := asdlgo.NewGraph()
		model := onnxgo.NewModel(backend)
		if err := model.UnmarshalBinary(encode(t, src)); err != nil {
			t.Fatal(err)
		}
		x := tensor.New(tensor.WithShape(2, 1, 3), tensor.WithBacking(ramp(6, 1)))
		if err := model.SetInput(0, x); err != nil {
			t.Fatal(err)
		}
		if err := backend.Run(); err != nil {
			t.Fatal(err)
		}
		out, err := model.GetOutputTensors()
		if err != nil || !out[0].Shape().Eq(tensor.Shape{2, 3}) {
			t.Errorf("%v, shape %v", err, out[0].Shape())
		}
		backend.Close()
	}
}

func TestRefusals(t *testing.T) {
	for name, src := range map[string]string{
		"nested graph": `<ir_version: 8, opset_import: ["" : 17]> g (float[3] x, bool c) => (float[3] y) {
			y = If (c) <then_branch: graph = a () => (float[3] p) { p = Neg(x) }, else_branch: graph = b () => (float[3] q) { q = Abs(x) }> }`,
		"function": `<ir_version: 8, opset_import: ["" : 17, "my" : 1]> g (float[3] x) => (float[3] y) { y = my.Twice(x) }
			<domain: "my", opset_import: ["" : 17]> Twice (a) => (b) { b = Add(a, a) }`,
	} {
		err := asdlgo.Unmarshal(onnxgo.NewModel(asdlgo.NewGraph()), encode(t, src))
		if !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "--inline --split") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A program for onnx-go runs on this runtime by changing the line that makes the backend.
func Example() {
	m, _ := graph.Parse(`<ir_version: 8, opset_import: ["" : 13]> g (float[2] x) => (float[2] y) { y = Relu(x) }`)
	data, _ := onnx.Encode(m)

	backend := asdlgo.NewGraph() // was: gorgonnx.NewGraph()
	model := onnxgo.NewModel(backend)
	if err := model.UnmarshalBinary(data); err != nil {
		fmt.Println(err)
	}
	_ = model.SetInput(0, tensor.New(tensor.WithShape(2), tensor.WithBacking([]float32{-1, 2})))
	if err := backend.Run(); err != nil {
		fmt.Println(err)
	}
	out, _ := model.GetOutputTensors()
	fmt.Println(out[0].Data())
	// Output: [0 2]
}
