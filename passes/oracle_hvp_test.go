package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// kinds are networks of all kinds of layers, in float64, that the reference networks leave out.
var kinds = []struct {
	name, body string
	shapes     map[string][]int
	x          []int
	tokens     int
}{
	{
		"attention", `(double[N,3,4] x) => (double[N,5] y) PARAMS {
			q = MatMul (x, "q.weight")  k = MatMul (x, "k.weight")  v = MatMul (x, "v.weight")
			kt = Transpose <perm: ints = [0,2,1]> (k)  s = MatMul (q, kt)  p = Softmax <axis: int = -1> (s)  o = MatMul (p, v)
			r = Add (o, x)  n = LayerNormalization (r, "ln.weight", "ln.bias")  g = Erf (n)  m = ReduceMean <axes: ints = [1], keepdims: int = 0> (g)
			y = Gemm <transB: int = 1> (m, "head.weight", "head.bias") }`,
		map[string][]int{"q.weight": {4, 4}, "k.weight": {4, 4}, "v.weight": {4, 4}, "ln.weight": {4}, "ln.bias": {4}, "head.weight": {5, 4}, "head.bias": {5}},
		[]int{3, 4},
		0,
	},
	{
		"lstm", `(int64[N,3] x) => (double[N,4] y) PARAMS {
			e = Gather ("emb.weight", x)  t = Transpose <perm: ints = [1,0,2]> (e)
			o, h = LSTM <hidden_size: int = 3> (t, "lstm.W", "lstm.R", "lstm.B")  s = Squeeze (h)  y = Gemm <transB: int = 1> (s, "head.weight", "head.bias") }`,
		map[string][]int{"emb.weight": {6, 2}, "lstm.W": {1, 12, 2}, "lstm.R": {1, 12, 3}, "lstm.B": {1, 24}, "head.weight": {4, 3}, "head.bias": {4}},
		[]int{3},
		6,
	},
	{
		"batchnorm", `(double[N,2,5,5] x) => (double[N,3] y) PARAMS {
			c = Conv <kernel_shape: ints = [3,3], pads: ints = [1,1,1,1]> (x, "c.weight", "c.bias")
			b, rm, rv = BatchNormalization <training_mode: int = 1> (c, "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
			a = Softplus (b)  d = Conv <kernel_shape: ints = [2,2], group: int = 2, strides: ints = [2,2]> (a, "d.weight")  p = GlobalAveragePool (d)
			f = Flatten (p)  y = Gemm (f, "head.weight", "head.bias") }`,
		map[string][]int{"c.weight": {4, 2, 3, 3}, "c.bias": {4}, "bn.weight": {4}, "bn.bias": {4}, "bn.running_mean": {4}, "bn.running_var": {4}, "d.weight": {6, 2, 2, 2}, "head.weight": {6, 3}, "head.bias": {3}},
		[]int{2, 5, 5},
		0,
	},
}

// layerBatch draws parameters and a batch for a network of kinds.
func layerBatch(rng *rand.Rand, shapes map[string][]int, x []int, tokens, classes int) (params, batch arrays) {
	params = arrays{}
	for _, name := range sortedKeys(shapes) {
		params[name] = normals(rng, shapes[name]...)
		for i := range params[name].v {
			params[name].v[i] *= 0.5
			if strings.HasSuffix(name, "running_var") {
				params[name].v[i] = 1 + 0.1*float64(i)
			}
		}
	}
	shape := append([]int{4}, x...)
	batch = arrays{"x": normals(rng, shape...), "target": labels(rng, classes, 4)}
	if tokens > 0 {
		batch["x"] = labels(rng, tokens, shape...)
	}
	return params, batch
}

