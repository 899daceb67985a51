package layers_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/layers"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// describe lists layers as "name kind W B layout x z", then what is tagged but in no layer.
func describe(m *graph.Model) []string {
	name := func(v *graph.Value) string {
		if p, ok := pass.ParamOf(v); ok {
			return p.Name()
		}
		return "-"
	}
	var lines []string
	covered := map[*graph.Value]bool{}
	for _, l := range pass.LayersOf(m.Graph) {
		covered[l.W], covered[l.B] = true, true
		layout := l.Node.Str("layout", "-")
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s %s %s", l.Name, l.Kind, name(l.W), name(l.B), layout, l.X.Type, l.Out.Type))
	}
	for _, p := range pass.Params(m.Graph, "") {
		if !covered[p.Value] {
			lines = append(lines, p.Kind+" "+p.Name())
		}
	}
	return lines
}

var layerCases = []struct {
	name, body string
	want       []string
	o          pass.Options
}{
	{
		name: "gemm transB", body: `(float[N,2] x) => (float[N,3] y) <float[3,2] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}>
		{ y = Gemm <transB: int = 1> (x, "fc.weight", "fc.bias") }`,
		want: []string{"fc linear fc.weight fc.bias oi float[N,2] float[N,3]"},
	},
	{
		name: "gemm plain, no bias", body: `(float[N,2] x) => (float[N,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}> { y = Gemm (x, "fc.weight") }`,
		want: []string{"fc linear fc.weight - io float[N,2] float[N,3]"},
	},
	{
		name: "gemm transA", body: `(float[2,N] x) => (float[N,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}>
		{ y = Gemm <transA: int = 1> (x, "fc.weight", "fc.bias") }`,
		want: []string{"fc linear fc.weight fc.bias io float[N,2] float[N,3]"},
	},
	{
		name: "gemm alpha and beta", body: `(float[N,2] x) => (float[N,3] y) <float[3,2] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}>
		{ y = Gemm <transB: int = 1, alpha: float = 0.5, beta: float = 2.0> (x, "fc.weight", "fc.bias") }`,
		want: []string{"fc linear fc.weight - oi float[N,2] float[N,3]", "param fc.bias"},
	},
	{
		name: "gemm beta 0", body: `(float[N,2] x) => (float[N,3] y) <float[3,2] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}>
		{ y = Gemm <transB: int = 1, beta: float = 0.0> (x, "fc.weight", "fc.bias") }`,
		want: []string{"fc linear fc.weight - oi float[N,2] float[N,3]"},
	},
	{
		name: "gemm, addend is data", body: `(float[N,2] x, float[N,3] c) => (float[N,3] y) <float[3,2] "fc.weight" = {1,2,3,4,5,6}>
		{ h = Gemm <transB: int = 1> (x, "fc.weight", c)  y = Relu (h) }`,
		want: []string{"fc linear fc.weight - oi float[N,2] float[N,3]"},
	},
	{
		name: "gemm, bias is a row", body: `(float[N,2] x) => (float[N,3] y) <float[3,2] "fc.weight" = {1,2,3,4,5,6}, float[1,3] "fc.bias" = {1,2,3}>
		{ y = Gemm <transB: int = 1> (x, "fc.weight", "fc.bias") }`,
		want: []string{"fc linear fc.weight fc.bias oi float[N,2] float[N,3]"},
	},
	{
		name: "matmul, bias is a row by example", body: `(float[4,2] x) => (float[4,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[4,3] "fc.bias" = {1,2,3,4,5,6,7,8,9,0,1,2}>
		{ m = MatMul (x, "fc.weight")  y = Add (m, "fc.bias") }`,
		want: []string{"fc linear fc.weight - io float[4,2] float[4,3]", "fc_2 bias fc.bias - - float[4,3] float[4,3]"},
	},
	{
		name: "matmul, transposed weight, bias first", body: `(float[N,4,2] x) => (float[N,4,3] y) <float[3,2] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}>
		{ t = Transpose <perm: ints = [1, 0]> ("fc.weight")  m = MatMul (x, t)  y = Add ("fc.bias", m) }`,
		want: []string{"fc linear fc.weight fc.bias oi float[N,4,2] float[N,4,3]"},
	},
	{
		name: "matmul by a Constant, named by its bias", body: `(float[N,2] x) => (float[N,3] y) <float[3] "blk.fc.bias" = {1,2,3}>
		{ "/blk/Constant_output_0" = Constant <value: tensor = float[2,3] {1,2,3,4,5,6}> ()  m = MatMul (x, "/blk/Constant_output_0")  y = Add (m, "blk.fc.bias") }`,
		want: []string{"blk.fc linear /blk/Constant_output_0 blk.fc.bias io float[N,2] float[N,3]"},
	},
	{
		name: "exporter's name, module path", body: `(float[N,2] x) => (float[N,3] y) <float[2,3] "onnx::MatMul_12" = {1,2,3,4,5,6}>
		{ ["/b/b.0/t/t.0/MatMul"] y = MatMul (x, "onnx::MatMul_12") }`,
		want: []string{"b.0.t.0 linear b.0.t.0.weight - io float[N,2] float[N,3]"},
	},
	{
		name: "no name at all", body: `(float[N,2] x) => (float[N,3] y) <float[2,3] "12" = {1,2,3,4,5,6}> { y = MatMul (x, "12") }`,
		want: []string{"layer0 linear 12 - io float[N,2] float[N,3]"},
	},
	{
		name: "reshape between product and bias", body: `(float[N,2] x) => (float[N,1,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}, int64[3] s = {-1, 1, 3}>
		{ m = MatMul (x, "fc.weight")  r = Reshape (m, s)  y = Add (r, "fc.bias") }`,
		want: []string{"fc linear fc.weight fc.bias io float[N,2] float[N,3]"},
	},
	{
		name: "between reshapes", body: `(float[N,4,2] x) => (float[N,4,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}, int64[2] i = {-1, 2}, int64[3] o = {-1, 4, 3}>
		{ a = Reshape (x, i)  m = Gemm (a, "fc.weight", "fc.bias")  y = Reshape (m, o) }`,
		want: []string{"fc linear fc.weight fc.bias io float[N,4,2] float[N,4,3]"},
	},
	{
		name: "gemm, reshape, bias", body: `(float[N,2] x) => (float[N,1,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}, int64[3] s = {-1, 1, 3}>
		{ m = Gemm (x, "fc.weight")  r = Reshape (m, s)  y = Add (r, "fc.bias") }`,
		want: []string{"fc linear fc.weight fc.bias io float[N,2] float[N,3]"},
	},
	{
		name: "weight on the left", body: `(float[N,2,4] x) => (float[N,3,4] y) <float[3,2] "mix.weight" = {1,2,3,4,5,6}, float[3,1] "mix.bias" = {1,2,3}>
		{ m = MatMul ("mix.weight", x)  y = Add (m, "mix.bias") }`,
		want: []string{"mix linear mix.weight - oi float[N,4,2] float[N,4,3]", "mix_2 bias mix.bias - - float[N,3,4] float[N,3,4]"},
	},
	{
		name: "weight on the left, columns are the batch", body: `(float[2,N] x) => (float[3,N] y) <float[3,2] "mix.weight" = {1,2,3,4,5,6}> { y = MatMul ("mix.weight", x) }`,
		want: []string{"mix linear mix.weight - oi float[N,2] float[N,3]"},
	},
	{
		name: "weight on the left, unclear", body: `(float[2,4] x) => (float[3,4] y) <float[3,2] "mix.weight" = {1,2,3,4,5,6}> { y = MatMul ("mix.weight", x) }`,
		want: []string{"param mix.weight"},
	},
	{
		name: "normalisation without scale", body: `(float[N,2,3] x) => (y) <float[2] "onnx::InstanceNormalization_3" = {1,1}, float[2] "onnx::InstanceNormalization_4" = {0,0}, float[2,1] "gn.weight" = {1,2}>
		{ a = InstanceNormalization (x, "onnx::InstanceNormalization_3", "onnx::InstanceNormalization_4")  y = Mul (a, "gn.weight") }`,
		want: []string{"gn scale gn.weight - - float[N,2,3] float[N,2,3]"},
	},
	{
		name: "zero bias of a made-up name", body: `(float[N,1,4] x) => (y) <float[2,1,2] "onnx::Conv_7" = {1,2,3,4}, float[2] "onnx::Conv_8" = {0,0}> { ["/m/c/Conv"] y = Conv (x, "onnx::Conv_7", "onnx::Conv_8") }`,
		want: []string{"m.c conv m.c.weight m.c.bias - float[N,1,4] float[N,2,3]"},
	},
	{
		name: "tied weights", body: `(int64[N,4] x) => (float[N,4,3] y) <float[3,2] "wte.weight" = {1,2,3,4,5,6}>
		{ e = Gather ("wte.weight", x)  t = Transpose <perm: ints = [1, 0]> ("wte.weight")  ["/head/MatMul"] y = MatMul (e, t) }`,
		want: []string{"wte embedding wte.weight - - int64[N,4] float[N,4,2]", "head linear wte.weight - oi float[N,4,2] float[N,4,3]"},
	},
	{
		name: "positions are no embedding", body: `(float[N,2,2] x) => (float[N,2,2] y) <float[3,2] "wpe.weight" = {1,2,3,4,5,6}, int64[2] p = {0, 2}>
		{ e = Gather ("wpe.weight", p)  y = Add (x, e) }`,
		want: []string{"param wpe.weight"},
	},
	{
		name: "positions counted from a shape", body: `(float[N,L,2] x) => (float[N,L,2] y) <float[3,2] "wpe.weight" = {1,2,3,4,5,6}, int64 zero = {0}, int64 one = {1}>
		{ s = Shape (x)  l = Gather (s, one)  p = Range (zero, l, one)  e = Gather ("wpe.weight", p)  y = Add (x, e) }`,
		want: []string{"param wpe.weight"},
	},
	{
		name: "between reshapes that regroup", body: `(float[N,4,2] x) => (y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[3] "fc.bias" = {1,2,3}, int64[2] i = {-1, 2}, int64[3] o = {-1, 2, 3}>
		{ a = Reshape (x, i)  m = Gemm (a, "fc.weight", "fc.bias")  y = Reshape (m, o) }`,
		want: []string{"fc linear fc.weight fc.bias io float[4*N,2] float[4*N,3]"},
	},
	{
		name: "names of TensorFlow", body: `(float[N,2] x) => (float[N,3] y) <float[2,3] "model/dense/kernel:0" = {1,2,3,4,5,6}, float[3] "model/dense/bias:0" = {1,2,3}>
		{ m = MatMul (x, "model/dense/kernel:0")  y = Add (m, "model/dense/bias:0") }`,
		want: []string{"model/dense linear model/dense/kernel:0 model/dense/bias:0 io float[N,2] float[N,3]"},
	},
	{
		name: "product of parameters is no layer", body: `(float[N,2] x) => (float[N,3] y) <float[2,2] "a.weight" = {1,2,3,4}, float[2,3] "b.weight" = {1,2,3,4,5,6}>
		{ w = MatMul ("a.weight", "b.weight")  y = MatMul (x, w) }`,
		want: []string{"param a.weight", "param b.weight"},
	},
	{
		name: "conv", body: `(float[N,1,4,4] x) => (y) <float[2,1,3,3] "c.weight" = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}, float[2] "c.bias" = {1,2}>
		{ y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2, 2]> (x, "c.weight", "c.bias") }`,
		want: []string{"c conv c.weight c.bias - float[N,1,4,4] float[N,2,2,2]"},
	},
	{
		name: "conv 1d, dilated, groups, bias added", body: `(float[N,2,6] x) => (y) <float[2,1,2] "c.weight" = {1,2,3,4}, float[1,2,1] "c.bias" = {1,2}>
		{ z = Conv <auto_pad: string = "SAME_LOWER", dilations: ints = [2], group: int = 2> (x, "c.weight")  y = Add (z, "c.bias") }`,
		want: []string{"c conv c.weight - - float[N,2,6] float[N,2,6]", "c_2 bias c.bias - - float[N,2,6] float[N,2,6]"},
	},
	{
		name: "conv valid", body: `(float[N,1,4] x) => (y) <float[2,1,2] "c.weight" = {1,2,3,4}> { y = Conv <auto_pad: string = "VALID"> (x, "c.weight") }`,
		want: []string{"c conv c.weight - - float[N,1,4] float[N,2,3]"},
	},
	{
		name: "transposed conv", body: `(float[N,1,3] x) => (y) <float[1,2,2] "c.weight" = {1,2,3,4}, float[2] "c.bias" = {1,2}>
		{ y = ConvTranspose <strides: ints = [2]> (x, "c.weight", "c.bias") }`,
		want: []string{"c convT c.weight c.bias - float[N,1,3] float[N,2,6]"},
	},
	{
		name: "transposed conv, output shape", body: `(float[N,1,3] x) => (y) <float[1,2,3] "c.weight" = {1,2,3,4,5,6}>
		{ y = ConvTranspose <strides: ints = [2], output_shape: ints = [6]> (x, "c.weight") }`,
		want: []string{"c convT c.weight - - float[N,1,3] float[N,2,6]"},
	},
	{
		name: "layer norm without shift", body: `(float[N,2,3] x) => (y) <float[3] "n.weight" = {1,2,3}> { y = LayerNormalization (x, "n.weight") }`,
		want: []string{"n layernorm n.weight - - float[N,2,3] float[N,2,3]"},
	},
	{
		name: "instance norm", body: `(float[N,2,3] x) => (y) <float[2] "n.weight" = {1,2}, float[2] "n.bias" = {1,2}> { y = InstanceNormalization (x, "n.weight", "n.bias") }`,
		want: []string{"n groupnorm n.weight n.bias - float[N,2,3] float[N,2,3]"},
	},
	{
		name: "bare scale and shift", body: `(float[N,2] x) => (y) <float[2] gamma = {1,2}, float[2] "ls.beta" = {1,2}> { a = Mul (gamma, x)  y = Add (a, "ls.beta") }`,
		want: []string{"gamma scale gamma - - float[N,2] float[N,2]", "ls bias ls.beta - - float[N,2] float[N,2]"},
	},
	{
		name: "constants", body: `(float[N,2,2] x) => (y) <float half = {0.5}, float[1] "bn.bias" = {3}, float[2] "norm.mean" = {1,2}, float[2,2] penalty = {0,-1e9,0,0}, float[2,2] tril = {1,0,1,1}, float two = {2}>
		{ k = Constant <value: tensor = float[2] {5, 6}> ()  a = Mul (x, half)  b = Add (a, "bn.bias")  c = Sub (b, "norm.mean")
		  d = Mul (c, tril)  e = Mul (d, k)  f = Add (e, penalty)  y = Pow (f, two) }`,
		want: []string{"bn bias bn.bias - - float[N,2,2] float[N,2,2]"},
	},
	{
		name: "no path to the output", body: `(float[N,2] x) => (float[N,2] y, int64[N] k) <float[2] "a.bias" = {1,2}, float[2] "b.bias" = {1,2}>
		{ a = Add (x, "a.bias")  k = ArgMax <axis: int = 1, keepdims: int = 0> (a)  y = Add (x, "b.bias") }`,
		want: []string{"b bias b.bias - - float[N,2] float[N,2]"},
	},
	{
		name: "used in a branch", body: `(float[N,2] x, bool c) => (y) <float[2,2] "a.weight" = {1,2,3,4}>
		{ y = If (c) <then_branch: graph = t () => (float[N,2] p) { p = MatMul (x, "a.weight") }, else_branch: graph = e () => (float[N,2] q) { q = Relu (x) }> }`,
		want: []string{"param a.weight"},
	},
	{
		name: "frozen statistics", o: pass.Options{BN: "frozen"}, body: `(float[N,2] x) => (y) <float[2] "n.weight" = {1,2}, float[2] "n.bias" = {1,2}, float[2] "n.running_mean" = {1,2}, float[2] "n.running_var" = {1,2}>
		{ y = BatchNormalization (x, "n.weight", "n.bias", "n.running_mean", "n.running_var") }`,
		want: []string{"n batchnorm n.weight n.bias - float[N,2] float[N,2]", "buffer n.running_mean", "buffer n.running_var"},
	},
}

