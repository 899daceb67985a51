package normalize_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// ownCases are files as exporters write them; want are the parameters, as name=values, after normalization.
var ownCases = []struct {
	name, in string
	o        pass.Options
	want     []string
	note     string
}{
	{
		name: "transposed weight without a name", in: `
g (float[N,2] x) => (float[N,3] y)
<float[2,3] "onnx::MatMul_7" = {1,2,3,4,5,6}, float[3] "b.0.qkv.bias" = {1,2,3}>
{ ["/b/b.0/qkv/MatMul"] h = MatMul (x, "onnx::MatMul_7")  ["/b/b.0/qkv/Add"] y = Add ("b.0.qkv.bias", h) }`,
		want: []string{"b.0.qkv.bias=[1 2 3]", "b.0.qkv.weight=[1 2 3 4 5 6]"}, note: "transpose",
	},
	{
		name: "two products of one module, named by their biases", in: `
g (float[N,2] x) => (float[N,2] y)
<float[2,2] "onnx::MatMul_7" = {1,2,3,4}, float[2] "attn.in_proj_bias" = {1,2}, float[2,2] "onnx::MatMul_8" = {5,6,7,8}, float[2] "attn.out_proj.bias" = {3,4}>
{
	["/attn/MatMul"] a = MatMul (x, "onnx::MatMul_7")
	["/attn/Add"] b = Add (a, "attn.in_proj_bias")
	["/attn/MatMul_1"] c = MatMul (b, "onnx::MatMul_8")
	["/attn/Add_1"] y = Add ("attn.out_proj.bias", c)
}`,
		want: []string{"attn.in_proj_bias=[1 2]", "attn.in_proj_weight=[1 2 3 4]", "attn.out_proj.bias=[3 4]", "attn.out_proj.weight=[5 6 7 8]"},
	},
	{
		name: "normalisation folded into a convolution", in: `
g (float[N,1,2] x) => (y)
<float[2,1,1] "onnx::Conv_8" = {1,2}, float[2] "onnx::Conv_9" = {1,2}>
{ ["/l/l.0/c1/Conv"] y = Conv (x, "onnx::Conv_8", "onnx::Conv_9") }`,
		want: []string{"l.0.c1.bias=[1 2]", "l.0.c1.weight=[1 2]"}, note: "in training mode",
	},
	{
		name: "folded by the dynamo exporter", in: `
g (float[N,1,2] x) => (y)
<float[2,1,1] "c.weight" = {1,2}, float[2] "c.weight_bias" = {1,2}>
{ y = Conv (x, "c.weight", "c.weight_bias") }`,
		want: []string{"c.bias=[1 2]", "c.weight=[1 2]"}, note: "in training mode",
	},
	{
		name: "merged, of their own names", in: `
g (float[N,2] x) => (float[N,2] y)
<float[2] "a.bias" = {0,0}, float[2] "a.weight" = {1,1}>
{
	"b.bias" = Identity ("a.bias")
	"b.weight" = Identity ("a.weight")
	h = LayerNormalization (x, "a.weight", "a.bias")
	y = LayerNormalization (h, "b.weight", "b.bias")
}`,
		want: []string{"a.bias=[0 0]", "a.weight=[1 1]", "b.bias=[0 0]", "b.weight=[1 1]"}, note: "2 parameters that the exporter had merged",
	},
	{
		name: "merged, kept", o: pass.Options{KeepTies: true}, in: `
g (float[N,2] x) => (float[N,2] y)
<float[2] "a.bias" = {0,0}>
{ "b.bias" = Identity ("a.bias")  h = Add (x, "a.bias")  y = Add (h, "b.bias") }`,
		want: []string{"a.bias=[0 0]"},
	},
	{
		name: "merged without names: two modules, the first of them called twice", in: `
g (float[N,2] x) => (float[N,2] y)
<float[2,2] "onnx::MatMul_5" = {1,2,3,4}, float[2] "s.0.fc.bias" = {1,2}, float[2] "s.1.fc.bias" = {3,4}>
{
	"onnx::MatMul_6" = Identity ("onnx::MatMul_5")
	"onnx::MatMul_7" = Identity ("onnx::MatMul_5")
	["/s/s.0/fc/MatMul"] a = MatMul (x, "onnx::MatMul_5")
	["/s/s.0/fc/Add"] b = Add ("s.0.fc.bias", a)
	["/s/s.0/fc_1/MatMul"] c = MatMul (b, "onnx::MatMul_6")
	["/s/s.0/fc_1/Add"] d = Add ("s.0.fc.bias", c)
	["/s/s.1/fc/MatMul"] e = MatMul (d, "onnx::MatMul_7")
	["/s/s.1/fc/Add"] y = Add ("s.1.fc.bias", e)
}`,
		want: []string{"s.0.fc.bias=[1 2]", "s.0.fc.weight=[1 2 3 4]", "s.1.fc.bias=[3 4]", "s.1.fc.weight=[1 2 3 4]"}, note: "(s.1.fc.weight)",
	},
	{
		name: "a module whose own name ends in a number", in: `
g (float[N,2] x) => (float[N,2] y)
<float[2,2] "onnx::MatMul_5" = {1,2,3,4}, float[2] "fc.bias" = {1,2}, float[2] "fc_1.bias" = {3,4}>
{
	"onnx::MatMul_6" = Identity ("onnx::MatMul_5")
	["/fc/MatMul"] a = MatMul (x, "onnx::MatMul_5")
	["/fc/Add"] b = Add ("fc.bias", a)
	["/fc_1/MatMul"] c = MatMul (b, "onnx::MatMul_6")
	["/fc_1/Add"] y = Add ("fc_1.bias", c)
}`,
		want: []string{"fc.bias=[1 2]", "fc.weight=[1 2 3 4]", "fc_1.bias=[3 4]", "fc_1.weight=[1 2 3 4]"},
	},
	{
		name: "embedding and last layer, separate copies", in: `
g (int64[N,2] x) => (float[N,2,3] y)
<float[3,2] "wte.weight" = {1,2,3,4,5,6}, float[2,3] "onnx::MatMul_9" = {1,3,5,2,4,6}>
{ ["/wte/Gather"] e = Gather ("wte.weight", x)  ["/head/MatMul"] y = MatMul (e, "onnx::MatMul_9") }`,
		want: []string{"wte.weight=[1 2 3 4 5 6]"}, note: "broke the tie",
	},
	{
		name: "embedding and last layer, kept apart", o: pass.Options{Tie: "none"}, in: `
g (int64[N,2] x) => (float[N,2,3] y)
<float[3,2] "wte.weight" = {1,2,3,4,5,6}, float[2,3] "onnx::MatMul_9" = {1,3,5,2,4,6}>
{ ["/wte/Gather"] e = Gather ("wte.weight", x)  ["/head/MatMul"] y = MatMul (e, "onnx::MatMul_9") }`,
		want: []string{"head.weight=[1 3 5 2 4 6]", "wte.weight=[1 2 3 4 5 6]"}, note: "most likely tied",
	},
	{
		name: "embedding and last layer that are equal because they are fresh", in: `
g (int64[N,2] x) => (float[N,2,3] y)
<float[3,2] "wte.weight" = {0,0,0,0,0,0}, float[2,3] "onnx::MatMul_9" = {0,0,0,0,0,0}>
{ ["/wte/Gather"] e = Gather ("wte.weight", x)  ["/head/MatMul"] y = MatMul (e, "onnx::MatMul_9") }`,
		want: []string{"head.weight=[0 0 0 0 0 0]", "wte.weight=[0 0 0 0 0 0]"},
	},
	{
		name: "a tie that the file writes as an identity", in: `
g (int64[N] x) => (float[N,3] y)
<float[3,2] "wte.weight" = {1,2,3,4,5,6}>
{ "head.weight" = Identity ("wte.weight")  e = Gather ("wte.weight", x)  y = Gemm <transB: int = 1> (e, "head.weight") }`,
		want: []string{"wte.weight=[1 2 3 4 5 6]"},
	},
	{
		name: "recurrent cell", in: `
g (float[L,N,2] x) => (y)
<float[1,4,2] "onnx::LSTM_1" = {1,2,3,4,5,6,7,8}, float[1,4,1] "onnx::LSTM_2" = {1,2,3,4}, float[1,8] "onnx::LSTM_3" = {1,2,3,4,5,6,7,8}>
{ ["/l/LSTM"] y = LSTM <hidden_size: int = 1> (x, "onnx::LSTM_1", "onnx::LSTM_2", "onnx::LSTM_3") }`,
		want: []string{"l.B=[1 2 3 4 5 6 7 8]", "l.R=[1 2 3 4]", "l.W=[1 2 3 4 5 6 7 8]"},
	},
}

