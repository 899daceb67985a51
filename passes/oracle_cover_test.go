package passes_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// TestFallbacks: parameters that the representation does not cover follow the record's fall-back: the gradient, or Adam
// with its own rate; normalisations and embeddings have settings of their own. The report names each with its reason.
func TestFallbacks(t *testing.T) {
	for _, c := range []struct {
		net    *net
		method string
		set    []string
		adam   []string // parameters under Adam
		plain  []string // parameters under the gradient
	}{
		{sequenceNet(true), "kfac", []string{"fallback.norm=adam"}, []string{"norm.weight", "norm.bias"}, nil},
		{sequenceNet(true), "kfac", []string{"fallback.norm=grad", "fallback.other=adam"}, nil, []string{"norm.weight", "norm.bias"}},
		{sequenceNet(true), "kfac", []string{"representation.ignore=in,norm"}, nil, []string{"in.weight", "norm.weight", "norm.bias"}},
		{sequenceNet(true), "kfac", []string{"representation.ignore=*", "fallback.other=adam"}, []string{"in.weight", "norm.weight", "norm.bias", "out.weight", "out.bias"}, nil},
		{tokenNet(), "kfac", []string{"fallback.embedding=adam"}, []string{"emb.weight"}, nil},
		{tokenNet(), "kfac", []string{"fallback.embedding=grad", "fallback.other=adam"}, nil, []string{"emb.weight"}},
		{sequenceNet(true), "psgd-kf", []string{"fallback.norm=adam", "apply.beta=0"}, []string{"norm.weight", "norm.bias"}, nil},
		{tokenNet(), "psgd-kf", []string{"fallback.embedding=grad", "apply.beta=0"}, nil, []string{"emb.weight"}},
		{mlpNet(), "kfac", []string{"representation.max_side=3"}, nil, []string{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}},
		{convNet(), "kfac", []string{"representation.max_side=7"}, nil, []string{"c1.weight", "c1.bias"}},
		{mlpNet(), "shampoo", []string{"representation.ignore=fc1.*"}, []string{"fc1.weight", "fc1.bias"}, nil},
		{mlpNet(), "shampoo", []string{"representation.vectors=grad", "fallback.other=grad"}, nil, []string{"fc1.bias", "fc2.bias"}},
		{mlpNet(), "adam", []string{"representation.ignore=fc2.bias"}, nil, []string{"fc2.bias"}},
	} {
		t.Run(fmt.Sprint(c.net.name, c.method, c.set), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 31))
			params := c.net.params(rng)
			s := instrument(t, source(c.net.body, params), record(t, c.method, append(c.set, "update.momentum=0")...), all)
			twins := map[string]*elementTwin{}
			fallback := map[string]bool{}
			for _, p := range c.adam {
				twins[p], fallback[p] = &elementTwin{method: "adam", beta1: 0.9, beta2: 0.999, eps: 1e-8}, true
			}
			for _, p := range c.plain {
				twins[p], fallback[p] = &elementTwin{method: "sgd"}, true
			}
			for k := range 3 {
				d := c.net.batch(rng, 5).with("lr", number(0.3)).with("fallback_lr", number(0.2)).with("asdl/noise/labels", newArray(1, 5))
				out := s.step(s.noisy(rng, record(t, c.method), d))
				for p, tw := range twins {
					dir, rate := tw.step(out["grad/"+p].v), 0.3
					if tw.method == "adam" {
						rate = 0.2
					}
					near(t, fmt.Sprint(p, " direction ", k), out["precond/"+p].v, dir, 1e-12)
					for i := range dir {
						params[p].v[i] -= rate * dir[i]
					}
					near(t, fmt.Sprint(p, " ", k), out[p+"/next"].v, params[p].v, 1e-12)
				}
			}
			for _, note := range s.result.Report.Layers {
				for _, p := range note.Params {
					if note.Fallback != fallback[p] || note.Fallback && note.Reason == "" {
						t.Errorf("report of %s: fall-back %t (%q), want %t", p, note.Fallback, note.Reason, fallback[p])
					}
				}
			}
		})
	}
}