func TestLayers(t *testing.T) {
	for _, c := range layerCases {
		t.Run(c.name, func(t *testing.T) {
			m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17]>`+"\ng "+c.body)
			got, _ := passtest.Apply(t, m, c.o, normalize.Pass, layers.Pass)
			lines := describe(got)
			if strings.Join(lines, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n  %s\nwant\n  %s\n%s", strings.Join(lines, "\n  "), strings.Join(c.want, "\n  "), graph.Print(got))
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 2, "L": 3})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-5)
		})
	}
}

// TestAttributes: everything that a consumer of a Layer tag needs is said.
func TestAttributes(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{
			`(float[N,1,4,4] x) => (y) <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}> { y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2, 2]> (x, w) }`,
			`<dilations: ints = [1, 1], group: int = 1, kernel_shape: ints = [3, 3], kind: string = "conv", name: string = "w", pads: ints = [0, 0, 1, 1], strides: ints = [2, 2]>`,
		},
		{
			`(float[N,1,6] x) => (y) <float[1,1,2] w = {1,2}> { y = Conv <auto_pad: string = "SAME_LOWER", dilations: ints = [3]> (x, w) }`,
			`<dilations: ints = [3], group: int = 1, kernel_shape: ints = [2], kind: string = "conv", name: string = "w", pads: ints = [2, 1], strides: ints = [1]>`,
		},
		{
			`(float[N,1,H] x) => (y) <float[1,1,3] w = {1,2,3}> { y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2]> (x, w) }`,
			`uncovered: string = "padding by auto_pad with strides depends on a size that is not known"`,
		},
		{
			`(float[N,1,3] x) => (y) <float[1,1,3] w = {1,2,3}> { y = ConvTranspose <strides: ints = [2], output_shape: ints = [6]> (x, w) }`,
			`kind: string = "convT", name: string = "w", output_padding: ints = [0], pads: ints = [1, 0], strides: ints = [2]>`,
		},
		{`(float[N,2,3] x) => (y) <float[3] w = {1,2,3}> { y = LayerNormalization (x, w) }`, `<axis: int = -1, epsilon: float = 1e-05, kind: string = "layernorm", name: string = "w">`},
		{
			`(float[N,2] x) => (y) <float[2] w = {1,2}, float[2] b = {1,2}, float[2] m = {1,2}, float[2] v = {1,2}> { y = BatchNormalization <epsilon: float = 0.5> (x, w, b, m, v) }`,
			`<epsilon: float = 0.5, kind: string = "batchnorm", name: string = "w"> ("y/untagged", x, "w/param", "b/param")`,
		},
	} {
		m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17]>`+"\ng "+c.body)
		got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass, layers.Pass)
		if text := graph.Print(got); !strings.Contains(text, c.want) {
			t.Errorf("no %s in\n%s", c.want, text)
		}
	}
}

