package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// scanLoop writes a Scan as a Loop over the positions of its scanned inputs.
func scanLoop(c *Call) []*graph.Value {
	body, in := c.subgraph("body"), c.N.Inputs()
	scanned := int(c.N.Int("num_scan_inputs", 0))
	states := len(in) - scanned
	if scanned < 1 || states < 0 {
		return c.unsupported("num_scan_inputs=%d does not fit %d inputs", scanned, len(in))
	}
	for _, v := range in {
		if !v.Type.Ranked {
			return c.unsupported("the rank of %s is not known; fix the input shapes of the model", v)
		}
	}
	axisOf := func(k int) int {
		return int(axis(listed(c.N, "scan_input_axes", k), in[states+k].Type.Rank()))
	}
	trips := c.Squeeze(c.DimOf(in[states], axisOf(0)), 0)
	outs := c.emitLoop("scan", trips, nil, in[:states], nil, func(b *op.Builder, iteration *graph.Value, now []*graph.Value) []*graph.Value {
		back := b.Sub(b.Sub(trips, b.Int(1)), iteration)
		args := append([]*graph.Value{}, now...)
		for k := range scanned {
			at := iteration
			if listed(c.N, "scan_input_directions", k) == 1 {
				at = back
			}
			args = append(args, b.Gather(in[states+k], at, int64(axisOf(k))))
		}
		results := inline(b, body, args)
		return own(b, results, results)
	}, len(body.Outputs())-states)
	for i := states; i < len(outs); i++ {
		outs[i] = c.scanResult(outs[i], listed(c.N, "scan_output_axes", i-states), listed(c.N, "scan_output_directions", i-states))
	}
	return outs
}

// listed is entry k of an ints attribute, 0 if it is not there.
func listed(n *graph.Node, name string, k int) int64 {
	if v := n.IntList(name); k < len(v) {
		return v[k]
	}
	return 0
}

// scanResult puts the scanned axis, now the first, where Scan wants it.
func (c *Call) scanResult(v *graph.Value, to, direction int64) *graph.Value {
	if direction == 1 {
		v = c.Op("Slice", []*graph.Value{v, c.Ints(-1), c.Ints(-1 << 62), c.Ints(0), c.Ints(-1)})
	}
	rank := v.Type.Rank()
	if to = axis(to, rank); to == 0 || rank < 2 {
		return v
	}
	perm := make([]int64, 0, rank)
	for i := int64(1); i < int64(rank); i++ {
		perm = append(perm, i)
	}
	perm = append(perm[:to], append([]int64{0}, perm[to:]...)...)
	return c.Transpose(v, perm...)
}
