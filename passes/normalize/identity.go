package normalize

import (
	"regexp"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// identities removes Identity nodes.
func identities(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.All() {
		if !n.Is("", "Identity") || n.In(0) == nil {
			continue
		}
		v, src := n.Out(0), n.In(0)
		if !pass.TakesName(v, src) {
			for _, u := range slices.Clone(v.Uses()) {
				u.Node.SetInput(u.Index, src)
			}
			continue
		}
		pass.Replace(v, src)
		n.Remove()
	}
	return nil
}

// computed matches the names that exporters give to results of nodes.
var computed = regexp.MustCompile(`_output_\d+$|^\d+$|:\d+$`)

// casts removes casts of values to the type that they have.
func casts(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.All() {
		if !n.Is("", "Cast") || n.In(0).Type.Elem != graph.Elem(n.Int("to", 0)) || !pass.TakesName(n.Out(0), n.In(0)) {
			continue
		}
		pass.Replace(n.Out(0), n.In(0))
		n.Remove()
	}
	return nil
}