// TestProductsOfLayers: Hv of every kind of layer is the difference of the gradients that a step graph gives at shifted
// parameters; buffers move once, whichever way Hv is computed.
func TestProductsOfLayers(t *testing.T) {
	for _, k := range kinds {
		for hvp, tol := range map[string]float64{"tangent": 1e-7, "difference": 1e-6} {
			rng := rand.New(rand.NewPCG(7, 31))
			params, batch := layerBatch(rng, k.shapes, k.x, k.tokens, 3)
			text := source(k.body, params)
			s := instrument(t, text, record(t, "sfn", newest...), pass.Options{Noise: "input", HVP: hvp})
			plain := instrument(t, text, record(t, "sgd"), pass.Options{OutputGrad: true})
			trained := outputsOf(plain.step(batch.with("lr", number(0))), "grad/", "")
			v := probes(rng, "rademacher", trained)
			out := s.step(fed(batch.with("lr", number(0)), v))
			const h = 1e-5
			var sides [2]arrays
			for i, sign := range []float64{1, -1} {
				for name := range trained {
					p := params[name].clone()
					for j := range p.v {
						p.v[j] += sign * h * v[name].v[j]
					}
					must(plain.session.SetState(name, p.tensor(graph.Float64)))
				}
				sides[i] = outputsOf(plain.step(batch.with("lr", number(0))), "grad/", "")
			}
			largest := 0.0
			want := arrays{}
			for name, g := range trained {
				want[name] = newArray(g.shape...)
				for j := range g.v {
					want[name].v[j] = v[name].v[j] * (sides[0][name].v[j] - sides[1][name].v[j]) / (2 * h)
					largest = math.Max(largest, math.Abs(want[name].v[j]))
				}
			}
			for name, w := range want { // beside the largest entry: some gradients vanish, such as that of a bias before a normalisation
				near(t, fmt.Sprint(k.name, " ", hvp, " ", name), append(out["asdl/"+name+"/D/next"].v, largest), append(w.v, largest), tol)
			}
			for name := range k.shapes {
				if strings.Contains(name, "running") {
					plain = instrument(t, text, record(t, "sgd"), pass.Options{})
					near(t, k.name+" "+name, out[name+"/next"].v, plain.step(batch)[name+"/next"].v, 1e-12)
				}
			}
		}
	}
}

// TestLazyProducts: on steps without an estimate nothing of the products is computed: all of it is in the If of its clock.
func TestLazyProducts(t *testing.T) {
	n := convNet()
	for _, hvp := range []string{"tangent", "difference"} {
		for _, name := range []string{"esgd", "sophia-g"} {
			rng := rand.New(rand.NewPCG(8, 31))
			text := source(n.body, n.params(rng))
			lazy := compile(t, text, record(t, name, "accumulate.every=10"), pass.Options{HVP: hvp}).Step
			plain := compile(t, text, record(t, "adam"), pass.Options{}).Step
			count := func(m *graph.Model, op string) (top int) {
				for n := range m.Graph.Nodes() {
					if n.Op == op {
						top++
					}
				}
				return top
			}
			for _, op := range []string{"Conv", "ConvTranspose", "MatMul", "Gemm", "Tanh"} {
				if l, p := count(lazy, op), count(plain, op); l != p {
					t.Errorf("%s, %s: %d %s outside of the If, of a first-order method %d", name, hvp, l, op, p)
				}
			}
			if count(lazy, "If") != 1 {
				t.Errorf("%s, %s: %d If", name, hvp, count(lazy, "If"))
			}
		}
	}
}

// TestLazySecant: on steps without a pair the model is evaluated once.
func TestLazySecant(t *testing.T) {
	n := convNet()
	rng := rand.New(rand.NewPCG(9, 31))
	m := compile(t, source(n.body, n.params(rng)), record(t, "k-bfgs", "every=10"), pass.Options{}).Step
	top, all := 0, 0
	for n := range m.Graph.Nodes() {
		if n.Op == "Tanh" {
			top++
		}
	}
	for n := range m.Graph.All() {
		if n.Op == "Tanh" {
			all++
		}
	}
	if top != 1 || all != 2 {
		t.Errorf("%d evaluations of the model, %d on every step; want 2 and 1", all, top)
	}
}

// TestNoGradient: parameters that the loss does not see, and a loss that is flat, make no step and nothing that is not finite.
func TestNoGradient(t *testing.T) {
	body := `(double[N,3] x) => (double[N,2] y) PARAMS { h = Gemm <transB: int = 1> (x, "a.weight", "a.bias")  r = Relu (h)
		y = Gemm <transB: int = 1> (r, "b.weight", "b.bias") }`
	for _, name := range []string{"adahessian", "sfn", "esgd", "sophia-g", "psgd-kf", "k-bfgs"} {
		rng := rand.New(rand.NewPCG(10, 31))
		params := arrays{"a.weight": normals(rng, 4, 3), "a.bias": newArray(4), "b.weight": normals(rng, 2, 4), "b.bias": normals(rng, 2)}
		for i := range params["a.bias"].v {
			params["a.bias"].v[i] = -100 - float64(i) // no unit of the first layer is ever on
		}
		s := instrument(t, single(source(body, params)), record(t, name, "update.weight_decay=0"), pass.Options{OutputPrecond: true})
		for k := range 30 {
			out := s.step(arrays{"x": normals(rng, 1, 3), "target": labels(rng, 2, 1)})
			if !finiteArrays(out) {
				t.Fatalf("%s, step %d: not finite", name, k)
			}
			for _, v := range out["precond/a.weight"].v {
				if v != 0 {
					t.Fatalf("%s, step %d: a step of %g along a gradient of zero", name, k, v)
				}
			}
		}
	}
}
