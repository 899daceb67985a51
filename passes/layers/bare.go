package layers

import "github.com/asdlc/asdlc/graph"

// embedding recognises Gather of rows of a parameter by integers that are data. Positions are not: where the same rows
// are picked for every example, the parameter is a bare one.
func embedding(f *finder, n *graph.Node) (*layer, error) {
	w, ids := n.In(0), n.In(1)
	if !isParam(w, 2) || n.Int("axis", 0) != 0 || !f.data[ids] {
		return nil, nil
	}
	return &layer{z: n.Out(0), x: ids, w: w}, nil
}

// bare recognises the product or sum of data and a parameter that is broadcast to it.
func bare(f *finder, n *graph.Node) (*layer, error) {
	for i, w := range n.Inputs() {
		x := n.In(1 - i)
		if _, ok := param(w); !ok || !f.data[x] || !x.Type.Elem.IsFloat() {
			continue
		}
		if x.Type.Ranked && w.Type.Rank() > x.Type.Rank() {
			continue
		}
		return &layer{z: n.Out(0), x: x, w: w}, nil
	}
	return nil, nil
}
