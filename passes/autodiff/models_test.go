package autodiff_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/autodiff"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestModels differentiates exported networks, in float64, in all their parameters along a random direction: backward
// and forward mode must agree with each other and with differences, and so must the tangent of the gradient.
func TestModels(t *testing.T) {
	for _, c := range []struct{ file, inputs string }{
		{"mlp_op17_train", "mlp"},
		{"mlp_op17_eval", "mlp"},
		{"cnn_bn_dropout_op17_train", "cnn_bn_dropout"},
		{"cnn_bn_dropout_op17_eval", "cnn_bn_dropout"},
		{"resnet8_op17_train", "resnet8"},
		{"resnet8_op17_eval", "resnet8"},
		{"mlp_mixer_op17_train", "mlp_mixer"},
		{"mlp_mixer_op17_eval", "mlp_mixer"},
		{"vit_tiny_op17_train", "vit_tiny"},
		{"vit_tiny_op17_eval", "vit_tiny"},
		{"vit_tiny_op17_functions", "vit_tiny"},
		{"gpt2_tiny_op17_train", "gpt2_tiny"},
		{"gpt2_tiny_op17_eval", "gpt2_tiny"},
		{"nn_transformer_encoder_op17_train", "nn_transformer_encoder"},
		{"nn_transformer_encoder_op17_eval", "nn_transformer_encoder"},
		{"lstm_op17_train", "lstm"},
		{"lstm_op17_eval", "lstm"},
		{"unet_op17_train", "unet"},
		{"unet_op17_eval", "unet"},
	} {
		t.Run(c.file, func(t *testing.T) {
			if testing.Short() {
				t.Skip("large")
			}
			m, err := onnx.Read(graphtest.Shared(t, "onnx-models", c.file+".onnx"))
			if err != nil {
				t.Fatal(err)
			}
			arrays, err := data.ReadNPZ(graphtest.Shared(t, "onnx-models", c.inputs+"_testdata.npz"))
			if err != nil {
				t.Fatal(err)
			}
			checkModel(t, m, arrays)
		})
	}
}

