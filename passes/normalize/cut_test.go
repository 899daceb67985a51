package normalize_test

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// classifier ends as converters of classical machine learning end it.
const classifier = `<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
g (float[N,2] x) => (int64[N] label, float[N,3] scores)
<float[2,3] w = {1,2,3,4,5,6}, int64[3] classes = {7,8,9}> {
	s = ai.onnx.ml.Scaler <offset: floats = [1.0, 2.0], scale: floats = [0.5]> (x)
	z = MatMul (s, w)
	p = Softmax (z)
	k = ArgMax (p)
	label = ai.onnx.ml.ArrayFeatureExtractor (classes, k)
	scores = Relu (p)
}`

func TestCut(t *testing.T) {
	for _, c := range []struct {
		name, outputs, logits, want, note string
	}{
		{"a label beside scores", "(int64[N] label, float[N,3] scores)", "", "scores", "left out of the step graph, for it is not needed in training and cannot be computed: label"},
		{"nothing but a label", "(int64[N] label)", "", "p", "p is taken as the output of the model"},
		{"an inner value", "(int64[N] label)", "z", "z", "left out"},
		{"an inner value beside an output", "(float[N,3] scores)", "z", "scores z", ""},
	} {
		m := passtest.Parse(t, strings.Replace(classifier, "(int64[N] label, float[N,3] scores)", c.outputs, 1))
		got, ctx := passtest.Apply(t, m, pass.Options{Logits: c.logits}, normalize.Pass)
		var names []string
		for _, v := range got.Graph.Outputs() {
			names = append(names, v.Name)
		}
		if s := strings.Join(names, " "); s != c.want {
			t.Errorf("%s: outputs %s, want %s", c.name, s, c.want)
		}
		if notes := strings.Join(ctx.Report.Notes, "; "); !strings.Contains(notes, c.note) {
			t.Errorf("%s: notes %q", c.name, notes)
		}
	}
	// The scaler computes (x - offset) * scale.
	m := passtest.Parse(t, strings.Replace(classifier, "(int64[N] label, float[N,3] scores)", "(float[N,3] scores)", 1))
	plain := passtest.Parse(t, head("17")+`g (float[N,2] x) => (float[N,3] scores)
		<float[2,3] w = {1,2,3,4,5,6}, float[2] o = {1,2}, float f = {0.5}> {
		a = Sub (x, o)  s = Mul (a, f)  z = MatMul (s, w)  p = Softmax (z)  scores = Relu (p) }`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	feeds := passtest.Feeds(t, plain, 1, map[string]int64{"N": 4})
	passtest.Same(t, passtest.Eval(t, plain, feeds), passtest.Eval(t, got, feeds), 1e-6)
	// What leads to a floating-point output is not left out but reported, all of it.
	bad, err := graph.Parse(`<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
g (float[N,2] x) => (float[N,2] y) { [one] a = ai.onnx.ml.Imputer (x)  [two] y = ai.onnx.ml.Binarizer (a) }`)
	if err != nil {
		t.Fatal(err)
	}
	if err := normalize.Run(&pass.Ctx{Report: &pass.Report{}}, bad); err == nil || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("error %v does not name both nodes", err)
	}
}

// TestPadOrder: pads computed at run time, in PyTorch's order, give a known shape.
func TestPadOrder(t *testing.T) {
	m := passtest.Parse(t, head("17")+`g (float[N,5,2] x) => (y)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] three = {3}, int64 axis = {1}, int64[2] pairs = {-1, 2}, int64[1] back = {-1}, int64[1] end = {-9223372036854775807}, int64[2] zeros = {0, 0}> {
	s = Shape (x)
	d = Gather (s, axis)
	dv = Unsqueeze (d, zero)
	m = Mod (dv, three)
	r = Sub (three, m)
	q = Mod (r, three)
	list = Concat <axis: int = 0> (zero, one, zero, q, zeros)
	p = Reshape (list, pairs)
	v = Slice (p, back, end, zero, back)
	t = Transpose <perm: ints = [1, 0]> (v)
	pads = Reshape (t, back)
	y = Pad (x, pads)
}`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	if y := got.Graph.Outputs()[0].Type.String(); y != "float[N,6,3]" {
		t.Errorf("y is %s:\n%s", y, graph.Print(got))
	}
	feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 2})
	passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 0)
}
