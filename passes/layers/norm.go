package layers

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// affineOf are scale and shift of a normalisation, nil where they are no parameters.
func affineOf(n *graph.Node) (w, b *graph.Value) {
	if p, ok := param(n.In(1)); ok {
		w = p
	}
	if p, ok := param(n.In(2)); ok {
		b = p
	}
	return w, b
}

func batchNorm(f *finder, n *graph.Node) (*layer, error) {
	w, b := affineOf(n)
	if w == nil && b == nil || !f.data[n.In(0)] {
		return nil, nil
	}
	l := &layer{z: n.Out(0), x: n.In(0), w: w, b: b, attrs: []graph.Attr{graph.F("epsilon", n.Float("epsilon", 1e-5))}}
	if n.Int("training_mode", 0) == 0 {
		l.more = []*graph.Value{n.In(3), n.In(4)}
	}
	return l, nil
}

func layerNorm(f *finder, n *graph.Node) (*layer, error) {
	w, b := affineOf(n)
	if w == nil && b == nil || !f.data[n.In(0)] {
		return nil, nil
	}
	return &layer{z: n.Out(0), x: n.In(0), w: w, b: b, attrs: []graph.Attr{
		graph.F("epsilon", n.Float("epsilon", 1e-5)), graph.I("axis", n.Int("axis", -1)),
	}}, nil
}

// groupNorm recognises normalisations over the positions of groups of channels. num_groups is 0 for instances: as many as
// there are channels.
func groupNorm(f *finder, n *graph.Node) (*layer, error) {
	w, b := affineOf(n)
	if w == nil && b == nil || !f.data[n.In(0)] {
		return nil, nil
	}
	return &layer{z: n.Out(0), x: n.In(0), w: w, b: b, attrs: []graph.Attr{
		graph.F("epsilon", n.Float("epsilon", 1e-5)), graph.I("num_groups", n.Int("num_groups", 0)),
	}}, nil
}

// nextStatistics gives the running statistics of every BatchNormalization in training mode a next value. Where one module is
// applied several times, the statistics pass through the applications in order.
func nextStatistics(m *graph.Model) error {
	latest := map[*graph.Value]*graph.Value{}
	var order []*graph.Value
	for n := range m.Graph.Nodes() {
		if !n.Is("", "BatchNormalization") || n.Int("training_mode", 0) == 0 {
			continue
		}
		for i := 1; i <= 2; i++ {
			in, out := n.In(i+2), n.Out(i)
			if p, ok := pass.ParamOf(in); !ok || p.Kind != "buffer" || out == nil {
				continue
			}
			if v, seen := latest[in]; seen {
				n.SetInput(i+2, v)
			} else {
				order = append(order, in)
			}
			latest[in] = out
		}
	}
	b := op.NewBuilder(m, m.Graph)
	for _, in := range order {
		pass.Next(b, in, latest[in])
	}
	return b.Err()
}