// floatInitializers lists the tensors of several elements, all of which are small integers.
func floatInitializers(m *graph.Model) []string {
	var all []string
	for _, v := range m.Graph.Initializers() {
		if x, ok := v.Const().Float64s(); ok && len(x) > 1 {
			all = append(all, fmt.Sprintf("%s=%v", v.Name, x))
		}
	}
	slices.Sort(all)
	return all
}

func TestOwn(t *testing.T) {
	for _, c := range ownCases {
		t.Run(c.name, func(t *testing.T) {
			m := passtest.Parse(t, head("17")+strings.TrimSpace(c.in))
			got, ctx := passtest.Apply(t, m, c.o, normalize.Pass)
			if names := floatInitializers(got); !slices.Equal(names, c.want) {
				t.Errorf("got %q, want %q", names, c.want)
			}
			if notes := strings.Join(ctx.Report.Notes, "\n"); !strings.Contains(notes, c.note) {
				t.Errorf("notes %q do not say %q", notes, c.note)
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3, "L": 2})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
		})
	}
}

// scoped is as the dynamo exporter writes two layers with equal parameters: one initializer, and nodes that tell their modules.
const scoped = `g (float[N,2] x) => (float[N,2] y)
<float[2,2] val_3 = {1,2,3,4}, float[2] "l.0.n.weight" = {1,1}, float[2] "l.0.n.bias" = {0,0}>
{
	[n1] a = LayerNormalization (x, "l.0.n.weight", "l.0.n.bias")
	[fc1] b = MatMul (a, val_3)
	[n2] c = LayerNormalization (b, "l.0.n.weight", "l.0.n.bias")
	[fc2] d = MatMul (c, val_3)
	[fc2] y = Add (d, "l.0.n.bias")
}`

