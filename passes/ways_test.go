package passes_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// wideNets have layers whose sides are longer than their rows are many, for a batch of 1.
var wideNets = []struct {
	name, body string
	params     map[string][]int
	x          []int
	layers     []string
}{
	{
		"linear", `(double[N,9] x) => (double[N,3] y) PARAMS {
			h = Gemm <transB: int = 1, alpha: float = 0.5> (x, "fc1.weight", "fc1.bias")  a = Tanh (h)
			g = MatMul (a, "fc2.weight")  c = Tanh (g)  y = Gemm <transB: int = 1> (c, "fc3.weight", "fc3.bias") }`,
		map[string][]int{"fc1.weight": {12, 9}, "fc1.bias": {12}, "fc2.weight": {12, 10}, "fc3.weight": {3, 10}, "fc3.bias": {3}},
		[]int{9},
		[]string{"fc1", "fc2"},
	},
	{
		"tied over positions", `(double[N,2,9] x) => (double[N,3] y) PARAMS {
			h = MatMul (x, "fc.weight")  hb = Add (h, "fc.bias")  a = Tanh (hb)  g = MatMul (a, "fc.weight")  gb = Add (g, "fc.bias")
			p = ReduceMean <axes: ints = [1], keepdims: int = 0> (gb)  y = Gemm <transB: int = 1> (p, "head.weight", "head.bias") }`,
		map[string][]int{"fc.weight": {9, 9}, "fc.bias": {9}, "head.weight": {3, 9}, "head.bias": {3}},
		[]int{2, 9},
		[]string{"fc"},
	},
	{
		"convolutions", `(double[N,8,2,3] x) => (double[N,3] y) PARAMS {
			h = Conv <kernel_shape: ints = [2,2], strides: ints = [1,2], pads: ints = [0,0,0,1]> (x, "c1.weight", "c1.bias")  a = Tanh (h)
			g = Conv <kernel_shape: ints = [1,1], group: int = 2> (a, "c2.weight", "c2.bias")
			p = ReduceMean <axes: ints = [2,3], keepdims: int = 0> (g)  y = Gemm <transB: int = 1> (p, "head.weight", "head.bias") }`,
		map[string][]int{"c1.weight": {12, 8, 2, 2}, "c1.bias": {12}, "c2.weight": {16, 6, 1, 1}, "c2.bias": {16}, "head.weight": {3, 16}, "head.bias": {3}},
		[]int{8, 2, 3},
		[]string{"c1", "c2"},
	},
}

