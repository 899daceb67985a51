package normalize_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

const headML = `<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
`

// What onnxruntime 1.30 computes of the operators of ai.onnx.ml, and the operator at the end of their standard form.
func TestClassical(t *testing.T) {
	rows := []float32{1, -2, 3, 0, 0, 0, -1, -2, -4, 1, -1, 0, 0, -1, -2}
	const linear = `coefficients: floats = [-1.5, -0.5, 0.5, 1.5], intercepts: floats = [0.5, 0.5], `
	const three = `classlabels_ints: ints = [0, 1, 2], coefficients: floats = [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5], intercepts: floats = [0.5, 0.5, 0.5], `
	pairs := []float32{1, -2, .3, .4}
	for _, c := range []struct {
		name, body string
		x          []float32
		width      int
		want       []float32
		last       string
	}{
		{"L1", `y = ai.onnx.ml.Normalizer <norm: string = "L1"> (x)`, rows, 3, []float32{1. / 6, -1. / 3, .5, 0, 0, 0, -1. / 7, -2. / 7, -4. / 7, .5, -.5, 0, 0, -1. / 3, -2. / 3}, "Div"},
		{"L2", `y = ai.onnx.ml.Normalizer <norm: string = "L2"> (x)`, rows, 3, []float32{
			.26726124, -.53452247, .80178374, 0, 0, 0, -.21821788, -.43643578, -.87287156, .70710677, -.70710677, 0, 0, -.4472136, -.8944272,
		}, "Div"},
		{"MAX", `y = ai.onnx.ml.Normalizer <norm: string = "MAX"> (x)`, rows, 3, []float32{1. / 3, -2. / 3, 1, 0, 0, 0, 1, 2, 4, 1, -1, 0, 0, -1, -2}, "Div"},
		{"regressor", `y = ai.onnx.ml.LinearRegressor <targets: int = 2, ` + linear + `post_transform: string = "NONE"> (x)`, pairs, 2, []float32{0, -2, -.15, 1.25}, "Gemm"},
		{"softmax", `l, y = ai.onnx.ml.LinearClassifier <classlabels_ints: ints = [0, 1], ` + linear + `post_transform: string = "SOFTMAX"> (x)`, pairs, 2, []float32{.88079703, .11920292, .1978161, .8021839}, "Softmax"},
		{"sigmoid", `l, y = ai.onnx.ml.LinearClassifier <` + three + `post_transform: string = "LOGISTIC"> (x)`, pairs, 2, []float32{
			.5, .11920291, .01798628, .46257016, .7772999, .93401098,
		}, "Sigmoid"},
		{
			"normalized softmax", `l, p = ai.onnx.ml.LinearClassifier <classlabels_ints: ints = [0, 1], ` + linear + `post_transform: string = "SOFTMAX"> (x) y = ai.onnx.ml.Normalizer <norm: string = "L1"> (p)`,
			pairs, 2,
			[]float32{.88079703, .11920292, .1978161, .8021839},
			"Softmax",
		},
		{
			"normalized sigmoid", `l, p = ai.onnx.ml.LinearClassifier <` + three + `post_transform: string = "LOGISTIC"> (x) y = ai.onnx.ml.Normalizer <norm: string = "L1"> (p)`,
			pairs, 2, normalized(.5, .11920291, .01798628, .46257016, .7772999, .93401098), "Softmax",
		},
		{
			"two classes, one score", `l, y = ai.onnx.ml.LinearClassifier <classlabels_ints: ints = [0, 1], coefficients: floats = [-0.5, -1.5, 0.5, 1.5], intercepts: floats = [-0.5, 0.5], post_transform: string = "LOGISTIC"> (x)`,
			pairs, 2,
			[]float32{.88079703, .11920292, .22270013, .7772999},
			"Concat",
		},
	} {
		for _, version := range []string{"17", "18"} {
			text := strings.Replace(headML, "17", version, 1) + "g (float[N," + map[int]string{2: "2", 3: "3"}[c.width] + "] x) => (float[N,C] y) { " + c.body + " }"
			got, _ := passtest.Apply(t, passtest.Parse(t, text), pass.Options{}, normalize.Pass)
			x := kernel.Of(c.x, len(c.x)/c.width, c.width)
			out := passtest.Eval(t, got, map[string]*kernel.Tensor{"x": x})
			passtest.Same(t, map[string]*kernel.Tensor{"y": kernel.Of(c.want, x.Shape[0], len(c.want)/x.Shape[0])}, out, 1e-6)
			if last := graph.Untagged(got.Graph.Outputs()[0]).Def().Op; last != c.last {
				t.Errorf("%s at opset %s: ends in %s, want %s", c.name, version, last, c.last)
			}
		}
	}
}

// normalized are rows of three over their sums.
func normalized(x ...float32) []float32 {
	for row := range slices.Chunk(x, 3) {
		sum := row[0] + row[1] + row[2]
		for i := range row {
			row[i] /= sum
		}
	}
	return x
}

// Forms that have no standard form are left, and reported.
func TestClassicalUnsupported(t *testing.T) {
	for _, body := range []string{
		`y = ai.onnx.ml.LinearRegressor <coefficients: floats = [1.0, 2.0], post_transform: string = "PROBIT"> (x)`,
		`l, y = ai.onnx.ml.LinearClassifier <classlabels_ints: ints = [0, 1], coefficients: floats = [1.0, 2.0, 3.0], intercepts: floats = [1.0]> (x)`,
		`y = ai.onnx.ml.Normalizer <norm: string = "L3"> (x)`,
	} {
		m := passtest.Parse(t, headML+"g (float[N,2] x) => (float[N,C] y) { "+body+" }")
		if err := normalize.Run(&pass.Ctx{Report: &pass.Report{}}, m); err == nil || !strings.Contains(err.Error(), "is not known") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Trained parameters go back into the attributes, those of two classes as a row and its negative.
func TestRestoreHeld(t *testing.T) {
	m := passtest.Parse(t, headML+`g (float[N,2] x) => (float[N,2] y) {
		[model] l, y = ai.onnx.ml.LinearClassifier <classlabels_ints: ints = [0, 1], coefficients: floats = [-0.5, -1.5, 0.5, 1.5], intercepts: floats = [-0.5, 0.5], post_transform: string = "LOGISTIC"> (x) }`)
	restored, places, err := normalize.Restore(m, []string{"model.coefficients", "model.intercepts"})
	if err != nil || len(places) != 2 {
		t.Fatal(places, err)
	}
	for _, p := range places {
		p.Holder.Set([]float32{2, 3}[:map[string]int{"model.coefficients": 2, "model.intercepts": 1}[p.Param]])
	}
	for n := range restored.Graph.Nodes() {
		w, _ := n.Attr("coefficients")
		b, _ := n.Attr("intercepts")
		if !slices.Equal(w.Floats, []float32{-2, -3, 2, 3}) || !slices.Equal(b.Floats, []float32{-2, 2}) {
			t.Errorf("attributes %v, %v", w.Floats, b.Floats)
		}
	}
	if named, err := normalize.Named(m, []string{"model.coefficients", "model.intercepts"}, ""); err != nil || named.Graph.Find("model.coefficients") == nil {
		t.Errorf("no parameter of that name: %v", err)
	}
}
