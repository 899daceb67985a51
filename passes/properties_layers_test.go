package passes_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
)

// TestLargeDamping (X4): as the damping grows, the direction approaches the gradient divided by it, or a multiple of the
// gradient of each tensor where the damping is of factors.
func TestLargeDamping(t *testing.T) {
	for name, c := range claims(t, dampings) {
		if c.not != "" {
			continue
		}
		rng := rand.New(rand.NewPCG(3, 21))
		n := mlpNet()
		params, feeds := n.params(rng), n.batch(rng, 5).with("lr", number(0)).with("fallback_lr", number(0))
		rec := still(t, name, append([]string{"damping=1e12"}, c.set...)...)
		s := instrument(t, source(n.body, params), rec, all)
		feeds = s.noisy(rng, rec, feeds)
		var out arrays
		for range 3 { // of the same batch, so that averages of gradients are the gradient
			out = s.step(feeds)
		}
		dirs, want := s.own(out), arrays{}
		for p, d := range dirs {
			g := out["grad/"+p]
			factor := 1e-12
			if parallels[name] {
				factor = length(d.v) / length(g.v)
			}
			want[p] = arrays{p: g}.times(factor)[p]
		}
		c.judge(t, name, dirs, want, 1e-3)
	}
}

// parallels are the methods whose damping is of factors, or relative.
var parallels = map[string]bool{"shampoo": true, "tnt": true, "kl-tnt": true, "k-bfgs": true}

const undamped = "it has no damping"

var dampings = map[string]claim{
	"sgd": {not: undamped}, "adagrad": {}, "adam": {}, "kfac": {}, "shampoo": {set: []string{"apply.graft=none", "representation.vectors=grad", "fallback.other=grad"}}, "kfac-reduce": {}, "kflr": {}, "kfra": {},
	"ekfac": {}, "skfac": {}, "foof": {}, "eva": {}, "unit-ng": {}, "muon": {not: undamped}, "tnt": {}, "kl-tnt": {}, "soap": {}, "kl-shampoo": {},
	"splus": {not: undamped}, "psgd-kron": {not: "its damping is noise in what is fitted"}, "adahessian": {}, "sfn": {}, "esgd": {},
	"psgd-kf": {not: "its damping is part of what is fitted"}, "k-bfgs": {},
	"sophia-g": {not: "its damping bounds entries"}, "seng": {}, "tonga-unit": {},
}

