package capture

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// elementwise are operators of one tensor that act on each element by itself.
var elementwise = []string{
	"Relu", "Tanh", "Sigmoid", "Gelu", "Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "Softplus", "Softsign", "HardSigmoid",
	"HardSwish", "Mish", "Swish", "Erf", "Exp", "Sin", "Cos", "Identity", "Neg", "Abs", "Sqrt", "Log", "Reciprocal",
}

// above follows the output of l through element-wise operators to the input of the next layer, or to the logits, where next is
// "". Else reason says why there is no such chain.
func above(layers []pass.Layer, logits *graph.Value, l pass.Layer) (next string, slopeOf *graph.Value, reason string) {
	v := l.Out
	for {
		if v == logits {
			return "", nil, ""
		}
		for _, o := range layers {
			if o.X == v && o.Kind == graph.LayerLinear {
				if countUses(v) == 1 {
					return o.Name, v, ""
				}
				return "", nil, "its output feeds more than the next layer"
			}
		}
		var users []*graph.Node
		for _, u := range v.Uses() {
			if u.Node.Domain != graph.Asdl {
				users = append(users, u.Node)
			}
		}
		if len(users) != 1 || v.IsOutput() {
			return "", nil, "its output has several uses"
		}
		if n := users[0]; n.Domain != "" || !slices.Contains(elementwise, n.Op) {
			return "", nil, "its output feeds " + n.Op + ", which is no element-wise function in front of a linear layer"
		}
		v = users[0].Out(0)
	}
}

// chains leaves out the blocks of records with source recursive that are not part of a chain of linear layers and element-wise
// functions up to the logits, and tells them apart by the attribute "next" of their Layer tags.
func chains(g *graph.Graph, records []method.Record, blocks []block) []block {
	losses := pass.Tags(g, graph.TagLoss)
	if len(losses) != 1 {
		return blocks
	}
	layers, served := pass.LayersOf(g), map[string]bool{}
	for i := len(blocks) - 1; i >= 0; i-- { // the last layer first
		bl := blocks[i]
		if records[bl.Record].Curvature.Source != "recursive" {
			continue
		}
		l := bl.Layers[0]
		next, _, reason := above(layers, losses[0].In(1), l)
		switch {
		case l.Kind != graph.LayerLinear:
			reason = "the recursion is for linear layers, not " + l.Kind
		case len(bl.Layers) > 1 || l.X.Type.Rank() > 2:
			reason = "the recursion is for layers used once for each example"
		case reason == "" && next != "" && !served[next]:
			reason = "the layer above it, " + next + ", is not part of the recursion"
		}
		if reason != "" {
			l.Node.SetAttr(graph.S("uncovered", reason))
			blocks = slices.Delete(blocks, i, i+1)
			continue
		}
		served[l.Name] = true
	}
	return blocks
}

// recursive requests what output factors by recursion take: for the layer that makes the logits the columns of a root of the
// Hessian, for the others the slopes of the functions between them and the next layer.
func (w *writer) recursive(g *graph.Graph, blocks []block) error {
	layers := pass.LayersOf(g)
	for _, bl := range blocks {
		next, v, _ := above(layers, w.logits, bl.Layers[0])
		if next == "" {
			if err := w.exact([]block{bl}); err != nil {
				return err
			}
			continue
		}
		w.b.Prefix = "slope/"
		slope := w.b.OnesLike(v)
		if v != bl.Layers[0].Out {
			slope = w.request(v, nil, []*graph.Value{bl.Layers[0].Out})[0]
		}
		w.tag([]block{bl}, graph.CaptureSlope, []*graph.Value{slope}, nil, 0, graph.S("next", next))
	}
	return nil
}

// inputs tags the inputs of layers of which nothing else is needed.
func (w *writer) inputs(blocks []block) {
	var xs []*graph.Value
	for _, bl := range blocks {
		for _, l := range bl.Layers {
			xs = append(xs, l.X)
		}
	}
	w.tag(blocks, graph.CaptureIn, xs, nil, 0)
}
