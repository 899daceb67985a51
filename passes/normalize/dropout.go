package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// dropout removes Dropout nodes that are not in training mode or have ratio 0. Those in training mode stay.
func dropout(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.All() {
		if !n.Is("", "Dropout") || drops(n) {
			continue
		}
		if mask := n.Out(1); mask != nil && (len(mask.Uses()) > 0 || mask.IsOutput()) {
			keepAll(n, mask)
		}
		pass.Replace(n.Out(0), n.In(0))
		n.Remove()
	}
	return nil
}

// drops reports whether a Dropout of opset 12 on can drop anything.
func drops(n *graph.Node) bool {
	mode := n.In(2)
	if mode == nil {
		return false
	}
	if mode.Const() != nil {
		if on, ok := mode.Const().Int64s(); ok && len(on) == 1 && on[0] == 0 {
			return false
		}
	}
	if ratio := n.In(1); ratio != nil && ratio.Const() != nil {
		if r, ok := ratio.Const().Float64s(); ok && len(r) == 1 && r[0] == 0 {
			return false
		}
	}
	return true
}

// keepAll replaces the mask of a Dropout by one that keeps everything.
func keepAll(n *graph.Node, mask *graph.Value) {
	g := n.Graph()
	shape := g.InsertNode(n, "", "Shape", []*graph.Value{n.In(0)}, []string{mask.Name + "/shape"}).Out(0)
	ones := g.InsertNode(n, "", "ConstantOfShape", []*graph.Value{shape}, []string{mask.Name + "/ones"}, graph.T("value", graph.TensorOf([]bool{true}, 1)))
	pass.Replace(mask, ones.Out(0))
}