func scopedModel(t *testing.T) *graph.Model {
	m := passtest.Parse(t, head("18")+scoped)
	scopes := map[string]string{"n1": "l.0.n", "fc1": "l.0.fc", "n2": "l.1.n", "fc2": "l.1.fc"}
	for n := range m.Graph.Nodes() {
		n.Scope = scopes[n.Name]
	}
	return m
}

func TestSeparateModules(t *testing.T) {
	m := scopedModel(t)
	got, ctx := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
	want := []string{
		"l.0.fc.weight=[1 2 3 4]", "l.0.n.bias=[0 0]", "l.0.n.weight=[1 1]",
		"l.1.fc.bias=[0 0]", "l.1.fc.weight=[1 2 3 4]", "l.1.n.bias=[0 0]", "l.1.n.weight=[1 1]",
	}
	if names := floatInitializers(got); !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if !strings.Contains(strings.Join(ctx.Report.Notes, " "), "4 parameters that the exporter had merged") {
		t.Errorf("notes %q", ctx.Report.Notes)
	}
	feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3})
	passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-6)
	kept, _ := passtest.Apply(t, m, pass.Options{KeepTies: true}, normalize.Pass)
	if names := floatInitializers(kept); len(names) != 3 {
		t.Errorf("kept: %q", names)
	}
}

// TestRestore: the places of parameters, found again from their names alone.
func TestRestore(t *testing.T) {
	names := func(m *graph.Model) []string {
		var all []string
		for _, v := range m.Graph.Initializers() {
			if v.Type.Elem.IsFloat() && v.Const().Len() > 1 {
				all = append(all, v.Name)
			}
		}
		return all
	}
	models := map[string]*graph.Model{"scoped": scopedModel(t)}
	for _, c := range ownCases {
		models[c.name] = passtest.Parse(t, head("17")+strings.TrimSpace(c.in))
	}
	for name, m := range models {
		for _, o := range []pass.Options{{}, {Tie: "none"}, {KeepTies: true}, {KeepTies: true, Tie: "none"}} {
			got, _ := passtest.Apply(t, m, o, normalize.Pass)
			params := names(got)
			named, err := normalize.Named(m, params, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range params {
				if v := named.Graph.Find(p); v == nil || v.Const() == nil {
					t.Errorf("%s, %+v: Named has no parameter %s", name, o, p)
				}
			}
			file, places, err := normalize.Restore(m, params)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]string{}
			for _, p := range places {
				in[p.File] = p.Param
			}
			for _, v := range file.Graph.Initializers() {
				if p, ok := in[v.Name]; !slices.Contains(params, v.Name) && (!ok || !slices.Contains(params, p)) {
					t.Errorf("%s, %+v: nothing goes into %s: places %v, parameters %v", name, o, v.Name, places, params)
				}
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3, "L": 2})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, file, feeds), 0)
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, named, feeds), 1e-6)
		}
	}
}