// TestWaysAgree: preconditioning the gradient through its factors gives what preconditioning the gradient gives, to
// rounding, whatever else a method does, for the batch that the graph is meant for and for others.
func TestWaysAgree(t *testing.T) {
	for _, set := range [][]string{
		{"kfac", "curvature.source=emp"},
		{"kfac", "curvature.source=mc", "every=2"},
		{"kfac", "curvature.source=exact", "apply.kl_clip=0", "representation.bias=output"},
		{"kfac", "curvature.source=emp", "representation.bias=output", "apply.kl_clip=1e-4", "apply.scale=0.5"},
		{"kfac", "curvature.source=emp", "apply.graft=sgd", "apply.kl_clip=1e-4"},
		{"kfac", "curvature.source=emp", "curvature.sharing=reduce", "apply.scale=0.5", "update.weight_decay=0.1", "update.clip_norm=0.1"},
		{"foof"},
		{"foof", "apply.kl_clip=1e-4", "apply.scale=0.5", "every=2"},
		{"foof", "apply.graft=sgd"},
		{"ekfac", "solve.every=2", "apply.kl_clip=1e-4"},
		{"ekfac", "curvature.source=mc", "representation.moments=mean", "apply.scale=0.5", "apply.kl_clip=1e-4"},
		{"ekfac", "apply.kl_clip=1e-4", "apply.scale=0.5", "update.weight_decay=0.1"},
	} {
		for _, n := range wideNets {
			t.Run(n.name+"/"+strings.Join(set, ","), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(8, 8))
				params := arrays{}
				for name, shape := range n.params {
					params[name] = normals(rng, shape...)
				}
				text, rec := source(n.body, params), record(t, set[0], set[1:]...)
				o := pass.Options{Noise: "input", OutputPrecond: true}
				matrix := instrument(t, text, rec, o)
				o.Batch = 1
				rows := instrument(t, text, rec, o)
				for _, layer := range n.layers {
					if way := wayOf(t, rows.result, layer); !strings.Contains(way, "D S^-1") && !strings.Contains(way, "(X A^-1)") && !strings.Contains(way, "(X QA)") {
						t.Errorf("%s is applied as %s", layer, way)
					}
				}
				for k, size := range []int{1, 4, 1, 7} {
					feeds := arrays{
						"x": normals(rng, append([]int{size}, n.x...)...), "target": labels(rng, 3, size),
						"asdl/noise/labels": labels(rng, 3, 1, size),
					}
					nearAll(t, fmt.Sprintf("step %d", k), rows.step(feeds), matrix.step(feeds), 1e-10)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// wayOf is the way in which a layer is applied.
func wayOf(t *testing.T, r *passes.Result, layer string) string {
	t.Helper()
	for _, l := range r.Report.Layers {
		if l.Layer == layer && l.Cost != nil && len(l.Cost.Ways) > 0 {
			return l.Cost.Ways[0].Name
		}
	}
	t.Fatalf("layer %s has no way", layer)
	return ""
}

// TestWaysOfNets does the same for every network of the other tests, in whatever way is chosen.
func TestWaysOfNets(t *testing.T) {
	for _, n := range allNets() {
		rng := rand.New(rand.NewPCG(8, 9))
		text := source(n.body, n.params(rng))
		for _, rec := range []method.Record{
			record(t, "kfac", "curvature.source=emp", "apply.kl_clip=1e-4"), record(t, "ekfac", "solve.every=1"), record(t, "foof", "apply.kl_clip=1e-4"),
		} {
			o := pass.Options{OutputPrecond: true}
			matrix := instrument(t, text, rec, o)
			o.Batch = 1
			rows := instrument(t, text, rec, o)
			for range 3 {
				feeds := n.batch(rng, 4)
				nearAll(t, n.name+", "+rec.Name, rows.step(feeds), matrix.step(feeds), 1e-9)
			}
		}
	}
}

// TestOrderOfProducts: with a batch size, products come in another order; every method's numbers stay, for batches of any size.
func TestOrderOfProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 13))
	params := arrays{}
	for name, shape := range wideNets[0].params {
		params[name] = normals(rng, shape...)
	}
	text := source(wideNets[0].body, params)
	ordered := 0
	for _, name := range method.Names() {
		o := pass.Options{OutputPrecond: true}
		rec := record(t, name)
		if name == "k-bfgs" { // a mean of gradients is no product
			rec = record(t, name, "apply.beta=0")
		}
		before := instrument(t, text, rec, o)
		o.Batch = 1
		after := instrument(t, text, rec, o)
		if slices.Contains([]string{"shampoo", "psgd-kf", "k-bfgs"}, name) {
			ordered++
			if products(after.result) == products(before.result) {
				t.Errorf("%s: the order of the products is the same", name)
			}
		}
		for k, size := range []int{1, 4, 1} {
			feeds := arrays{"x": normals(rng, size, 9), "target": labels(rng, 3, size)}
			got, want := after.step(feeds), before.step(feeds)
			for name := range want {
				if _, ok := got[name]; !ok && strings.HasPrefix(name, "asdl/") {
					delete(want, name)
				}
			}
			nearAll(t, fmt.Sprintf("%s, step %d", name, k), got, want, 1e-6)
		}
	}
	if ordered != 3 {
		t.Errorf("%d methods of 3", ordered)
	}
}

// products lists the shapes of the matrix products of a step graph.
func products(r *passes.Result) string {
	var sb strings.Builder
	for n := range r.Step.Graph.All() {
		if n.Is("", "MatMul") || n.Is("", "Gemm") {
			sb.WriteString(n.Out(0).Type.String())
		}
	}
	return sb.String()
}

// TestRowsNeedNoGradient: where the direction comes from the rows, the gradient of the weight is not computed.
func TestRowsNeedNoGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 10))
	params := arrays{}
	for name, shape := range wideNets[0].params {
		params[name] = normals(rng, shape...)
	}
	text := source(wideNets[0].body, params)
	count := func(o pass.Options) int {
		r := compile(t, text, record(t, "kfac", "solve.every=1"), o)
		sum := 0
		for n := range r.Step.Graph.All() {
			if shape, ok := staticOf(n); ok && n.Domain == "" && (n.Op == "Gemm" || n.Op == "MatMul") && fmt.Sprint(shape) == "[12 9]" {
				sum++
			}
		}
		return sum
	}
	if got := count(pass.Options{Batch: 1}); got != 1 {
		t.Errorf("%d products give matrices of the shape of fc1.weight, want its direction alone", got)
	}
	if got := count(pass.Options{}); got != 3 {
		t.Errorf("%d products give matrices of the shape of fc1.weight, want its gradient, half of its direction, and that", got)
	}
}

