package normalize_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// head begins a model of an opset.
func head(opset string) string {
	return `<ir_version: 8, opset_import: ["" : ` + opset + "]>\n"
}

var upgradeCases = []struct {
	name, opset string
	to          int
	body        string
	want        string // a piece of the result
}{
	{"scan", "8", 0, `g (float[N,2] s, float[N,5,2] x) => (y, z) { y, z = Scan <num_scan_inputs: int = 1, body: graph =
		b (float[2] a, float[2] e) => (float[2] c, float[2] d) { c = Add (a, e)  d = Mul (c, e) }> ("", s, x) }`, `num_scan_inputs: int = 2`},
	{"scan backwards", "8", 0, `g (float[N,2] s, float[N,5,2] x) => (y, z) { y, z = Scan <num_scan_inputs: int = 1, directions: ints = [1], body: graph =
		b (float[2] a, float[2] e) => (float[2] c, float[2] d) { c = Sub (e, a)  d = Neg (c) }> ("", s, x) }`, `scan_input_directions: ints = [1]`},
	{"clip", "7", 0, `g (float[N,4] x) => (float[N,4] y) { y = Clip <min: float = -0.5, max: float = 0.25> (x) }`, `y = Clip (x, `},
	{"clip one side", "10", 0, `g (float[N,4] x) => (float[N,4] y) { y = Clip <max: float = 0.25> (x) }`, `y = Clip (x, "", `},
	{"pad", "9", 0, `g (float[N,4] x) => (y) { y = Pad <pads: ints = [0, 1, 0, 2], value: float = 1.5> (x) }`, `y = Pad (x, `},
	{"slice", "9", 0, `g (float[N,6] x) => (y) { y = Slice <axes: ints = [1], starts: ints = [1], ends: ints = [5]> (x) }`, `y = Slice (x, `},
	{"squeeze", "11", 0, `g (float[N,1,4] x) => (y) { y = Squeeze <axes: ints = [1]> (x) }`, `y = Squeeze (x, `},
	{"unsqueeze", "11", 0, `g (float[N,4] x) => (y) { y = Unsqueeze <axes: ints = [0, 2]> (x) }`, `y = Unsqueeze (x, `},
	{"split", "11", 0, `g (float[N,5] x) => (y, z) { y, z = Split <axis: int = 1, split: ints = [2, 3]> (x) }`, `y, z = Split <axis: int = 1> (x, `},
	{"split in equal parts", "13", 18, `g (float[N,6] x) => (y, z) { y, z = Split <axis: int = 1> (x) }`, `num_outputs: int = 2`},
	{"sum", "12", 0, `g (float[N,5] x) => (y) { y = ReduceSum <axes: ints = [1], keepdims: int = 0> (x) }`, `(x, `},
	{"mean", "17", 18, `g (float[N,5] x) => (y) { y = ReduceMean <axes: ints = [-1]> (x) }`, `y = ReduceMean (x, `},
	{"max", "13", 20, `g (float[N,5] x) => (y) { y = ReduceMax <axes: ints = [-1]> (x) }`, `y = ReduceMax (x, `},
	{"mean stays", "13", 0, `g (float[N,5] x) => (y) { y = ReduceMean <axes: ints = [-1]> (x) }`, `axes: ints = [-1]`},
	{"softmax over a matrix", "11", 0, `g (float[N,2,3] x) => (float[N,2,3] y) { y = Softmax <axis: int = 1> (x) }`, `y = Reshape <allowzero: int = 1> (`},
	{"softmax over nothing", "11", 0, `g (float[N,2,0] x) => (float[N,2,0] y) { y = Softmax <axis: int = 1> (x) }`, `y = Reshape <allowzero: int = 1> (`},
	{"softmax, axis from the end", "11", 0, `g (float[N,2,3] x) => (float[N,2,3] y) { y = Softmax <axis: int = -2> (x) }`, `Flatten <axis: int = 1> (x)`},
	{"softmax default axis", "9", 0, `g (float[N,2,3] x) => (float[N,2,3] y) { y = Softmax (x) }`, `Flatten <axis: int = 1> (x)`},
	{"softmax over the last axis", "11", 0, `g (float[N,2,3] x) => (float[N,2,3] y) { y = LogSoftmax <axis: int = 2> (x) }`, `y = LogSoftmax <axis: int = -1> (x)`},
	{"topk", "9", 0, `g (float[N,5] x) => (float[N,2] y, int64[N,2] i) { y, i = TopK <axis: int = 1, k: int = 2> (x) }`, `y, i = TopK <axis: int = 1> (x, `},
	{"scatter", "9", 0, `g (float[3,2] x, int64[1,2] i, float[1,2] u) => (y) { y = Scatter (x, i, u) }`, `y = ScatterElements (x, i, u)`},
	{"dropout", "11", 0, `g (float[N,5] x) => (float[N,5] y) { h = Dropout <ratio: float = 0.5> (x)  y = Relu (h) }`, `y = Relu (x)`},
	{"float mask of dropout", "9", 0, `g (float[N,5] x) => (float[N,5] y) { h, m = Dropout (x)  y = Add (h, m) }`, `Cast`},
	{"frozen statistics", "9", 0, `g (float[N,2,3] x) => (y)
		<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
		{ y = BatchNormalization <momentum: float = 0.5> (x, s, b, m, v) }`, `BatchNormalization`},
}