// TestNames: names of the step graph that the model uses for something of its own get the prefix asdl/, and the init
// model agrees; models with such a prefix are refused.
func TestNames(t *testing.T) {
	bodies := []string{
		`(double[N,3] "NAME") => (double[N,3] y) PARAMS { y = Gemm <transB: int = 1> ("NAME", "l.weight", "l.bias") }`,
		`(double[N,3] x) => (double[N,3] "NAME") PARAMS { "NAME" = Gemm <transB: int = 1> (x, "l.weight", "l.bias") }`,
		`(double[N,3] x) => (double[N,3] y) PARAMS { "NAME" = Tanh (x)  y = Gemm <transB: int = 1> ("NAME", "l.weight", "l.bias") }`,
		`(double[N,3] x) => (double[N,3] y) PARAMS { y = Gemm <transB: int = 1> (x, "NAME", "l.bias") }`,
	}
	rng := rand.New(rand.NewPCG(2, 31))
	for _, name := range []string{"lr", "momentum", "damping", "kl_clip", "target", "loss", "asdl/step", "asdl/x"} {
		for i, body := range bodies {
			weight, x, target := "l.weight", "x", "target"
			if i == 3 {
				weight = name
			}
			if i == 0 {
				x = name
			}
			if name == "target" {
				target = "asdl/target"
			}
			text := source(strings.ReplaceAll(body, "NAME", name), arrays{weight: normals(rng, 3, 3), "l.bias": normals(rng, 3)})
			r, err := passes.Instrument(passtest.Parse(t, text), record(t, "kfac"), pass.Options{Verify: true}, "")
			if strings.HasPrefix(name, "asdl/") {
				if !errors.Is(err, graph.ErrUnsupported) {
					t.Errorf("%s, model %d: error %v", name, i, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, model %d: %v", name, i, err)
				continue
			}
			out := begin(t, r).step(arrays{x: normals(rng, 4, 3), target: labels(rng, 3, 4)})
			if _, ok := out["loss"]; ok == (name == "loss") && !(name == "loss" && i == 1) {
				t.Errorf("%s, model %d: outputs %v", name, i, sortedKeys(out))
			}
			if _, ok := out["asdl/loss"]; ok != (name == "loss") {
				t.Errorf("%s, model %d: outputs %v", name, i, sortedKeys(out))
			}
		}
	}
}

// TestOneExample: logits without a batch dimension are those of one example.
func TestOneExample(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 31))
	params := arrays{"l.weight": normals(rng, 2, 3)}
	x, target := normals(rng, 1, 2), labels(rng, 3, 1)
	flatTarget := array{nil, target.v}
	for _, src := range []string{"emp", "exact"} {
		one := factors(t, source(`(double[N,2] x) => (double[N,3] y) PARAMS { y = MatMul (x, "l.weight") }`, params), arrays{"x": x, "target": target}, pass.Options{}, "curvature.source="+src)
		bare := factors(t, source(`(double[1,2] x) => (double[3] y) PARAMS { z = MatMul (x, "l.weight")  r = Constant <value_ints: ints = [3]> ()  y = Reshape (z, r) }`, params), arrays{"x": x, "target": flatTarget}, pass.Options{}, "curvature.source="+src)
		for _, name := range []string{"loss", "grad/l.weight", "precond/l.weight", "asdl/l/A/next", "asdl/l/S/next"} {
			near(t, src+": "+name, bare[name].v, one[name].v, 1e-12)
		}
	}
}

// TestReductions: the statistics do not depend on what the loss is divided by.
func TestReductions(t *testing.T) {
	n := sequenceNet(false)
	for _, src := range []string{"mc", "emp", "exact"} {
		var outs []arrays
		for _, reduction := range []string{"mean", "sum"} {
			rng := rand.New(rand.NewPCG(4, 31))
			d := source(n.body, n.params(rng))
			outs = append(outs, factors(t, d, n.batch(rng, 4).with("asdl/noise/labels", labels(rng, 4, 1, 12)),
				pass.Options{Loss: pass.LossOptions{Reduction: reduction}}, "curvature.source="+src))
		}
		for _, name := range []string{"asdl/in/A/next", "asdl/in/S/next", "asdl/out/S/next", "asdl/norm/F/next"} {
			near(t, src+": "+name, outs[1][name].v, outs[0][name].v, 1e-11)
		}
		for name, g := range outputsOf(outs[0], "grad/", "") {
			for i := range g.v {
				g.v[i] *= 12
			}
			near(t, src+": "+name, outs[1]["grad/"+name].v, g.v, 1e-11)
		}
	}
}

