package runtime

import (
	"errors"
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// ExportWeights copies original with other values for its parameters and buffers, by their names in the file; it shares the
// memory of weights, which must not be written to while it is in use. Everything else stays as it is. A parameter that the exporter had merged with an equal one, so that the file has an Identity in
// its place, gets an initializer of its own; one held by a Constant node stays there. Float64 values of a float32 parameter
// are rounded. For parameters that have other names in the file than in the step graph, see passes.Restore. A name that the file does not have, or another type or shape, is an error of kind ErrFeed that names it.
func ExportWeights(original *graph.Model, weights map[string]*kernel.Tensor) (*graph.Model, error) {
	c := graph.Clone(original)
	values := map[string]*graph.Value{}
	collectValues(c.Graph, values)
	names := make([]string, 0, len(weights))
	for name := range weights {
		names = append(names, name)
	}
	slices.Sort(names) // the file must not depend on the order of a map
	var problems []error
	for _, name := range names {
		if err := setWeight(values[name], name, weights[name]); err != nil {
			problems = append(problems, err)
		}
	}
	return c, located(original, errors.Join(problems...))
}

// collectValues lists the values of g and the graphs nested in it by name.
func collectValues(g *graph.Graph, values map[string]*graph.Value) {
	for v := range g.Values() {
		values[v.Name] = v
	}
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			collectValues(sub, values)
		}
	}
}

// setWeight changes one parameter, wherever the file keeps it.
func setWeight(v *graph.Value, name string, t *kernel.Tensor) error {
	if v == nil {
		return fmt.Errorf("%w: no parameter %q; give the file that the training started from", ErrFeed, name)
	}
	old := heldBy(v)
	if old == nil {
		return fmt.Errorf("%w: %q is no parameter but %s", ErrFeed, name, definition(v))
	}
	if old.Elem == graph.Float32 {
		t = Narrow(t)
	}
	c, err := graph.RawTensor(t.Elem, wide(t.Shape), t.Raw)
	if err != nil {
		return fmt.Errorf("%w: parameter %q: %w", ErrFeed, name, err)
	}
	if c.Elem != old.Elem || !slices.Equal(c.Shape, old.Shape) {
		return fmt.Errorf("%w: parameter %q is %s in the file, %s in the training; give the file that the training started from",
			ErrFeed, name, old.Type(), c.Type())
	}
	switch n := v.Def(); {
	case n == nil && v.IsInput():
		v.Graph().SetDefault(v, c)
	case n == nil:
		v.SetConst(c)
	case n.Is("", "Constant"):
		n.SetAttr(graph.T("value", c))
	default: // Identity of an initializer
		g := v.Graph()
		own := g.AddInitializer(name, c)
		v.ReplaceUses(own)
		n.Remove()
		own.Rename(name)
	}
	return nil
}

// heldBy is the constant that v stands for: its own, that of a Constant node, or of the initializer that v is a copy of.
func heldBy(v *graph.Value) *graph.Tensor {
	n := v.Def()
	switch {
	case n == nil:
		return v.Const()
	case n.Is("", "Constant"):
		if a, ok := n.Attr("value"); ok {
			return a.T
		}
	case n.Is("", "Identity") && n.In(0) != nil:
		return heldBy(n.In(0))
	}
	return nil
}

func definition(v *graph.Value) string {
	if v.Def() != nil {
		return "computed by " + v.Def().String()
	}
	return "an input without a default"
}
