package capture

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// twin is a second evaluation of the model at other values of its parameters. What does not depend on the parameters is
// shared: inputs, dropout masks, noise. Running statistics are not updated a second time, for nothing uses the copies.
type twin struct {
	vals   map[*graph.Value]*graph.Value // what stands for the values of the first evaluation
	logits *graph.Value
}

// evaluate copies the computations from the parameters to the logits; at gives the parameters' other values. The copy has
// no Layer tags: those of the first evaluation speak for both.
func (w *writer) evaluate(at map[*graph.Value]*graph.Value) *twin {
	t := &twin{vals: map[*graph.Value]*graph.Value{}}
	for p, v := range at {
		t.vals[p] = v
	}
	needed := ancestors(w.logits)
	for n := range w.b.Graph.Nodes() {
		if !needed[n] || pass.Declares(n) || !t.depends(n) { // noise whose shape depends on the parameters is shared too
			continue
		}
		if n.Is(graph.Asdl, graph.TagLayer) {
			t.vals[n.Out(0)] = t.of(n.In(0))
			continue
		}
		if n.Is("", "BatchNormalization") && n.Int("training_mode", 0) == 1 {
			w.copyBatchNorm(n, t.vals)
			continue
		}
		graph.CopyNode(w.b.Builder, n, t.vals)
	}
	t.logits = t.of(w.logits)
	return t
}

// copyBatchNorm copies a batch normalisation by batch statistics with other tensors in the place of the running ones, which
// its first output does not depend on: onnxruntime writes the next running statistics over the inputs, a second time for
// a second node that reads the same.
func (w *writer) copyBatchNorm(n *graph.Node, vals map[*graph.Value]*graph.Value) {
	const mean, variance = 3, 4
	for _, i := range []int{mean, variance} {
		vals[n.In(i)] = w.b.Neg(n.In(i))
	}
	graph.CopyNode(w.b.Builder, n, vals)
	delete(vals, n.In(mean))
	delete(vals, n.In(variance))
}

// of is what stands for v.
func (t *twin) of(v *graph.Value) *graph.Value {
	if w, ok := t.vals[v]; ok {
		return w
	}
	return v
}

// depends reports whether n, or a graph nested in it, uses a value that another stands for.
func (t *twin) depends(n *graph.Node) bool {
	for _, v := range reads(n) {
		if _, ok := t.vals[v]; ok {
			return true
		}
	}
	return false
}

// reads lists the values that n and the graphs nested in it use.
func reads(n *graph.Node) []*graph.Value {
	vs := append([]*graph.Value{}, n.Inputs()...)
	for _, g := range n.Graphs() {
		vs = append(vs, g.Outputs()...)
		for inner := range g.All() {
			vs = append(vs, inner.Inputs()...)
			for _, deep := range inner.Graphs() {
				vs = append(vs, deep.Outputs()...)
			}
		}
	}
	return vs
}

// ancestors are the nodes of v's graph on which v depends.
func ancestors(v *graph.Value) map[*graph.Node]bool {
	g, seen := v.Graph(), map[*graph.Node]bool{}
	var visit func(v *graph.Value)
	visit = func(v *graph.Value) {
		if v == nil || v.Def() == nil || v.Graph() != g || seen[v.Def()] {
			return
		}
		seen[v.Def()] = true
		for _, u := range reads(v.Def()) {
			visit(u)
		}
	}
	visit(v)
	return seen
}
