package autodiff_test

import (
	"strconv"
	"strings"
	"testing"
)

// TestLoopsTakeLinearWork counts the elements that the kernels write for derivatives of loops of different lengths T:
// from T=16 to 32 they must be no more than twice as many more as from 8 to 16.
func TestLoopsTakeLinearWork(t *testing.T) {
	for _, s := range []spec{
		{op: "RNN", sig: "(double[T,2,2] x, double[1,2,2] w, double[1,2,2] r) => (y)", body: "y = RNN<hidden_size: int = 2>(x, w, r)"},
		{
			op: "LSTM", sig: "(double[T,2,2] x, double[2,8,2] w, double[2,8,2] r) => (y, yh) <int32[2] n = {T, 3}>",
			body: `y, yh = LSTM<hidden_size: int = 2, direction: string = "bidirectional">(x, w, r, , n)`,
		},
		{op: "GRU", sig: "(double[T,2,2] x, double[1,6,2] w, double[1,6,2] r) => (y)", body: `y = GRU<hidden_size: int = 2, direction: string = "reverse">(x, w, r)`},
		{op: "Scan", sig: "(double[2] x, double[2,T] y) => (z, s)", body: `z, s = Scan (x, y) <num_scan_inputs: int = 1, scan_input_axes: ints = [1],
			body = step (double[2] v, double[2] e) => (w, r) { u = Mul(v, e) w = Tanh(u) r = Mul(w, e) }>`},
		{op: "Loop", name: "reads", sig: "(double[2] x, double[3,T] y, double[T,2,2] m) => (z) <int64 n = {T}, int64[1] o = {1}, int64[1] l = {-1}>", body: `z = Loop (n, , x) <
			body = step (int64 i, bool go, double[2] v) => (again, w) {
				again = Identity(go) i1 = Reshape(i, o)
				a = Gather<axis: int = 1>(y, i) b = Gather<axis: int = -1>(y, i1) c = ReduceSum(b)
				k = Concat<axis: int = 0>(i1, o) g = GatherND(m, k)
				q = Mul(v, c) r = ReduceSum(a) s = Mul(q, r) t = Add(s, g) h = Sin(t) w = Reshape(h, l) }>`},
		{op: "Loop", name: "windows", sig: "(double[2] x, double[3,T] y, double[T,2] u) => (z) <int64 n = {T}, int64 o = {1}, int64 two = {2}, int64[1] f = {0}, int64[1] k = {1}>", body: `z = Loop (n, , x) <
			body = step (int64 i, bool go, double[2] v) => (again, w) {
				again = Identity(go) e = Add(i, o) s1 = Unsqueeze(i, f) e1 = Unsqueeze(e, f) d = Slice(u, s1, e1, f)
				e2 = Add(two, s1) q = Slice(y, s1, e2, k) r = ReduceSum<keepdims: int = 0>(q)
				t = Squeeze(d, f) p = Mul(v, t) h = Mul(p, r) w = Sin(h) }>`},
	} {
		for what, derive := range map[string]func(*problem) *problem{
			"gradient":             func(p *problem) *problem { return p.gradient("g") },
			"gradient of gradient": func(p *problem) *problem { return p.gradient("g").gradient("h") },
			"tangent of gradient":  func(p *problem) *problem { return p.gradient("g").tangent("h") },
		} {
			t.Run(s.title()+"/"+what, func(t *testing.T) {
				work := func(steps int) int {
					long := s
					long.sig = strings.ReplaceAll(s.sig, "T", strconv.Itoa(steps))
					q := derive(long.problem(t))
					_, n := measure(t, q.model, q.feeds)
					return n
				}
				short, medium, long := work(8), work(16), work(32)
				if long-medium > 2*(medium-short)+(medium-short)/50 {
					t.Errorf("8, 16 and 32 steps write %d, %d and %d elements", short, medium, long)
				}
			})
		}
	}
}