// TestAffineInvariance (X6): inputs transformed by an invertible affine map, with the first layer's weights transformed
// back, give the same function after a step without damping (Martens & Grosse 2015, section 10).
func TestAffineInvariance(t *testing.T) {
	const batch = 40
	rng := rand.New(rand.NewPCG(10, 1))
	n := mlpNet()
	params, x := n.params(rng), n.inputs(rng, batch)
	m, shift := addEye(normals(rng, 3, 3).dense(), 2), normals(rng, 3)
	moved := newArray(x.shape...)
	for i := range batch {
		for r := range 3 {
			moved.v[3*i+r] = shift.v[r]
			for c := range 3 {
				moved.v[3*i+r] += m.At(r, c) * x.v[3*i+c]
			}
		}
	}
	var inv mat.Dense
	must(inv.Inverse(m))
	other := params.clone()
	w := product(params["fc1.weight"].dense(), &inv)
	other["fc1.weight"] = array{[]int{4, 3}, flat(w)}
	for r := range 4 {
		for c := range 3 {
			other["fc1.bias"].v[r] -= w.At(r, c) * shift.v[c]
		}
	}
	target := normals(rng, batch, 3) // squared error: the output factor has full rank
	for name, c := range claims(t, affine) {
		if c.not != "" {
			continue
		}
		rec := still(t, name, append([]string{"damping=1e-18", "solve.every=1"}, c.set...)...)
		change := func(ps arrays, in array) array {
			s := instrument(t, source(n.body, ps), rec, pass.Options{Noise: "input", Loss: pass.LossOptions{Row: "mse"}})
			feeds := s.noisy(rand.New(rand.NewPCG(10, 2)), rec, arrays{"x": in, "target": target, "lr": number(1e-5)})
			var out arrays
			for range 1 + b2i(rec.Solve.Lag) {
				out = s.step(feeds)
			}
			before, after := n.logits(ps, in), n.logits(outputsOf(out, "", "/next"), in)
			d := newArray(batch, 3)
			for i := range d.v {
				d.v[i] = after[i/3][i%3] - before[i/3][i%3]
			}
			return d
		}
		c.judge(t, name, arrays{"change": change(other, moved)}, arrays{"change": change(params, x)}, 5e-4)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

const inputsOnly = "it does not see inputs by themselves"

var affine = map[string]claim{
	"sgd": {fail: inputsOnly}, "adagrad": {fail: byElement}, "adam": {fail: byElement},
	"kfac": {set: []string{"curvature.source=exact"}}, "shampoo": {set: []string{"apply.graft=none"}, fail: inputsOnly}, "kfac-reduce": {set: []string{"curvature.source=exact"}}, "kflr": {}, "kfra": {},
	"ekfac": {fail: "its diagonal is in a basis that turns with the inputs"}, "skfac": {set: []string{"curvature.source=emp"}}, "foof": {},
	"eva": {set: []string{"damping=1e-3"}, fail: "its matrix has rank one"}, "unit-ng": {set: []string{"curvature.source=emp"}},
	"muon": {fail: inputsOnly}, "tnt": {set: []string{"damping=1e-3"}, fail: inputsOnly}, "kl-tnt": {set: []string{"damping=1e-3"}, fail: inputsOnly}, "soap": {fail: byElement}, "kl-shampoo": {fail: inputsOnly}, "splus": {fail: byElement},
	"psgd-kron": {fail: inputsOnly}, "adahessian": {set: []string{"damping=1e-3"}, fail: byElement}, "sfn": {set: []string{"damping=1e-3"}, fail: byElement}, "esgd": {set: []string{"damping=1e-3"}, fail: byElement},
	"psgd-kf": {fail: "one step from the identity"}, "k-bfgs": {}, "sophia-g": {fail: byElement},
	"seng": {not: "the products of more examples than a layer has parameters cannot be inverted without damping"}, "tonga-unit": {set: []string{"damping=1e-3"}, fail: "its matrix has low rank"},
}

// TestEmbeddingIsLinear (X12): an embedding is a linear layer on one-hot inputs.
func TestEmbeddingIsLinear(t *testing.T) {
	params := func(rng *rand.Rand) arrays {
		return arrays{"e.weight": normals(rng, 5, 3), "fc.weight": normals(rng, 3, 3), "fc.bias": normals(rng, 3)}
	}
	const head = ` a = Tanh (e)  y = Gemm <transB: int = 1> (a, "fc.weight", "fc.bias") }`
	for name, c := range claims(t, embeddings) {
		if c.not != "" {
			continue
		}
		rng := rand.New(rand.NewPCG(9, 1))
		ps, rec := params(rng), still(t, name, c.set...)
		o := pass.Options{OutputPrecond: true, Noise: "input"}
		linear := instrument(t, source(`(double[N,5] x) => (double[N,3] y) PARAMS { e = MatMul (x, "e.weight") `+head, ps), rec, o)
		gather := instrument(t, source(`(int64[N] x) => (double[N,3] y) PARAMS { e = Gather <axis: int = 0> ("e.weight", x) `+head, ps), rec, o)
		for k := range 3 {
			ids := labels(rng, 4, 6) // one token never occurs
			hot := newArray(6, 5)
			for i, id := range ids.v {
				hot.v[5*i+int(id)] = 1
			}
			feeds := linear.noisy(rng, rec, arrays{"x": hot, "target": labels(rng, 3, 6)})
			want := linear.own(linear.step(feeds))
			feeds["x"] = ids
			got := gather.step(feeds)
			c.judge(t, fmt.Sprintf("%s, step %d", name, k), outputsOf(got, "precond/", ""), want, 1e-8)
		}
	}
}

const tableFallsBack = "embeddings get the fall-back"

var embeddings = map[string]claim{
	"sgd": {}, "adagrad": {}, "adam": {}, "kfac": {}, "shampoo": {}, "kfac-reduce": {}, "kflr": {}, "kfra": {not: "chains of linear layers alone"}, "ekfac": {not: tableFallsBack}, "skfac": {not: tableFallsBack},
	"foof": {}, "eva": {not: tableFallsBack}, "unit-ng": {not: tableFallsBack}, "muon": {not: tableFallsBack}, "tnt": {}, "kl-tnt": {}, "soap": {}, "kl-shampoo": {},
	"splus": {not: "the rows of an embedding are given signs"}, "psgd-kron": {}, "adahessian": {}, "sfn": {}, "esgd": {},
	"psgd-kf": {not: "the factor of the tokens is diagonal"}, "k-bfgs": {not: tableFallsBack}, "sophia-g": {}, "seng": {not: tableFallsBack}, "tonga-unit": {not: tableFallsBack},
}

// TestConvolutionOfOne (X11): a convolution whose kernel covers the image is a linear layer on the patch.
func TestConvolutionOfOne(t *testing.T) {
	const head = ` a = Tanh (f)  y = Gemm <transB: int = 1> (a, "head.weight") }`
	for _, image := range [][]int{{1, 1}, {2, 2}} {
		size := image[0] * image[1]
		for name, c := range claims(t, convolutions) {
			if c.not != "" && size > 1 {
				continue
			}
			rng := rand.New(rand.NewPCG(3, 51))
			in := 2 * size
			w := arrays{"l.weight": normals(rng, 4, in), "l.bias": normals(rng, 4), "head.weight": normals(rng, 3, 4)}
			linear := source(fmt.Sprintf(`(double[N,%d] x) => (double[N,3] y) PARAMS { f = Gemm <transB: int = 1> (x, "l.weight", "l.bias") `, in)+head, w)
			w["l.weight"] = array{append([]int{4, 2}, image...), w["l.weight"].v}
			conv := source(fmt.Sprintf(`(double[N,2,%d,%d] x) => (double[N,3] y) PARAMS { z = Conv (x, "l.weight", "l.bias")  f = Flatten <axis: int = 1> (z) `, image[0], image[1])+head, w)
			rec := still(t, name, c.set...)
			o := pass.Options{OutputPrecond: true, Noise: "input"}
			one, two := instrument(t, linear, rec, o), instrument(t, conv, rec, o)
			for k := range 3 {
				feeds := one.noisy(rng, rec, arrays{"x": normals(rng, 5, in), "target": labels(rng, 3, 5)})
				want := one.own(one.step(feeds))
				feeds["x"] = array{append([]int{5, 2}, image...), feeds["x"].v}
				const probe = "asdl/noise/probe/l.weight"
				if p, ok := two.ports[probe]; ok {
					feeds[probe] = array{portShape(p), feeds[probe].v}
				}
				c.judge(t, fmt.Sprintf("%s, %v, step %d", name, image, k), outputsOf(two.step(feeds), "precond/", ""), want, 1e-8)
			}
		}
	}
}

var convolutions = map[string]claim{
	"sgd": {}, "adagrad": {}, "adam": {}, "kfac": {}, "shampoo": {}, "kfac-reduce": {}, "kflr": {}, "kfra": {fail: "convolutions get the fall-back"}, "ekfac": {}, "skfac": {}, "foof": {}, "eva": {}, "unit-ng": {},
	"muon": {}, "tnt": {not: "the kernel's positions have a factor of their own"}, "kl-tnt": {not: "the kernel's positions have a factor of their own"}, "soap": {}, "kl-shampoo": {}, "splus": {},
	"psgd-kron": {}, "adahessian": {not: "the estimate is averaged over the kernel"}, "sfn": {}, "esgd": {}, "psgd-kf": {}, "k-bfgs": {}, "sophia-g": {}, "seng": {}, "tonga-unit": {},
}

// portShape is the static shape of a port.
func portShape(p runtime.Port) []int {
	var shape []int
	for _, d := range p.Type.Dims {
		n, _ := d.Size()
		shape = append(shape, int(n))
	}
	return shape
}
