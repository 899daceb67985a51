// Package normalize brings a model from any exporter into the one form that the later passes expect: typed, at one
// opset version, without Constant nodes, functions of the file or identities, and with training forms of operators that
// exporters freeze.
package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the whole of normalization.
var Pass = pass.Pass{
	Name: "normalize",
	Doc: "bring a model from any exporter into one form\n\n" +
		"Inlines functions, turns constants into initializers, raises the opset, un-merges parameters that an exporter\n" +
		"merged because they were equal, folds shape arithmetic, recognises LayerNorm written out in primitives, and\n" +
		"switches BatchNormalization to the mode asked for.",
	Gives: []pass.Prop{pass.Normal},
	Run:   Run,
}

// step is one rewrite of the whole model.
type step struct {
	name string
	run  func(*pass.Ctx, *graph.Model) error
}

// steps, in order. Types are known from inferTypes on.
var steps = []step{
	{"defaults", defaults},
	{"opset", raiseOpset},
	{"inline", inline},
	{"constants", constants},
	{"hoist", hoist},
	{"identities", identities},
	{"dropout", dropout},
	{"batchnorm", batchNorm},
	{"types", inferTypes},
	{"casts", casts},
	{"fold", fold},
	{"sweep", sweep},
	{"types", inferTypes},
}

// Run normalizes m.
func Run(c *pass.Ctx, m *graph.Model) error {
	for _, s := range steps {
		if err := s.run(c, m); err != nil {
			return err
		}
	}
	return nil
}

func inferTypes(_ *pass.Ctx, m *graph.Model) error { return op.InferGraph(m) }

// sweep removes nodes and initializers that nothing uses.
func sweep(_ *pass.Ctx, m *graph.Model) error {
	sweepGraph(m.Graph)
	return nil
}

func sweepGraph(g *graph.Graph) {
	for n := range g.Backward() {
		if !used(n) {
			n.Remove()
			continue
		}
		for _, sub := range n.Graphs() {
			sweepGraph(sub)
		}
	}
	for _, v := range append([]*graph.Value{}, g.Initializers()...) {
		if v.IsInitializer() && len(v.Uses()) == 0 && !v.IsOutput() {
			g.RemoveValue(v)
		}
	}
}

// used reports whether any output of n has a use. The declarations and statements of the domain asdl count as used.
func used(n *graph.Node) bool {
	for _, o := range n.Outputs() {
		if o != nil && (len(o.Uses()) > 0 || o.IsOutput()) {
			return true
		}
	}
	return false
}
