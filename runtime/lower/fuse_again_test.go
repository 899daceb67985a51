package lower_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// TestComputeAgain: a later chain computes what it needs of an earlier one again if that keeps fewer tensors until then. MatMuls keep
// the chains apart.
func TestComputeAgain(t *testing.T) {
	const head = `g (FLOAT[4,8] x, FLOAT[8,8] w, FLOAT[8,8] u, FLOAT[8] bias, bool on) => (FLOAT[4,8] a OUTS) <FLOAT half = {0.5}> { z = MatMul(x, w) `
	const gelu = `h = Add(z, bias) e = Erf(h) f = Mul(e, half) y = Mul(h, f) o = MatMul(y, u) s = Mul(h, h) p = Exp(s) q = Mul(p, f) r = Mul(o, q) a = Add(r, f) }`
	for _, tc := range []struct {
		name, elem, outs, body string
		results                []int // of the chains, in order
	}{
		{"two by their input", "float", "", gelu, []int{1, 1}},
		{"doubles keep what is costly", "double", "", gelu, []int{3, 1}},
		{"outputs are there anyway", "float", ", FLOAT[4,8] q", gelu, []int{3, 1}},
		{"one that is cheap by its input", "float", "", `h = Sub(z, bias) y = Mul(h, h) o = MatMul(y, u) a = Sub(o, h) }`, []int{1, 1}},
		{"one that is costly stays", "float", "", `h = Erf(z) y = Mul(h, h) o = MatMul(y, u) a = Sub(o, h) }`, []int{2}},
		{"one by two", "float", "", `z2 = MatMul(z, u) h = Add(z, z2) y = Mul(h, h) o = MatMul(y, u) a = Sub(o, h) }`, []int{2}},
		{"one by two that last", "float", "", `z2 = MatMul(z, u) h = Add(z, z2) y = Mul(h, h) o = MatMul(y, u) b = Sub(o, h) c = Sub(z, z2) d = Mul(b, c) a = MatMul(d, u) }`, []int{1, 1}},
		{"what is of the graph around lasts", "float", "", `i = If (on) <then_branch: graph = t () => (FLOAT[4,8] c) { h = Add(z, bias) k = Mul(h, half) y = Mul(h, k) o = MatMul(y, u) l = Sub(o, h) c = Add(l, h) }, else_branch: graph = e () => (FLOAT[4,8] d) { d = Neg(z) }> v = MatMul(z, u) a = MatMul(i, u) }`, []int{1, 1}},
		{"inputs may be overwritten", "float", "", `h = Mul(x, half) y = Mul(h, x) k = Mul(h, h) o = MatMul(y, w) l = Sub(h, k) a = Add(o, l) }`, []int{2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := strings.NewReplacer("FLOAT", tc.elem, "OUTS", strings.ReplaceAll(tc.outs, "FLOAT", tc.elem)).Replace(head + tc.body)
			var got []int
			for n := range lowered(t, src).Model.Graph.All() {
				if n.Is(graph.Asdl, "Pointwise") {
					got = append(got, len(n.Outputs()))
				}
			}
			if !slices.Equal(got, tc.results) {
				t.Errorf("chains of %v results, want %v", got, tc.results)
			}
		})
	}
}