// TestNextStatistics: buffers get next values; a module that is applied twice passes its statistics through both.
func TestNextStatistics(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17]>
g (float[N,2] x) => (y)
<float[2] "n.weight" = {1,2}, float[2] "n.bias" = {1,2}, float[2] "n.running_mean" = {1,2}, float[2] "n.running_var" = {3,4}>
{
   a = BatchNormalization <momentum: float = 0.5> (x, "n.weight", "n.bias", "n.running_mean", "n.running_var")
   y = BatchNormalization <momentum: float = 0.5> (a, "n.weight", "n.bias", "n.running_mean", "n.running_var")
}`)
	got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass, layers.Pass)
	var names []string
	for _, v := range got.Graph.Outputs() {
		names = append(names, v.Name)
	}
	if strings.Join(names, " ") != "y n.running_mean/next n.running_var/next" {
		t.Errorf("outputs %q", names)
	}
	feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 3})
	out := passtest.Eval(t, got, feeds)
	x := passtest.Floats(feeds["x"])
	mean := (x[0] + x[2] + x[4]) / 3
	// The second application sees normalised data of mean 1, the bias.
	want := 0.5*(0.5*1+0.5*mean) + 0.5*1
	if next := passtest.Floats(out["n.running_mean/next"]); math.Abs(next[0]-want) > 1e-5 {
		t.Errorf("next running mean %g, want %g", next[0], want)
	}
}

// TestReasons: constants that might be taken for parameters, and recurrent cells, are named.
func TestReasons(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17]>
g (float[5,N,2] x) => (y)
<float[2] "norm.mean" = {1,2}, float[1,4,2] w = {1,2,3,4,5,6,7,8}, float[1,4,1] r = {1,2,3,4}>
{
   a = Sub (x, "norm.mean")
   y = LSTM <hidden_size: int = 1> (a, w, r)
}`)
	got, c := passtest.Apply(t, m, pass.Options{}, normalize.Pass, layers.Pass)
	notes := strings.Join(c.Report.Notes, "\n")
	for _, want := range []string{"norm.mean (float[2]) is kept constant: its name is that of a buffer", "recurrent cell"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
	if lines := describe(got); strings.Join(lines, ";") != "param w;param r" {
		t.Errorf("got %q", lines)
	}
}