func staticOf(n *graph.Node) ([]int64, bool) {
	if len(n.Outputs()) == 0 || n.Out(0) == nil {
		return nil, false
	}
	return n.Out(0).Type.Static()
}

// TestWaysByCost: few rows go through the rows, many through the matrix, and the graph is the same as without a batch size
// where that is so.
func TestWaysByCost(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 11))
	params := arrays{"w": normals(rng, 20, 30), "b": normals(rng, 20)}
	text := source(`(double[N,30] x) => (double[N,20] y) PARAMS { y = Gemm <transB: int = 1> (x, w, b) }`, params)
	rec, _ := method.Lookup("kfac")
	for batch, want := range map[int64]string{1: "(D S^-1)^T", 8: "(D S^-1)^T", 64: "S^-1 G", 1000: "S^-1 G"} {
		r := compile(t, text, rec, pass.Options{Batch: batch})
		layer := r.Report.Layers[0].Layer
		if way := wayOf(t, r, layer); !strings.HasPrefix(way, want) {
			t.Errorf("a batch of %d is applied as %s", batch, way)
		}
		cost := r.Report.Layers[0].Cost
		if cost.Ways[0].Flops > cost.Ways[1].Flops {
			t.Errorf("a batch of %d: %+v", batch, cost.Ways)
		}
	}
}

// TestDualsAgree: without moving averages, factors that are inverted through the Gram matrices of their rows give what the
// factors give, also where the rows are kept for some steps and then no room is left for those of a larger batch. Solved on
// every step, there is no state of curvature.
func TestDualsAgree(t *testing.T) {
	for _, set := range [][]string{
		{"curvature.source=emp"},
		{"curvature.source=emp", "solve.damping.kind=iso", "apply.scale=0.5", "curvature.scale=3", "apply.kl_clip=1e-4"},
		{"curvature.source=mc", "curvature.samples=2", "representation.bias=output", "apply.kl_clip=1e-4", "apply.scale=0.5"},
		{"curvature.source=exact", "curvature.sharing=reduce", "guards.finite=false"},
		{"curvature.source=mc", "preset=asdl"},
		{"curvature.source=emp", "every=2"},
		{"curvature.source=mc", "curvature.samples=2", "representation.bias=output", "apply.kl_clip=1e-4", "every=2", "apply.scale=0.5"},
		{"curvature.source=emp", "curvature.sharing=reduce", "every=2", "solve.damping.kind=iso", "solve.stagger=true"},
		{"curvature.source=mc", "preset=asdl", "accumulate.schedule=10"},
	} {
		for _, n := range wideNets {
			t.Run(n.name+"/"+strings.Join(set, ","), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(8, 12))
				params := arrays{}
				for name, shape := range n.params {
					params[name] = normals(rng, shape...)
				}
				text, rec := source(n.body, params), record(t, "kfac", append([]string{"accumulate.kind=none", "every=1", "damping=0.1", "accumulate.debias=false"}, set...)...)
				o := pass.Options{Noise: "input", OutputPrecond: true}
				primal := instrument(t, text, rec, o)
				o.Batch = 1
				dual := instrument(t, text, rec, o)
				if way := wayOf(t, dual.result, n.layers[0]); way != "Gram duals" {
					t.Errorf("%s is applied by %s", n.layers[0], way)
				}
				_, stateful := dual.ports["asdl/"+n.layers[0]+"/fits"]
				if _, ok := dual.ports["asdl/"+n.layers[0]+"/A_inv"]; ok != stateful || stateful != (rec.Solve.Every > 1 || rec.Accumulate.Schedule != "") {
					t.Error("state of curvature: ", stateful)
				}
				for k, size := range []int{1, 4, 1, 7, 7, 1, 1, 2} {
					feeds := arrays{
						"x": normals(rng, append([]int{size}, n.x...)...), "target": labels(rng, 3, size),
						"asdl/noise/labels": labels(rng, 3, max(1, rec.Curvature.Samples), size),
					}
					got, want := dual.step(feeds), primal.step(feeds)
					for name := range want {
						if _, ok := got[name]; !ok && strings.HasPrefix(name, "asdl/") || strings.Contains(name, "_inv") {
							delete(want, name)
						}
					}
					nearAll(t, fmt.Sprintf("step %d", k), got, want, 1e-8)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}
