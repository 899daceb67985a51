package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// Numerical failure: statistics that overflow or vanish while gradients are finite. Parameters stay finite, statistics
// and inverses keep their last good values, and the counter asdl/guards says so.

// single turns a model's text from double to float.
func single(text string) string { return strings.ReplaceAll(text, "double[", "float[") }

func guards(out arrays) float64 { return out["asdl/guards/next"].v[0] }

// curvature are the next statistics and solutions among the outputs.
func curvature(out arrays) arrays {
	got := arrays{}
	for name, a := range outputsOf(out, "asdl/", "/next") {
		if i := strings.LastIndex(name, "/"); i >= 0 {
			switch slot := name[i+1:]; {
			case slot == "momentum" || slot == "v" || slot == "m":
			default:
				got[name] = a
			}
		}
	}
	return got
}

// guarded are the methods that guard their statistics.
func guarded(t *testing.T) map[string]method.Record {
	recs := every(t, "solve.every=1", "solve.warmup=0", "accumulate.every=1", "accumulate.warmup=0")
	for name, rec := range map[string]method.Record{
		"kfac":    record(t, "kfac", "curvature.source=emp", "solve.every=1"),
		"exact":   record(t, "kfac", "curvature.source=exact", "solve.every=1"),
		"shampoo": record(t, "shampoo", "solve.every=1", "apply.graft=none"),
		"newton":  record(t, "shampoo", "solve.every=1", "solve.kernel=newton", "apply.graft=none", "accumulate.kind=ema", "accumulate.beta=0.9"),
		"grafted": record(t, "shampoo", "solve.every=1", "apply.graft=adam"),
		"sgd":     record(t, "shampoo", "solve.every=1", "apply.graft=sgd"),
	} {
		recs["set "+name] = rec
	}
	return recs
}

// TestOverflowingStatistics: a batch whose squares overflow, with finite gradients, for every method. Factors keep their last
// good values, which is counted.
func TestOverflowingStatistics(t *testing.T) {
	for name, rec := range guarded(t) {
		for elem, huge := range map[string]float64{"float": 1e25, "double": 1e180} {
			t.Run(name+"/"+elem, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 9))
				params := arrays{"l.weight": normals(rng, 3, 4), "l.bias": normals(rng, 3)}
				text := source(`(double[N,4] x) => (double[N,3] y) PARAMS { h = Gemm <transB: int = 1> (x, "l.weight", "l.bias")  y = Tanh (h) }`, params)
				if elem == "float" {
					text = single(text)
				}
				s := instrument(t, text, rec, pass.Options{OutputGrad: true})
				good := s.step(arrays{"x": normals(rng, 6, 4), "target": labels(rng, 3, 6)})
				if !finiteArrays(good) || guards(good) != 0 {
					t.Fatalf("an ordinary step: guards %g, finite %t", guards(good), finiteArrays(good))
				}
				// one input is huge and its weights vanish, so that its unit is not saturated
				params["l.weight"] = good["l.weight/next"].clone()
				for i := range 3 {
					params["l.weight"].v[4*i] = 0
				}
				must(s.session.SetState("l.weight", params["l.weight"].tensor(s.ports["l.weight"].Type.Elem)))
				x := normals(rng, 6, 4)
				for i := range 6 {
					x.v[4*i] *= huge
				}
				bad := s.step(arrays{"x": x, "target": labels(rng, 3, 6)})
				if !finiteArrays(outputsOf(bad, "grad/", "")) {
					t.Fatal("the gradients are not finite: the test asks too much")
				}
				if !finiteArrays(bad) {
					t.Errorf("an output is not finite: %v", bad)
				}
				factored := strings.HasPrefix(name, "set ")
				if guards(bad) == 0 && factored {
					t.Error("nothing was counted")
				}
				if factored {
					nearAll(t, "kept", curvature(bad), curvature(good), 1e-6)
				}
				must(s.session.SetState("l.weight", good["l.weight/next"].tensor(s.ports["l.weight"].Type.Elem)))
				after := s.step(arrays{"x": normals(rng, 6, 4), "target": labels(rng, 3, 6)})
				if !finiteArrays(after) || guards(after) != guards(bad) {
					t.Errorf("the step after: guards %g then %g, finite %t", guards(bad), guards(after), finiteArrays(after))
				}
				if factored && slices.Equal(after["asdl/"+statName(after)+"/next"].v, bad["asdl/"+statName(after)+"/next"].v) {
					t.Error("statistics do not move on after a failure")
				}
			})
		}
	}
}

// statName is the name of some statistic.
func statName(out arrays) string {
	for _, name := range sortedKeys(curvature(out)) {
		if strings.HasSuffix(name, "/A") || strings.HasSuffix(name, "/stat0") {
			return name
		}
	}
	panic("BUG: no statistic")
}

