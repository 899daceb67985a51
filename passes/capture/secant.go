package capture

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// secant evaluates the model once more at the parameters' next values, on the same batch: it requests the gradients in the
// outputs of the blocks' layers there, and marks outputs and gradients. What the parameters' next values are, the pass
// update knows: until then a Next tag stands for each.
func (w *writer) secant(g *graph.Graph, blocks []block) {
	if len(blocks) == 0 {
		return
	}
	w.b.Prefix = "after/"
	at := map[*graph.Value]*graph.Value{}
	for _, p := range pass.Params(g, "param") {
		at[p.Value] = w.b.Tag(graph.TagNext, []*graph.Value{p.Value}, graph.S("of", p.Name()))
	}
	t := w.evaluate(at)
	var xs []*graph.Value
	var marks []func(grad, x *graph.Value)
	for _, bl := range blocks {
		if w.records[bl.Record].Solve.Kind == "lbfgs" { // pairs of the parameters themselves
			for _, p := range bl.Layers[0].Params() {
				xs, marks = append(xs, at[p.Value]), append(marks, func(grad, x *graph.Value) { w.tagParam(p, graph.CaptureNext, 0, grad, x) })
			}
			continue
		}
		for _, l := range bl.Layers {
			xs = append(xs, t.of(l.Out))
			marks = append(marks, func(grad, x *graph.Value) {
				w.b.Named(graph.Asdl, graph.TagCapture, []*graph.Value{grad, x}, []string{"capture/after/" + l.Name},
					graph.S("of", bl.Layers[0].Name), graph.S("what", graph.CaptureAfter))
			})
		}
	}
	seed, _ := w.seed(t.logits)
	for i, grad := range w.request(t.logits, seed, xs) {
		marks[i](grad, xs[i])
	}
}
