package passes_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// mixedBody has a layer of each of several kinds, and a parameter outside layers.
const mixedBody = `(double[N,4] x) => (double[N,3] y) PARAMS {
	h1 = Gemm <transB: int = 1> (x, "in.weight", "in.bias")  a1 = Tanh (h1)
	h2 = Gemm <transB: int = 1> (a1, "blocks/0/fc.weight", "blocks/0/fc.bias")  a2 = Tanh (h2)
	n = LayerNormalization (a2, "norm.weight", "norm.bias")
	h3 = Gemm <transB: int = 1> (n, "blocks/1/fc.weight", "blocks/1/fc.bias")  a3 = Tanh (h3)
	g2 = MatMul ("gain", "gain")  u = MatMul (a3, g2)
	y = Gemm <transB: int = 1> (u, "out.weight") }`

func mixedParams(rng *rand.Rand) arrays {
	return arrays{
		"in.weight": normals(rng, 5, 4), "in.bias": normals(rng, 5), "blocks/0/fc.weight": normals(rng, 4, 5), "blocks/0/fc.bias": normals(rng, 4),
		"norm.weight": normals(rng, 4), "norm.bias": normals(rng, 4), "blocks/1/fc.weight": normals(rng, 5, 4), "blocks/1/fc.bias": normals(rng, 5),
		"gain": normals(rng, 5, 5), "out.weight": normals(rng, 3, 5),
	}
}

// mixedFeeds repeats one draw of labels, so that it does not matter which draw a method takes.
func mixedFeeds(rng *rand.Rand, draws int) arrays {
	drawn := labels(rng, 3, 6)
	noise := newArray(draws, 6)
	for i := range draws {
		copy(noise.v[6*i:], drawn.v)
	}
	return arrays{"x": normals(rng, 6, 4), "target": labels(rng, 3, 6), "asdl/noise/labels": noise}
}

// draws is the number of draws of labels that a step graph takes.
func (s *stepper) draws() int {
	p, ok := s.ports["asdl/noise/labels"]
	if !ok {
		return 1
	}
	n, _ := p.Type.Dims[0].Size()
	return int(n)
}

// TestMixedMethods: with methods of their own for some layers, each parameter gets the direction, and each layer the state,
// that it gets from its method alone.
func TestMixedMethods(t *testing.T) {
	o := pass.Options{Noise: "input", Emit: "gradient"}
	for _, c := range []struct {
		name  string
		mix   method.Mix
		of    map[string]int // parameter -> index of the override, from 1; others follow the default
		draws int
	}{
		{
			"three methods",
			method.Mix{Default: record(t, "kfac", "every=2"), Overrides: []method.Override{
				{Pattern: "blocks*", Record: record(t, "shampoo", "every=3", "apply.graft=none")}, {Pattern: "out", Record: record(t, "adam")},
			}},
			map[string]int{"blocks/0/fc.weight": 1, "blocks/0/fc.bias": 1, "blocks/1/fc.weight": 1, "blocks/1/fc.bias": 1, "out.weight": 2},
			1,
		},
		{
			"sources and intervals of K-FAC",
			method.Mix{Default: record(t, "kfac", "every=2", "curvature.samples=3", "damping=0.1"), Overrides: []method.Override{
				{Pattern: "in", Record: record(t, "kfac", "every=2", "damping=0.02", "solve.every=4")},
				{Pattern: "blocks/0*", Record: record(t, "kfac", "every=3", "accumulate.beta=0.5")},
				{Pattern: "blocks/1*", Record: record(t, "kfac", "curvature.source=exact", "every=2")},
				{Pattern: "kind:norm", Record: record(t, "kfac", "curvature.source=emp", "accumulate.kind=none", "every=2")},
			}},
			map[string]int{
				"in.weight": 1, "in.bias": 1, "blocks/0/fc.weight": 2, "blocks/0/fc.bias": 2, "blocks/1/fc.weight": 3, "blocks/1/fc.bias": 3,
				"norm.weight": 4, "norm.bias": 4,
			},
			4,
		},
		{
			"the last match counts, parameters by name, no default left",
			method.Mix{Default: record(t, "sgd"), Overrides: []method.Override{
				{Pattern: "*", Record: record(t, "adam")},
				{Pattern: "kind:linear", Record: record(t, "kfac", "curvature.source=emp")},
				{Pattern: "kind:parameter", Record: record(t, "shampoo")},
				{Pattern: "in.bias", Record: record(t, "adagrad")},
				{Pattern: "in.weight", Record: record(t, "adagrad")},
			}},
			map[string]int{
				"in.weight": 5, "in.bias": 5, "blocks/0/fc.weight": 2, "blocks/0/fc.bias": 2, "blocks/1/fc.weight": 2, "blocks/1/fc.bias": 2,
				"norm.weight": 1, "norm.bias": 1, "gain": 3, "out.weight": 2,
			},
			1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 1))
			text := source(mixedBody, mixedParams(rng))
			r, err := passes.InstrumentMix(passtest.Parse(t, text), c.mix, o, "")
			if err != nil {
				t.Fatal(err)
			}
			mixed := begin(t, r)
			if mixed.draws() != c.draws {
				t.Errorf("%d draws of labels, want %d", mixed.draws(), c.draws)
			}
			pure := []*stepper{instrument(t, text, c.mix.Default, o)}
			for _, o2 := range c.mix.Overrides {
				pure = append(pure, instrument(t, text, o2.Record, o))
			}
			for k := range 5 {
				batch := mixedFeeds(rng, 1)
				run := func(s *stepper) arrays {
					feeds := batch.clone()
					noise := feeds["asdl/noise/labels"].v
					feeds["asdl/noise/labels"] = array{[]int{s.draws(), 6}, slices.Repeat(noise, s.draws())}
					return s.step(feeds)
				}
				got := run(mixed)
				compared := 0
				for i, s := range pure {
					for name, want := range run(s) {
						if owner, ok := ownerOf(name); ok && c.of[owner] == i {
							compared++
							near(t, fmt.Sprintf("step %d: %s", k, name), got[name].v, want.v, 1e-12)
						}
					}
				}
				if compared < 10 {
					t.Fatalf("%d arrays compared", compared)
				}
			}
		})
	}
}