func checkModel(t *testing.T, m *graph.Model, arrays map[string]*data.Array) {
	widen(m)
	m.Opsets[graph.Asdl] = 1
	r := rand.New(rand.NewPCG(1, 2))
	feeds := map[string]*kernel.Tensor{}
	for _, v := range m.Graph.Inputs() {
		a := arrays["in_"+v.Name]
		if a == nil {
			t.Fatalf("no data for input %s", v.Name)
		}
		feeds[v.Name] = tensor(t, a)
	}
	if err := op.InferGraph(m); err != nil {
		t.Fatal(err)
	}
	g := m.Graph
	y := g.Outputs()[0]
	g.SetOutputs(y)
	var xs, ts []*graph.Value
	for _, v := range g.Initializers() {
		if v.Type.Elem == graph.Float64 && v.Const().Len() > 1 {
			xs = append(xs, v)
		}
	}
	for _, x := range xs {
		dims, _ := x.Type.Static()
		ts = append(ts, g.AddInitializer("direction", direction(r, ints(dims)...).Const()))
	}
	plain := graph.Clone(m)
	y0 := evaluate(t, plain, feeds)[y.Name]
	seed := g.AddInitializer("seed", direction(r, y0.Shape...).Const())

	b := op.NewBuilder(m, g)
	dx := b.Node(graph.Asdl, graph.TagGradient, append([]*graph.Value{y, seed}, xs...), len(xs), graph.I("ys", 1)).Outputs()
	dy := b.Tag(graph.TagTangent, append(append([]*graph.Value{y}, ts...), xs...), graph.I("ys", 1))
	along := b.Float(graph.Float64, 0)
	for i, d := range dx {
		along = b.Add(along, b.Sum(b.Mul(d, ts[i])))
	}
	curve := b.Tag(graph.TagTangent, append(append([]*graph.Value{along}, ts...), xs...), graph.I("ys", 1))
	g.SetOutputs(along, b.Sum(b.Mul(dy, seed)), curve)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if err := autodiff.Expand(&pass.Ctx{Report: &pass.Report{}}, m); err != nil {
		t.Fatal(err)
	}
	graphtest.MustVerify(t, m)
	at := func(model *graph.Model, h float64) []*kernel.Tensor {
		moved := graph.Clone(model)
		for i, x := range xs {
			w, _ := x.Const().Float64s()
			d, _ := ts[i].Const().Float64s()
			for k := range w {
				w[k] += h * d[k]
			}
			moved.Graph.Find(x.Name).SetConst(graph.TensorOf(w, x.Const().Shape...))
		}
		byName := evaluate(t, moved, feeds)
		var outs []*kernel.Tensor
		for _, o := range moved.Graph.Outputs() {
			outs = append(outs, byName[o.Name])
		}
		return outs
	}
	number := func(outs []*kernel.Tensor, i int) float64 { return kernel.Data[float64](outs[i])[0] }
	weighted := func(outs []*kernel.Tensor) float64 {
		sum, s := 0.0, graph.Data[float64](seed.Const())
		for k, v := range kernel.Data[float64](outs[0]) {
			sum += s[k] * v
		}
		return sum
	}
	const h = 1e-6
	outs := at(m, 0)
	reverse, forward, second := number(outs, 0), number(outs, 1), number(outs, 2)
	want := (weighted(at(plain, h)) - weighted(at(plain, -h))) / (2 * h)
	wantSecond := (number(at(m, h), 0) - number(at(m, -h), 0)) / (2 * h)
	scale := math.Max(1, math.Abs(want))
	if !(math.Abs(reverse-forward) <= 1e-9*scale) || !(math.Abs(reverse-want) <= 1e-5*scale) {
		t.Errorf("derivative along a direction is %.12g backward, %.12g forward, %.12g by differences", reverse, forward, want)
	}
	if !(math.Abs(second-wantSecond) <= 1e-5*math.Max(1, math.Abs(wantSecond))) {
		t.Errorf("second derivative along a direction is %.12g, %.12g by differences", second, wantSecond)
	}
}

// tensor is an array in float64 or int64.
func tensor(t *testing.T, a *data.Array) *kernel.Tensor {
	t.Helper()
	switch v := a.Data.(type) {
	case []int64:
		return kernel.Of(v, a.Shape...)
	case []float32:
		return widened(kernel.Of(v, a.Shape...))
	}
	t.Fatalf("an array of %T", a.Data)
	return nil
}

// widened is t in float64 if it is in float32.
func widened(t *kernel.Tensor) *kernel.Tensor {
	if t.Elem != graph.Float32 {
		return t
	}
	v, _ := t.Const().Float64s()
	return kernel.Of(v, t.Shape...)
}

// widen turns a float32 model into a float64 one.
func widen(m *graph.Model) {
	wide := func(c *graph.Tensor) *graph.Tensor { return widened(kernel.FromConst(c)).Const() }
	for _, v := range m.Graph.Inputs() {
		if v.Type.Elem == graph.Float32 {
			v.Type.Elem = graph.Float64
		}
	}
	for _, v := range m.Graph.Initializers() {
		v.SetConst(wide(v.Const()))
	}
	wideNodes(m.Graph, wide)
	for _, f := range m.Functions {
		wideNodes(f.Body, wide)
	}
}

func wideNodes(g *graph.Graph, wide func(*graph.Tensor) *graph.Tensor) {
	for n := range g.All() {
		for _, o := range n.Outputs() {
			if o != nil {
				o.Type = graph.Type{}
			}
		}
		if a, ok := n.Attr("value"); ok && a.T != nil {
			n.SetAttr(graph.T("value", wide(a.T)))
		}
		if n.Op == "Cast" && n.Int("to", 0) == int64(graph.Float32) {
			n.SetAttr(graph.I("to", int64(graph.Float64)))
		}
	}
}
