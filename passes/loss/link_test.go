package loss_test

import (
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/layers"
	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestLinks: models that end in probabilities train on the logits before these, and the loss is that of the plain model.
func TestLinks(t *testing.T) {
	const start = `<ir_version: 8, opset_import: ["" : 17]>
g (float[N,2] x) => (float[N,3] y) <float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[2,1] "one.weight" = {1,-2}, float one = {1}> {
	z = MatMul (x, "fc.weight")  s1 = MatMul (x, "one.weight") `
	for _, c := range []struct{ name, end, plain, row, note string }{
		{"softmax", `y = Softmax <axis: int = 1> (z)`, `y = Identity (z)`, "cross-entropy", "from the logits before it, z"},
		{"log softmax", `y = LogSoftmax <axis: int = -1> (z)`, `y = Identity (z)`, "cross-entropy", "from the logits before it, z"},
		{"logarithm of softmax", `p = Softmax <axis: int = -1> (z)  y = Log (p)`, `y = Identity (z)`, "cross-entropy", "from the logits before it"},
		{"two classes", `p = Sigmoid (s1)  q = Sub (one, p)  y = Concat <axis: int = 1> (q, p)`, `n = Sub (s1, s1)  y = Concat <axis: int = 1> (n, s1)`, "cross-entropy", "holds probabilities of two classes by Sigmoid"},
		{"likelihood", `y = LogSoftmax <axis: int = 1> (z)`, `y = LogSoftmax <axis: int = 1> (z)  same = Identity (y)`, "nll", "the nll is computed from the logits before it, z"},
		{"binary", `y = Sigmoid (z)`, `n = Neg (z)  e = Exp (n)  f = Add (e, one)  y = Div (one, f)`, "bce", "the bce is computed from the logits before it, z"},
		{"binary with logits", `y = Sigmoid (z)`, `y = Identity (z)`, "bce-with-logits", "the bce-with-logits is computed from the logits before it, z"},
		{"likelihood of probabilities", `y = Softmax <axis: int = 1> (z)`, `y = Softmax <axis: int = 1> (z)`, "nll", "the nll takes it for logarithms of probabilities"},
		{"binary of probabilities", `y = Softmax <axis: int = 1> (z)`, `y = Softmax <axis: int = 1> (z)`, "bce", ""},
		{"squared error of probabilities", `y = Softmax <axis: int = 1> (z)`, `y = Softmax <axis: int = 1> (z)`, "mse", ""},
		{"sigmoid under cross-entropy", `y = Sigmoid (z)`, `y = Sigmoid (z)`, "cross-entropy", "takes it for logits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := pass.Options{Loss: pass.LossOptions{Row: c.row, Reduction: "mean"}}
			run := func(end string) (map[string]*kernel.Tensor, *pass.Ctx) {
				text := start + end + " }"
				if strings.Contains(end, "Concat") {
					text = strings.Replace(text, "float[N,3] y", "float[N,2] y", 1)
				}
				m := passtest.Parse(t, text)
				got, ctx := passtest.Apply(t, m, o, normalize.Pass, layers.Pass, loss.AttachPass)
				feeds := passtest.Feeds(t, got, 1, map[string]int64{"N": 4})
				for i := range feeds["target"].Len() {
					if feeds["target"].Elem == graph.Int64 {
						kernel.Data[int64](feeds["target"])[i] %= 2
					}
				}
				return map[string]*kernel.Tensor{"loss": passtest.Eval(t, got, feeds)["loss"]}, ctx
			}
			want, _ := run(c.plain)
			got, ctx := run(c.end)
			passtest.Same(t, want, got, 1e-6)
			if notes := strings.Join(ctx.Report.Notes, "; "); !strings.Contains(notes, c.note) || c.note == "" && strings.Contains(notes, "output y holds") {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
}

// TestUnreached: parameters that the loss does not depend on are named.
func TestUnreached(t *testing.T) {
	m := passtest.Parse(t, `<ir_version: 8, opset_import: ["" : 17]>
g (float[N,2] x) => (float[N,2] y, float[N,2] aux) <float[2,2] "a.weight" = {1,2,3,4}, float[2,2] "b.weight" = {1,2,3,4}, float[2,2] "c.weight" = {1,2,3,4}> {
	h = MatMul (x, "a.weight")  k = MatMul (x, "c.weight")  f = Floor (k)  y = Add (h, f)
	u = MatMul (h, "b.weight")  aux = Add (u, k) }`)
	_, ctx := passtest.Apply(t, m, pass.Options{Loss: pass.LossOptions{Row: "mse", Reduction: "mean"}}, normalize.Pass, layers.Pass, loss.AttachPass)
	if notes := strings.Join(ctx.Report.Notes, "; "); !strings.Contains(notes, "does not depend on b.weight, c.weight:") {
		t.Errorf("notes %q", notes)
	}
}