// TestConvolutionForms: the same convolution written in one, two and three dimensions, with padding by rule or by
// numbers, dilated or with the zeros in the kernel, has the same factors.
func TestConvolutionForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 31))
	w, b := normals(rng, 3, 2, 3), normals(rng, 3)
	x, target := normals(rng, 4, 2, 7), labels(rng, 3, 4)
	form := func(dims, kernel, axes, attrs string) string {
		return fmt.Sprintf(`(double[N,2,%s] x) => (double[N,3] y) PARAMS {
			h = Conv <kernel_shape: ints = [%s], %s> (x, "c.weight", "c.bias")  a = Tanh (h)  y = ReduceMean <axes: ints = [%s], keepdims: int = 0> (a) }`, dims, kernel, attrs, axes)
	}
	run := func(body string, wShape, xShape []int) arrays {
		return factors(t, source(body, arrays{"c.weight": {wShape, w.v}, "c.bias": b}), arrays{"x": {xShape, x.v}, "target": target}, pass.Options{}, "curvature.source=exact")
	}
	same := func(name string, got, want arrays) {
		t.Helper()
		for _, o := range []string{"asdl/c/A/next", "asdl/c/S/next", "precond/c.weight", "precond/c.bias"} {
			near(t, name+": "+o, got[o].v, want[o].v, 1e-12)
		}
	}
	line := func(attrs string) arrays { return run(form("7", "3", "2", attrs), []int{3, 2, 3}, []int{4, 2, 7}) }
	plain := line("pads: ints = [1,1], strides: ints = [1]")
	same("two dimensions", run(form("1,7", "1,3", "2,3", "pads: ints = [0,1,0,1]"), []int{3, 2, 1, 3}, []int{4, 2, 1, 7}), plain)
	same("two dimensions, the other", run(form("7,1", "3,1", "2,3", "pads: ints = [1,0,1,0]"), []int{3, 2, 3, 1}, []int{4, 2, 7, 1}), plain)
	same("three dimensions", run(form("1,7,1", "1,3,1", "2,3,4", "pads: ints = [0,1,0,0,1,0]"), []int{3, 2, 1, 3, 1}, []int{4, 2, 1, 7, 1}), plain)
	same("SAME_UPPER", line(`auto_pad: string = "SAME_UPPER"`), plain)
	same("SAME_UPPER, stride 2", line(`auto_pad: string = "SAME_UPPER", strides: ints = [2]`), line("pads: ints = [1,1], strides: ints = [2]"))
	same("VALID", line(`auto_pad: string = "VALID"`), line("pads: ints = [0,0]"))

	// a dilated kernel of 2 is one of 3 with a hole: the factor A without the hole's rows
	dilated := array{[]int{3, 2, 2}, nil}
	holed := array{[]int{3, 2, 3}, nil}
	for i := range 6 {
		p, q := w.v[3*i], w.v[3*i+2]
		dilated.v, holed.v = append(dilated.v, p, q), append(holed.v, p, 0, q)
	}
	one := factors(t, source(form("7", "2", "2", "dilations: ints = [2]"), arrays{"c.weight": dilated, "c.bias": b}), arrays{"x": x, "target": target}, pass.Options{}, "curvature.source=exact")
	two := factors(t, source(form("7", "3", "2", "strides: ints = [1]"), arrays{"c.weight": holed, "c.bias": b}), arrays{"x": x, "target": target}, pass.Options{}, "curvature.source=exact")
	near(t, "dilated: S", one["asdl/c/S/next"].v, two["asdl/c/S/next"].v, 1e-12)
	small, large := factor(one, "c", "A"), factor(two, "c", "A")
	keep := []int{0, 2, 3, 5, 6}
	for i, p := range keep {
		for j, q := range keep {
			near(t, "dilated: A", []float64{small.At(i, j)}, []float64{large.At(p, q)}, 1e-12)
		}
	}
}