// ownerOf is the parameter, of mixedBody, whose method makes the output.
func ownerOf(output string) (string, bool) {
	if p, ok := strings.CutPrefix(output, "precond/"); ok {
		return p, true
	}
	rest, ok := strings.CutPrefix(output, "asdl/")
	i := strings.LastIndex(strings.TrimSuffix(rest, "/next"), "/")
	if !ok || i < 0 {
		return "", false
	}
	owner := rest[:i]
	if !strings.Contains(owner, ".") && owner != "gain" {
		owner += ".weight"
	}
	return owner, true
}

// TestMixedUpdate: each method has its own rule and its own inputs for its numbers, and bounds its own step.
func TestMixedUpdate(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	text := source(mixedBody, mixedParams(rng))
	quick := record(t, "sgd", "update.lr=0.5", "update.momentum=0", "update.clip_norm=0.01")
	slow := record(t, "sgd", "update.lr=0.125", "update.momentum=0.5", "update.weight_decay=0.25")
	mix := method.Mix{Default: record(t, "adam"), Overrides: []method.Override{
		{Pattern: "in", Record: quick}, {Pattern: "blocks*", Record: slow}, {Pattern: "out", Record: quick}, {Pattern: "kind:norm", Record: record(t, "adam", "update.lr=0.25")},
	}}
	r, err := passes.InstrumentMix(passtest.Parse(t, text), mix, pass.Options{OutputGrad: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, r)
	for _, name := range []string{"lr", "lr/sgd", "clip_norm/sgd", "lr/sgd.2", "momentum/sgd.2", "weight_decay/sgd.2", "lr/adam"} {
		if _, ok := s.ports[name]; !ok {
			t.Errorf("no input %s", name)
		}
	}
	old := arrays{}
	for _, step := range []string{"first", "second"} {
		before := arrays{}
		for name := range mixedParams(rng) {
			x, err := s.session.State(name)
			if err != nil {
				t.Fatal(err)
			}
			before[name] = fromTensor(x)
		}
		out := s.step(mixedFeeds(rng, 1))
		norm := 0.0
		for _, name := range []string{"in.weight", "in.bias", "out.weight"} {
			for _, g := range out["grad/"+name].v {
				norm += g * g
			}
		}
		for name, w := range before {
			g, want := out["grad/"+name].v, newArray(w.shape...)
			for i := range w.v {
				switch {
				case strings.HasPrefix(name, "in.") || name == "out.weight":
					want.v[i] = w.v[i] - 0.5*g[i]*min(1, 0.01/math.Sqrt(norm))
				case strings.HasPrefix(name, "blocks"):
					v := g[i] + 0.25*w.v[i]
					if step == "second" {
						v += 0.5 * old[name].v[i]
					}
					want.v[i] = w.v[i] - 0.125*v
				case step == "first" && strings.HasPrefix(name, "norm"): // Adam's first step is the rate
					want.v[i] = w.v[i] - 0.25*math.Copysign(1, g[i])
				case step == "first":
					want.v[i] = w.v[i] - 0.001*math.Copysign(1, g[i])
				default:
					continue
				}
			}
			old[name] = out["asdl/"+name+"/momentum/next"]
			if want.v[0] != 0 {
				near(t, step+" step: "+name, out[name+"/next"].v, want.v, 1e-6)
			}
		}
	}
}

func TestMixPatterns(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	m := passtest.Parse(t, source(mixedBody, mixedParams(rng)))
	mix := method.Mix{Default: record(t, "kfac"), Overrides: []method.Override{{Pattern: "bloks*", Record: record(t, "sgd")}}}
	_, err := passes.InstrumentMix(m, mix, pass.Options{}, "")
	var bad *pass.OptionError
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "blocks/0/fc (linear)") || !strings.Contains(err.Error(), "gain (parameter)") {
		t.Errorf("a pattern without a match gives %v", err)
	}
	mix.Overrides[0].Pattern = "in.weight" // the bias stays with K-FAC
	r, err := passes.InstrumentMix(m, mix, pass.Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Report.Layers {
		if l.Layer == "in.bias" && (!l.Fallback || !strings.Contains(l.Reason, "methods of their own")) || l.Layer == "in.weight" && l.Method != "sgd" {
			t.Errorf("a layer with two methods: %+v", l)
		}
	}
	back, err := method.ReadMix(r.Step.Metadata)
	if err != nil || len(back.Overrides) != 1 || back.Overrides[0].Record.Encode() != mix.Overrides[0].Record.Encode() {
		t.Errorf("the metadata gives %+v (%v)", back, err)
	}
}
