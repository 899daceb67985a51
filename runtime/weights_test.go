package runtime_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

const weightsModel = `<ir_version: 8, opset_import: ["" : 17]>
net (float[N,2] x, bool c, float[2] listed = {1, 1}) => (float[N,2] y) <float[2] scale = {1, 1}, float[2] untouched = {5, 6}>
{
	copy = Identity(scale)
	held = Constant <value: tensor = float[2,2] {1, 0, 0, 1}> ()
	a = Mul(x, scale)
	b = Mul(a, copy)
	d = MatMul(b, held)
	e = Mul(d, listed)
	f = If(c) <then_branch = g1 () => (float[N,2] p) <float[2] inner = {1, 1}> { p = Mul(e, inner) },
		else_branch = g2 () => (float[N,2] q) { q = Identity(e) }>
	y = Add(f, untouched)
}`

// Weights come back wherever the file keeps them, and nothing else changes.
func TestExportWeights(t *testing.T) {
	original := graphtest.MustParse(t, weightsModel)
	before := graphtest.MustParse(t, weightsModel)
	vec := func(a, b float32) *kernel.Tensor { return kernel.Of([]float32{a, b}, 2) }
	got, err := runtime.ExportWeights(original, map[string]*kernel.Tensor{
		"scale": vec(2, 3), "copy": vec(5, 7), "listed": vec(11, 13), "inner": vec(17, 19), "held": kernel.Of([]float64{0, 1, 1, 0}, 2, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	graphtest.Same(t, original, before)
	graphtest.MustVerify(t, got)
	graphtest.Same(t, got, graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]>
net (float[N,2] x, bool c, float[2] listed = {11, 13}) => (float[N,2] y) <float[2] scale = {2, 3}, float[2] untouched = {5, 6}, float[2] copy = {5, 7}>
{
	held = Constant <value: tensor = float[2,2] {0, 1, 1, 0}> ()
	a = Mul(x, scale)
	b = Mul(a, copy)
	d = MatMul(b, held)
	e = Mul(d, listed)
	f = If(c) <then_branch = g1 () => (float[N,2] p) <float[2] inner = {17, 19}> { p = Mul(e, inner) },
		else_branch = g2 () => (float[N,2] q) { q = Identity(e) }>
	y = Add(f, untouched)
}`))
}

func TestExportWeightsThatDoNotFit(t *testing.T) {
	original := graphtest.MustParse(t, weightsModel)
	for name, c := range map[string]struct {
		weight *kernel.Tensor
		says   string
	}{
		"gone":  {kernel.New(graph.Float32, 2), `no parameter "gone"`},
		"a":     {kernel.New(graph.Float32, 2), "computed by"},
		"x":     {kernel.New(graph.Float32, 2), "without a default"},
		"scale": {kernel.New(graph.Float32, 3), "float[2] in the file, float[3]"},
		"copy":  {kernel.New(graph.Int64, 2), "int64[2]"},
	} {
		_, err := runtime.ExportWeights(original, map[string]*kernel.Tensor{name: c.weight})
		if !errors.Is(err, runtime.ErrFeed) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", name, err, c.says)
		}
	}
}

// InferenceForm of a file exported for training computes what PyTorch's module does in eval mode. (Networks with running
// statistics are left out: exporting for training updates them.)
func TestInferenceForm(t *testing.T) {
	dir := graphtest.Shared(t, "onnx-models")
	for _, base := range []string{"mlp", "mlp_mixer", "nn_transformer_encoder", "gpt2_tiny"} {
		for _, opset := range []string{"op13", "op17"} {
			m, err := onnx.Read(filepath.Join(dir, base+"_"+opset+"_train.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			feeds, want := recorded(t, filepath.Join(dir, base+"_testdata.npz"))
			m = runtime.InferenceForm(m)
			graphtest.MustVerify(t, m)
			s, err := runtime.NewSession(m, runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(feeds, []string{m.Graph.Outputs()[0].Name})
			_ = s.Close()
			if err != nil {
				t.Fatal(err)
			}
			if err := backendtest.Compare(out[m.Graph.Outputs()[0].Name], want, 1e-4, 1e-5); err != nil {
				t.Errorf("%s %s: %v", base, opset, err)
			}
		}
	}
}

// Before opset 14 training is told by the number of outputs; the model may return the running statistics, and functions
// may hold the operators.
func TestInferenceFormOfStatistics(t *testing.T) {
	for name, src := range map[string]string{
		"opset 13": `<ir_version: 7, opset_import: ["" : 13]> net (float[N,2] x) => (float[N,2] y, float[2] rm)
			<float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {1, 1}, float[2] v = {4, 4}>
			{ y, rm, rv, sm, sv = BatchNormalization <epsilon: float = 0.0> (x, s, b, m, v) }`,
		"opset 15": `<ir_version: 8, opset_import: ["" : 15]> net (float[N,2] x) => (float[N,2] y, float[2] rm)
			<float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {1, 1}, float[2] v = {4, 4}, float ratio = {0.5}, bool on = {1}>
			{ d, mask = Dropout(x, ratio, on)
			y, rm, rv = BatchNormalization <epsilon: float = 0.0, training_mode: int = 1> (d, s, b, m, v) }`,
		"function": `<ir_version: 8, opset_import: ["" : 15, "f" : 1]> net (float[N,2] x) => (float[N,2] y, float[2] rm)
			<float[2] s = {1, 2}, float[2] b = {0, 1}, float[2] m = {1, 1}, float[2] v = {4, 4}> { y, rm = f.bn(x, s, b, m, v) }
			<domain: "f", opset_import: ["" : 15]> bn (x, s, b, m, v) => (y, rm)
			{ y, rm, rv = BatchNormalization <epsilon: float = 0.0, training_mode: int = 1> (x, s, b, m, v) }`,
	} {
		s, err := runtime.NewSession(runtime.InferenceForm(graphtest.MustParse(t, src)), runtime.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := s.Run(map[string]*kernel.Tensor{"x": kernel.Of([]float32{3, 5}, 1, 2)}, nil)
		_ = s.Close()
		if err != nil {
			t.Fatal(name, err)
		}
		// (3-1)/2 and 2(5-1)/2+1; the running mean stays.
		if y, rm := kernel.Data[float32](out["y"]), kernel.Data[float32](out["rm"]); !slices.Equal(y, []float32{1, 5}) || !slices.Equal(rm, []float32{1, 1}) {
			t.Errorf("%s: y %v, running mean %v", name, y, rm)
		}
	}
}
