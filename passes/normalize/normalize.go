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
	{"classical", classical},
	{"cut", cut},
	{"parameters", own},
	{"opset", raiseOpset},
	{"inline", inline},
	{"constants", constants},
	{"hoist", hoist},
	{"identities", identities},
	{"sequences", sequences},
	{"dropout", dropout},
	{"batchnorm", batchNorm},
	{"types", inferTypes},
	{"casts", casts},
	{"pads", padOrder},
	{"fold", fold},
	{"patterns", patterns},
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

// fold replaces values that inference knows by constants.
func fold(_ *pass.Ctx, m *graph.Model) error {
	pass.Fold(m)
	pass.Sweep(m.Graph, nil)
	return nil
}

// sweep removes what nothing uses.
func sweep(_ *pass.Ctx, m *graph.Model) error {
	pass.Sweep(m.Graph, nil)
	return nil
}
