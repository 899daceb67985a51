package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// domainML is the operator set of classical machine learning.
const domainML = "ai.onnx.ml"

// scalers replaces ai.onnx.ml.Scaler, by which converters standardise inputs, by what it is: (x - offset) * scale with constants.
func scalers(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.Nodes() {
		if !n.Is(domainML, "Scaler") || n.In(0) == nil || n.In(0).Type.Elem != graph.Float32 {
			continue
		}
		x := n.In(0)
		for _, row := range []struct{ attr, op string }{{"offset", "Sub"}, {"scale", "Mul"}} {
			a, ok := n.Attr(row.attr)
			if !ok || len(a.Floats) == 0 {
				continue
			}
			k := constant(m.Graph, n, n.Out(0).Name+"/"+row.attr, graph.TensorOf(a.Floats, int64(len(a.Floats))))
			x = m.Graph.InsertNode(n, "", row.op, []*graph.Value{x, k}, []string{n.Out(0).Name + "/" + row.op}).Out(0)
		}
		m.Opsets[graph.Asdl] = 1
		pass.Replace(n.Out(0), x)
		n.Remove()
	}
	return nil
}
