// Package passes is the front door of the compiler: the pass tables and Instrument.
package passes

import (
	"github.com/asdlc/asdlc/passes/autodiff"
	"github.com/asdlc/asdlc/passes/capture"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/dropout"
	"github.com/asdlc/asdlc/passes/layers"
	"github.com/asdlc/asdlc/passes/legalize"
	"github.com/asdlc/asdlc/passes/loss"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/precondition"
	"github.com/asdlc/asdlc/passes/products"
	"github.com/asdlc/asdlc/passes/update"
)

// Read is the table that brings a file's model to tagged layers.
var Read = []pass.Pass{
	normalize.Pass,
	layers.Pass, // needs types, and constants folded into initializers
}

// Train is the table that turns tagged layers into a tagged training step.
var Train = []pass.Pass{
	dropout.Pass, // before anything differentiates it
	loss.AttachPass,
	capture.Pass,      // writes the requests for gradients and samples
	loss.ExpandPass,   // before autodiff, which expands the requests that are left
	autodiff.Pass,     // on the whole graph once, so that passes share what they can
	precondition.Pass, // reads the gradients
	update.Pass,
	products.Pass, // what the directions are multiplied of
	cleanup.Pass,  // also moves what only a refresh needs into its If
}

// Export is the table that turns a tagged training step into a step graph.
var Export = []pass.Pass{
	legalize.Pass,
	cleanup.Pass, // what the declarations left behind
}

// All lists every pass once, for listings and for running single passes.
func All() []pass.Pass {
	var all []pass.Pass
	seen := map[string]bool{}
	for _, table := range [][]pass.Pass{Read, Train, Export} {
		for _, p := range table {
			if !seen[p.Name] {
				seen[p.Name] = true
				all = append(all, p)
			}
		}
	}
	return all
}
