package passes

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/normalize"
)

// Place tells where a parameter of a step graph goes in the file that the step graph was made from: under which name, and
// whether transposed. A parameter that is in no place goes under its own name.
type Place = normalize.Place

// Restore makes a copy of a file's model that has room for trained parameters of the given names, and tells the places of
// those that have other names in it. Parameters that the exporter had merged have initializers of their own in the copy; tied
// ones that the file has twice have two places.
func Restore(file *graph.Model, names []string) (*graph.Model, []Place, error) {
	return normalize.Restore(file, names)
}

// Named is a copy of a file's model whose parameters have the names that they have in a step graph made from it; names are
// those of the step graph's parameters.
func Named(file *graph.Model, names []string, logits string) (*graph.Model, error) {
	return normalize.Named(file, names, logits)
}

// Computable is a copy of a file's model of standard operators alone, as far as training needs it: without outputs that
// cannot be computed, and with the tensor that logits names, if any, as an output.
func Computable(file *graph.Model, logits string) (*graph.Model, error) {
	return normalize.Computable(file, logits)
}