func TestUpgrade(t *testing.T) {
	for _, c := range upgradeCases {
		t.Run(c.name, func(t *testing.T) {
			m := passtest.Parse(t, head(c.opset)+c.body)
			got, ctx := passtest.Apply(t, m, pass.Options{Opset: c.to, BN: "frozen"}, normalize.Pass)
			text := graph.Print(got)
			if !strings.Contains(text, c.want) {
				t.Errorf("no %q in\n%s", c.want, text)
			}
			if want := max(c.to, 17); got.Opset() != want {
				t.Errorf("opset %d, want %d", got.Opset(), want)
			}
			if len(ctx.Report.Notes) == 0 && c.opset != "17" {
				t.Error("no note about the opset")
			}
			if strings.Contains(c.body, "Scatter") { // no kernel has the old name
				return
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
		})
	}
}

// TestUpsample checks numbers: no kernel runs Upsample itself.
func TestUpsample(t *testing.T) {
	for _, body := range []string{
		`g (float[1,1,1,2] x) => (y) { y = Upsample <mode: string = "nearest", scales: floats = [1.0, 1.0, 1.0, 2.0]> (x) }`,
		`g (float[1,1,1,2] x) => (y) <float[4] s = {1, 1, 1, 2}> { y = Upsample (x, s) }`,
		`g (float[1,1,1,2] x) => (y) <float[4] s = {1, 1, 1, 2}> { y = Resize (x, s) }`,
	} {
		opset := "9"
		switch {
		case strings.Contains(body, "Resize"):
			opset = "10"
		case strings.Contains(body, "floats"):
			opset = "8"
		}
		m, _ := passtest.Apply(t, passtest.Parse(t, head(opset)+body), pass.Options{}, normalize.Pass)
		n := m.Graph.First()
		if n.Op != "Resize" || n.Str("coordinate_transformation_mode", "") != "asymmetric" || n.Str("nearest_mode", "") != "floor" || n.In(1) != nil {
			t.Errorf("not the Resize that opset 10 means:\n%s", graph.Print(m))
		}
		if s, _ := n.In(2).Const().Float64s(); len(s) != 4 || s[3] != 2 {
			t.Errorf("scales %v", s)
		}
		if d, _ := m.Graph.Outputs()[0].Type.Static(); len(d) != 4 || d[3] != 4 {
			t.Errorf("output has type %s", m.Graph.Outputs()[0].Type)
		}
	}
}

// TestFramesOfTensorFlow: with scale 2 and floor, output i is input floor((i + 1/2) / 2); rounding down gives the next one for odd i.
func TestFramesOfTensorFlow(t *testing.T) {
	for mode, want := range map[string][]float64{"floor": {10, 10, 20, 20, 30, 30}, "round_prefer_floor": {10, 20, 20, 30, 30, 30}} {
		m := passtest.Parse(t, head("11")+`g (float[1,1,1,3] x) => (y) <float[0] roi = {}, float[4] s = {1, 1, 1, 2}>
			{ y = Resize <mode: string = "nearest", coordinate_transformation_mode: string = "tf_half_pixel_for_nn", nearest_mode: string = "`+mode+`"> (x, roi, s) }`)
		got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
		out := passtest.Eval(t, got, map[string]*kernel.Tensor{"x": kernel.Of([]float32{10, 20, 30}, 1, 1, 1, 3)})
		if y := passtest.Floats(out["y"]); !slices.Equal(y, want) {
			t.Errorf("%s: %v, want %v", mode, y, want)
		}
	}
	m := passtest.Parse(t, head("11")+`g (float[1,1,1,3] x) => (y) <float[0] roi = {}, float[4] s = {1, 1, 1, 2}>
		{ y = Resize <mode: string = "linear", coordinate_transformation_mode: string = "tf_half_pixel_for_nn"> (x, roi, s) }`)
	if err := normalize.Run(&pass.Ctx{Report: &pass.Report{}}, m); !errors.Is(err, graph.ErrUnsupported) {
		t.Errorf("linear: %v", err)
	}
}

// TestOldTraining: five outputs meant training mode.
func TestOldTraining(t *testing.T) {
	m := passtest.Parse(t, head("11")+`g (float[N,2] x) => (y)
		<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
		{ y, m1, v1, sm, sv = BatchNormalization (x, s, b, m, v) }`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	n := got.Graph.First()
	if n.Int("training_mode", 0) != 1 || len(n.Outputs()) != 3 || n.Out(1).Name != "m1" {
		t.Errorf("got\n%s", graph.Print(got))
	}
	used := passtest.Parse(t, head("11")+`g (float[N,2] x) => (y, sm)
		<float[2] s = {1, 2}, float[2] b = {0.5, 0}, float[2] m = {0.1, 0.2}, float[2] v = {1, 4}>
		{ y, m1, v1, sm, sv = BatchNormalization (x, s, b, m, v) }`)
	if err := normalize.Run(&pass.Ctx{Report: &pass.Report{}}, used); !errors.Is(err, graph.ErrUnsupported) {
		t.Errorf("saved statistics in use: %v", err)
	}
}

func TestOpsetRange(t *testing.T) {
	for _, c := range []struct {
		opset  string
		to     int
		option bool // the option is at fault, not the model
	}{{"6", 0, false}, {"27", 0, false}, {"17", 16, true}, {"20", 18, false}, {"17", 27, true}} {
		m, err := graph.Parse(head(c.opset) + `g (float[2] x) => (y) { y = Relu (x) }`)
		if err != nil {
			t.Fatal(err)
		}
		err = normalize.Run(&pass.Ctx{Report: &pass.Report{}, Options: pass.Options{Opset: c.to}}, m)
		var option *pass.OptionError
		if errors.As(err, &option) != c.option || errors.Is(err, graph.ErrUnsupported) == c.option {
			t.Errorf("from %s to %d: %v", c.opset, c.to, err)
		}
	}
}
