package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// batchedScan brings a Scan of opset 8, whose states are [batch, ...] and whose scan inputs and outputs are [batch, length,
// ...], into the form of opset 9: a Scan over the batch, without states, of a Scan over the sequence.
func batchedScan(_ *pass.Ctx, n *graph.Node) error {
	if n.In(0) != nil {
		return n.Errorf(graph.ErrUnsupported, "sequences of different lengths (sequence_lens) cannot be raised to a newer opset; export the model again with opset %d or later", lowest)
	}
	body, ok := n.Attr("body")
	if !ok || body.G == nil {
		return n.Errorf(graph.ErrInvalid, "attribute body holds no graph")
	}
	if len(n.Outputs()) != len(body.G.Outputs()) {
		return n.Errorf(graph.ErrInvalid, "%d outputs, but the body has %d", len(n.Outputs()), len(body.G.Outputs()))
	}
	batch := n.Graph().NewNested(body.G.Name + "/batch")
	var parts []*graph.Value
	for _, v := range n.Inputs()[1:] {
		t := v.Type
		if t.Ranked && len(t.Dims) > 0 {
			t.Dims = t.Dims[1:]
		}
		parts = append(parts, batch.AddInput(v.Name, t))
	}
	var names []string
	for _, v := range body.G.Outputs() {
		names = append(names, v.Name)
	}
	inner := batch.AddNode("", "Scan", parts, names, body, graph.I("num_scan_inputs", n.Int("num_scan_inputs", 0)))
	inner.Scope = n.Scope
	if back := n.IntList("directions"); back != nil {
		inner.SetAttr(graph.Is("scan_input_directions", back...))
		n.RemoveAttr("directions")
	}
	for _, v := range inner.Outputs() {
		batch.AddOutput(v)
	}
	n.SetAttr(graph.G("body", batch))
	n.SetAttr(graph.I("num_scan_inputs", int64(len(parts))))
	n.SetInputs(n.Inputs()[1:]...)
	return nil
}