// TestFirstBatchFails: where the very first statistics fail, a layer's direction is its gradient.
func TestFirstBatchFails(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	for _, c := range []struct {
		net  *net
		last string
	}{{mlpNet(), "fc2"}, {tokenNet(), "fc"}, {sequenceNet(true), "out"}, {convNet(), "c2"}} {
		n, params := c.net, c.net.params(rng)
		last := params[c.last+".weight"] // its huge entries make huge output gradients of the layers before
		for i := range last.v {
			last.v[i] *= 1e170
		}
		s := instrument(t, source(n.body, params), record(t, "kfac", "curvature.source=emp", "apply.kl_clip=0"), all)
		out := s.step(arrays{"x": n.inputs(rng, 5), "target": labels(rng, n.classes, n.labelShape(5)...)})
		if !finiteArrays(out) {
			t.Errorf("%s: not finite", n.name)
		}
		for _, l := range n.layers {
			if l.name != c.last {
				near(t, n.name+": direction of "+l.w, out["precond/"+l.w].v, out["grad/"+l.w].v, 1e-12)
			}
		}
		if want := float64(2 * (len(n.layers) - 1)); guards(out) != want { // a failed statistic and a failed solve each
			t.Errorf("%s: guards %g, want %g", n.name, guards(out), want)
		}
	}
}

// TestSingularFactors: statistics that vanish, with no damping, cannot be inverted: the direction is the gradient and
// the failure is counted. With damping they can.
func TestSingularFactors(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	text := source(`(double[N,3] x) => (double[N,3] y) PARAMS { y = MatMul (x, "l.weight") }`, arrays{"l.weight": normals(rng, 3, 3)})
	zeros, target := newArray(4, 3), labels(rng, 3, 4)
	for _, lambda := range []float64{0, 1e-3} {
		s := instrument(t, text, record(t, "kfac", "curvature.source=emp", fmt.Sprintf("damping=%g", lambda)), all)
		out := s.step(arrays{"x": zeros, "target": target})
		if !finiteArrays(out) {
			t.Errorf("damping %g: not finite", lambda)
		}
		if (guards(out) > 0) != (lambda == 0) {
			t.Errorf("damping %g: guards %g", lambda, guards(out))
		}
	}
	// an input that repeats another makes A singular
	x := normals(rng, 4, 3)
	for i := range 4 {
		x.v[3*i+1] = x.v[3*i]
	}
	out := instrument(t, text, record(t, "kfac", "curvature.source=emp", "damping=0"), all).step(arrays{"x": x, "target": target})
	if !finiteArrays(out) {
		t.Error("singular A: not finite")
	}
}

// TestBatchOfOne: one example, labels that never occur, and a batch of ignored labels are ordinary steps.
func TestBatchOfOne(t *testing.T) {
	ignore := int64(-1)
	for _, n := range []*net{sequenceNet(false), tokenNet()} {
		for _, name := range method.Names() {
			for _, target := range []float64{0, -1} {
				rng := rand.New(rand.NewPCG(4, 9))
				s := instrument(t, single(source(n.body, n.params(rng))), record(t, name), pass.Options{Loss: pass.LossOptions{IgnoreIndex: &ignore}})
				for k := range 3 {
					y := newArray(n.labelShape(1)...)
					for i := range y.v {
						y.v[i] = target
					}
					out := s.step(arrays{"x": n.inputs(rng, 1), "target": y})
					if !finiteArrays(out) {
						t.Fatalf("%s, %s, label %g, step %d: not finite", n.name, name, target, k)
					}
					if g, ok := out["asdl/guards/next"]; ok && g.v[0] != 0 {
						t.Errorf("%s, %s, label %g, step %d: guards %g", n.name, name, target, k, g.v[0])
					}
				}
			}
		}
	}
}

// TestUnitBlocksStayPositive: 2x2 blocks of rank one with a damping below the rounding of float32 still give a descent
// direction.
func TestUnitBlocksStayPositive(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		n := sequenceNet(false)
		n.body = strings.ReplaceAll(n.body, "N,3,", "N,1,")
		params := n.params(rng)
		for i := range params["out.weight"].v {
			params["out.weight"].v[i] *= 100
		}
		s := instrument(t, single(source(n.body, params)), record(t, "kfac", "curvature.source=emp", "damping=1e-5", "solve.every=1"), all)
		out := s.step(arrays{"x": normals(rng, 1, 1, 2), "target": labels(rng, 4, 1, 1)})
		g, d := out["grad/norm.weight"].v, out["precond/norm.weight"].v
		h, e := out["grad/norm.bias"].v, out["precond/norm.bias"].v
		for c := range g {
			if g[c]*d[c]+h[c]*e[c] < 0 {
				t.Errorf("seed %d, channel %d: gradient (%g, %g), direction (%g, %g)", seed, c, g[c], h[c], d[c], e[c])
			}
		}
	}
}

// TestHugeGradients: the largest finite gradients give finite parameters or zero steps, never NaN.
func TestHugeGradients(t *testing.T) {
	for _, name := range []string{"adam", "adagrad", "kfac", "shampoo"} {
		rng := rand.New(rand.NewPCG(5, 9))
		text := single(source(`(double[N,2] x) => (double[N,2] y) PARAMS { y = MatMul (x, "l.weight") }`, arrays{"l.weight": normals(rng, 2, 2)}))
		set := []string{}
		if name == "kfac" {
			set = append(set, "curvature.source=emp")
		}
		s := instrument(t, text, record(t, name, set...), pass.Options{Loss: pass.LossOptions{Row: "mse"}, OutputGrad: true})
		x, y := array{[]int{1, 2}, []float64{1, 2}}, array{[]int{1, 2}, []float64{1e37, -1e37}}
		out := s.step(arrays{"x": x, "target": y})
		for p, a := range outputsOf(out, "", "/next") {
			for _, v := range a.v {
				if math.IsNaN(v) {
					t.Errorf("%s: %s holds NaN", name, p)
				}
			}
		}
	}
}
