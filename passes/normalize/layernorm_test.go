package normalize_test

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// layerNormForms are the primitives of a layer normalisation over the last axis of x, in the ways of exporters.
var layerNormForms = []struct {
	name, body string
	fused      bool
}{
	{"torch", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Pow (c, two)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, true},
	{"other operand orders", `m = ReduceMean <axes: ints = [2]> (x)  c = Sub (x, m)  p = Mul (c, c)  v = ReduceMean <axes: ints = [2]> (p)
		e = Add (eps, v)  s = Sqrt (e)  n = Div (c, s)  a = Mul (gamma, n)  y = Add (beta, a)`, true},
	{"difference twice, reciprocal", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  d = Sub (x, m)  p = Pow (d, two)
		v = ReduceMean <axes: ints = [-1]> (p)  e = Add (v, eps)  s = Sqrt (e)  r = Reciprocal (s)  n = Mul (r, c)  a = Mul (n, gamma)  y = Add (a, beta)`, true},
	{"inverse square root by Pow", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Pow (c, two)
		v = ReduceMean <axes: ints = [-1]> (p)  e = Add (v, eps)  r = Pow (e, half)  n = Mul (c, r)  a = Mul (n, gamma)  y = Add (a, beta)`, true},
	{"expanded, as Keras has it", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Mul (c, c)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  i = Reciprocal (s)  r = Mul (i, gamma)  a = Mul (x, r)  k = Mul (m, r)  z = Sub (beta, k)  y = Add (a, z)`, true},
	{"expanded, with another mean", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Mul (c, c)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  i = Reciprocal (s)  r = Mul (i, gamma)  a = Mul (x, r)  o = Abs (m)  k = Mul (o, r)  z = Sub (beta, k)  y = Add (a, z)`, false},
	{"scale only", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Pow (c, two)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  y = Mul (n, gamma)`, true},
	{"neither", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Pow (c, two)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  y = Div (c, s)`, true},
	{"over two axes, scale left outside", `m = ReduceMean <axes: ints = [1, 2]> (x)  c = Sub (x, m)  p = Pow (c, two)
		v = ReduceMean <axes: ints = [2, 1]> (p)  e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, true},
	{"axis in the middle", `m = ReduceMean <axes: ints = [1]> (x)  c = Sub (x, m)  p = Pow (c, two)  v = ReduceMean <axes: ints = [1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, false},
	{"different axes", `m = ReduceMean <axes: ints = [1, 2]> (x)  c = Sub (x, m)  p = Pow (c, two)  v = ReduceMean <axes: ints = [2]> (p)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, false},
	{"mean of something else", `o = Relu (x)  m = ReduceMean <axes: ints = [-1]> (o)  c = Sub (x, m)  p = Pow (c, two)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, false},
	{"variance of another difference", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  o = Relu (x)  k = ReduceMean <axes: ints = [-1]> (o)  d = Sub (o, k)  p = Pow (d, two)
		v = ReduceMean <axes: ints = [-1]> (p)  e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, false},
	{"cube", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Pow (c, three)  q = Abs (p)  v = ReduceMean <axes: ints = [-1]> (q)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, false},
	{"variance of something else", `m = ReduceMean <axes: ints = [-1]> (x)  c = Sub (x, m)  p = Mul (c, x)  v = ReduceMean <axes: ints = [-1]> (p)
		e = Add (v, eps)  s = Sqrt (e)  n = Div (c, s)  a = Mul (n, gamma)  y = Add (a, beta)`, false},
}

func TestLayerNorm(t *testing.T) {
	for _, f := range layerNormForms {
		t.Run(f.name, func(t *testing.T) {
			m := passtest.Parse(t, head("13")+`g (float[N,2,3] x) => (float[N,2,3] y)
				<float two = {2}, float three = {3}, float half = {-0.5}, float eps = {1e-5}, float[3] gamma = {1, 2, 3}, float[3] beta = {0.5, 0, -1}>
				{ `+f.body+` }`)
			got, _ := passtest.Apply(t, m, pass.Options{}, normalize.Pass)
			text := graph.Print(got)
			if strings.Contains(text, "LayerNormalization") != f.fused {
				t.Errorf("fused = %t, want %t:\n%s", !f.fused, f.fused, text)
			}
			if f.fused && strings.Contains(text, "Sqrt") {
				t.Errorf("primitives are left:\n%s", text)
			}
			if f.name == "over two axes, scale left outside" && !strings.Contains(text, "Mul (") {
				t.Errorf("a scale of another shape is taken in:\n%s", text)
			}
			feeds := passtest.Feeds(t, m, 1, map[string]int64{"N": 2})
			passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-5)
		})
	}
}
