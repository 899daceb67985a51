package normalize_test

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// activationForms are activations in the primitives of exporters; fused is the operator that takes their place, "" for none.
var activationForms = []struct{ name, opset, body, fused string }{
	{"gelu of torch", "20", `d = Div (x, root2)  e = Erf (d)  a = Add (e, one)  m = Mul (x, a)  y = Mul (m, half)`, "Gelu"},
	{"gelu of dynamo", "20", `d = Div (x, root2)  e = Erf (d)  a = Add (e, one)  h = Mul (half, a)  y = Mul (x, h)`, "Gelu"},
	{"gelu, halves first", "20", `h = Mul (half, x)  d = Mul (x, iroot2)  e = Erf (d)  a = Add (one, e)  y = Mul (h, a)`, "Gelu"},
	{"gelu before opset 20", "17", `d = Div (x, root2)  e = Erf (d)  a = Add (e, one)  m = Mul (x, a)  y = Mul (m, half)`, ""},
	{"gelu of another number", "20", `d = Div (x, three)  e = Erf (d)  a = Add (e, one)  m = Mul (x, a)  y = Mul (m, half)`, ""},
	{"gelu of two values", "20", `o = Relu (x)  d = Div (o, root2)  e = Erf (d)  a = Add (e, one)  m = Mul (x, a)  y = Mul (m, half)`, ""},
	{"tanh gelu of torch", "20", `p = Pow (x, three)  q = Mul (p, k)  r = Add (x, q)  s = Mul (r, c)  t = Tanh (s)  a = Add (t, one)  m = Mul (half, x)  y = Mul (m, a)`, "Gelu"},
	{"tanh gelu with products", "20", `p = Mul (x, x)  p3 = Mul (p, x)  q = Mul (k, p3)  r = Add (x, q)  s = Mul (c, r)  t = Tanh (s)  a = Add (one, t)  m = Mul (x, a)  y = Mul (m, half)`, "Gelu"},
	{"hardswish by hardsigmoid", "17", `h = HardSigmoid <alpha: float = 0.16666667> (x)  y = Mul (x, h)`, "HardSwish"},
	{"hardsigmoid of another slope", "17", `h = HardSigmoid (x)  y = Mul (x, h)`, ""},
	{"hardswish by clip", "17", `a = Add (x, three)  b = Clip (a, zero, six)  m = Mul (x, b)  y = Div (m, six)`, "HardSwish"},
	{"hardswish, divided first", "17", `a = Add (three, x)  b = Clip (a, zero, six)  m = Div (b, six)  y = Mul (m, x)`, "HardSwish"},
	{"logarithm of softmax", "17", `s = Softmax <axis: int = -1> (x)  y = Log (s)`, "LogSoftmax"},
	{"logarithm of softmax over another axis", "17", `s = Softmax <axis: int = 0> (x)  y = Log (s)`, "LogSoftmax"},
}

func TestActivations(t *testing.T) {
	for _, f := range activationForms {
		t.Run(f.name, func(t *testing.T) {
			m := passtest.Parse(t, head(f.opset)+`g (float[N,3] x) => (float[N,3] y)
				<float root2 = {1.4142135}, float iroot2 = {0.70710677}, float one = {1}, float half = {0.5}, float three = {3}, float zero = {0},
				 float six = {6}, float k = {0.044715}, float c = {0.7978846}> { `+f.body+` }`)
			got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
			if text := graph.Print(got); f.fused != "" && (got.Graph.Len() != 1 || !got.Graph.First().Is("", f.fused)) ||
				f.fused == "" && (strings.Contains(text, "Gelu") || strings.Contains(text, "HardSwish")) {
				t.Errorf("want %q in place of it:\n%s", f.fused, text)
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 5})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 2e-6)
		})
	}
}
