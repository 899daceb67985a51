package passes_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// TestLimits: for every method, in float32: inputs that are all zero, one example, labels that
// never occur and batches of ignored labels give finite steps; inputs whose squares overflow leave the curvature finite, the
// failure is counted, and ordinary steps go on.
func TestLimits(t *testing.T) {
	ignore := int64(-1)
	for _, name := range method.Names() {
		rec := record(t, name)
		for _, n := range []*net{mlpNet(), convNet()} {
			rng := rand.New(rand.NewPCG(1, 71))
			s := instrument(t, single(source(n.body, n.params(rng))), rec, pass.Options{Loss: pass.LossOptions{IgnoreIndex: &ignore}})
			good := func(size int) arrays { return n.batch(rng, size).with("lr", number(0.001)) }
			if !slices.ContainsFunc(s.result.Report.Layers, func(l pass.LayerNote) bool { return !l.Fallback }) {
				continue // no layer is covered
			}
			same := func(a array, v float64) array {
				b := newArray(a.shape...)
				for i := range b.v {
					b.v[i] = v
				}
				return b
			}
			first := good(5)
			huge := arrays{"lr": number(0.001), "target": first["target"], "x": first["x"].clone()}
			for i := range huge["x"].v {
				huge["x"].v[i] *= 1e30
			}
			for _, step := range []struct {
				what  string
				feeds arrays
				fails bool
			}{
				{"inputs of zero", arrays{"x": same(first["x"], 0), "target": first["target"], "lr": number(0.001)}, false},
				{"an ordinary batch", first, false},
				{"one example", good(1), false},
				{"one label", arrays{"x": first["x"], "target": same(first["target"], 0), "lr": number(0.001)}, false},
				{"ignored labels", arrays{"x": first["x"], "target": same(first["target"], -1), "lr": number(0.001)}, false},
				{"overflow", huge, true},
				{"an ordinary batch again", good(5), false},
			} {
				before := guards(s.step(good(4)))
				out := s.step(step.feeds)
				for o, a := range out {
					if next := strings.HasSuffix(o, "/next"); (next || !step.fails) && !finiteArrays(arrays{o: a}) {
						t.Errorf("%s, %s, %s: %s is not finite", name, n.name, step.what, o)
					}
				}
				if counted := guards(out) > before; counted != step.fails && !step.fails {
					t.Errorf("%s, %s, %s: a failure is counted", name, n.name, step.what)
				} else if step.fails && !counted {
					t.Logf("%s, %s, %s: nothing had to be guarded", name, n.name, step.what)
				}
				if step.fails { // the step may be huge: back to parameters of ordinary size
					for p, a := range n.params(rng) {
						must(s.session.SetState(p, a.tensor(s.ports[p].Type.Elem)))
					}
				}
			}
		}
	}
}
