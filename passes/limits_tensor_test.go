package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/pass"
)

// tensorCases are the methods that see parameters as tensors, refreshed on every step.
var tensorCases = [][]string{
	{"muon"},
	{"muon", "solve.kernel=exact", "solve.iterations=0"},
	{"soap"},
	{"soap", "solve.lag=false"},
	{"kl-shampoo"},
	{"splus"},
	{"psgd-kron"},
	{"psgd-kron", "solve.kernel=inverse_free"},
	{"psgd-kron", "solve.damping.kind=none"},
	{"shampoo", "solve.kernel=track", "apply.graft=none"},
	{"shampoo", "representation.max_side=3", "representation.on_exceed=diagonal"},
}

// TestTensorLimits: gradients of zero give directions of zero; one that is not finite makes no step, leaves every state at its
// last good value and is counted; and the step after goes on.
func TestTensorLimits(t *testing.T) {
	for _, c := range tensorCases {
		for _, elem := range []string{"double", "float"} {
			what := fmt.Sprint(c, " ", elem)
			set := c[1:]
			if c[0] != "muon" {
				set = with(set, "solve.every=1")
			}
			text, feeds := given(4, 5)
			if elem == "float" {
				text = single(text)
			}
			s := instrument(t, text, record(t, c[0], set...), summed)
			lr := func(in arrays) arrays { return in.with("lr", number(0.01)).with("weight_decay", number(0)) }
			var out arrays
			must(s.session.SetState("w", newArray(4, 5).tensor(s.ports["w"].Type.Elem))) // so that the gradient is exactly the one given
			for range 3 {
				out = s.step(lr(feeds(newArray(4, 5))))
				if !finiteArrays(out) || length(out["precond/w"].v) > 1e-12 {
					t.Errorf("%s: a gradient of zero gives %v", what, out["precond/w"].v)
				}
			}
			rng := rand.New(rand.NewPCG(81, 5))
			for range 3 {
				out = s.step(lr(feeds(normals(rng, 4, 5))))
			}
			if !finiteArrays(out) || guards(out) != 0 || length(out["precond/w"].v) == 0 {
				t.Errorf("%s: ordinary steps: guards %g, direction %v", what, guards(out), out["precond/w"].v)
			}
			for _, bad := range []float64{math.NaN(), math.Inf(1)} {
				g := normals(rng, 4, 5)
				g.v[7] = bad
				before, counted := outputsOf(out, "", "/next"), guards(out)
				in := lr(feeds(g))
				out = s.step(in)
				if guards(out) <= counted {
					t.Errorf("%s: %g is not counted", what, bad)
				}
				for name, a := range outputsOf(out, "", "/next") {
					if !finiteArrays(arrays{name: a}) {
						t.Errorf("%s: after %g, %s is %v", what, bad, name, a.v)
					}
					if (name == "w" || strings.HasSuffix(name, "/m")) && c[0] != "soap" && distance(a.v, before[name].v) > 1e-6 {
						t.Errorf("%s: %g moves %s", what, bad, name)
					}
				}
			}
			counted := guards(out)
			out = s.step(lr(feeds(normals(rng, 4, 5))))
			if !finiteArrays(out) || guards(out) != counted || length(out["precond/w"].v) == 0 {
				t.Errorf("%s: the step after: guards %g, direction %v", what, guards(out)-counted, out["precond/w"].v)
			}
		}
	}
}

// TestTensorBatchOfOne: one example a step is enough.
func TestTensorBatchOfOne(t *testing.T) {
	for _, c := range append([][]string{{"tnt"}, {"kl-tnt"}}, tensorCases...) {
		for _, n := range allNets() {
			rng := rand.New(rand.NewPCG(82, 5))
			s := instrument(t, source(n.body, n.params(rng)), record(t, c[0], c[1:]...), pass.Options{})
			for k := range 4 {
				if out := s.step(n.batch(rng, 1)); !finiteArrays(out) || guards(out) != 0 {
					t.Errorf("%s, %v, step %d: guards %g, finite %t", n.name, c, k, guards(out), finiteArrays(out))
				}
			}
		}
	}
}
