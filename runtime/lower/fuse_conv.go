package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// matchConvWeightGrad recognises the gradient of Conv in its weight as the rule of package autodiff writes it: the input
// convolved with the output gradient, batch and channels exchanged in both and in the result, strides and dilations too,
// and cut to the size of the kernel.
func matchConvWeightGrad(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	rank := n.Out(0).Type.Rank()
	if rank < 3 {
		return nil, nil
	}
	swap := []int64{1, 0}
	for i := 2; i < rank; i++ {
		swap = append(swap, int64(i))
	}
	result := transposed(n.Out(0), swap...)
	if cut := made(result, "Slice"); cut != nil && fromStart(cut) {
		result = cut.In(0)
	}
	conv := made(result, "Conv")
	shape, ok := n.Out(0).Type.Static()
	if conv == nil || !ok || len(shape) != rank || conv.In(2) != nil || conv.Str("auto_pad", "NOTSET") != "NOTSET" {
		return nil, nil
	}
	group := conv.Int("group", 1)
	g := transposed(conv.In(1), swap...)
	x := transposed(conv.In(0), swap...)
	if group != 1 {
		x = ungrouped(conv.In(0), group, shape[1])
	}
	if g == nil || x == nil || x.Type.Rank() != rank {
		return nil, nil
	}
	attrs := []graph.Attr{graph.I("group", group), graph.Is("kernel_shape", shape[2:]...)}
	for _, swapped := range [][2]string{{"strides", "dilations"}, {"dilations", "strides"}, {"pads", "pads"}} {
		if list := conv.IntList(swapped[1]); len(list) > 0 {
			attrs = append(attrs, graph.Is(swapped[0], list...))
		}
	}
	return []*graph.Value{x, g}, attrs
}

// fromStart reports whether a Slice takes leading parts of its axes, every element of them.
func fromStart(n *graph.Node) bool {
	if n.In(4) != nil || n.In(1) == nil || n.In(1).Const() == nil || n.In(1).Type.Elem != graph.Int64 {
		return false
	}
	return !slices.ContainsFunc(graph.Data[int64](n.In(1).Const()), func(s int64) bool { return s != 0 })
}

// ungrouped is x of [N, g*C, ...] from which v of [C, g*N, ...] was made.
func ungrouped(v *graph.Value, group, per int64) *graph.Value {
	last := made(v, "Reshape")
	if last == nil {
		return nil
	}
	split := made(transposed(last.In(0), 2, 1, 0, 3), "Reshape")
	if split == nil || split.Out(0).Type.Rank() != 4 {
		return nil
	}
	g, ok1 := split.Out(0).Type.Dims[1].Size()
	c, ok2 := split.Out(0).Type.Dims[2].Size()
	x := split.In(0)
	channels, ok3 := int64(0), x.Type.Rank() > 1
	if ok3 {
		channels, ok3 = x.Type.Dims[1].Size()
	}
	if !ok1 || !ok2 || !ok3 || g != group || c != per || channels != group*per {
		return nil
	}
	return x
}
