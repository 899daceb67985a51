package normalize

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// identities removes Identity nodes. An Identity of a floating-point initializer whose output has the name of a parameter
// is how exporters merge parameters that were equal at export; it becomes a parameter of its own again.
func identities(c *pass.Ctx, m *graph.Model) error {
	split := 0
	for n := range m.Graph.All() {
		if !n.Is("", "Identity") || n.In(0) == nil {
			continue
		}
		v, src := n.Out(0), n.In(0)
		if merged(src, v) {
			own := src.Graph().AddInitializer(v.Name, src.Const())
			v.ReplaceUses(own)
			pass.TakeName(v, own)
			n.Remove()
			split++
			continue
		}
		if !pass.TakesName(v, src) {
			for _, u := range slices.Clone(v.Uses()) {
				u.Node.SetInput(u.Index, src)
			}
			continue
		}
		pass.Replace(v, src)
		n.Remove()
	}
	if split > 0 {
		c.Note(fmt.Sprintf("%d parameters that the exporter had merged because they were equal are separate again", split))
	}
	return nil
}

// computed matches the names that exporters give to results of nodes.
var computed = regexp.MustCompile(`_output_\d+$|^\d+$|:\d+$`)

// merged reports whether v = Identity(src) stands for a parameter of its own.
func merged(src, v *graph.Value) bool {
	return src.IsInitializer() && src.Type.Elem.IsFloat() && !v.IsOutput() && !computed.MatchString(v.Name) &&
		(len(src.Uses()) > 1 || src.IsOutput())
}

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
