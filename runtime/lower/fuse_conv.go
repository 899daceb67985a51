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
	swap := swapOfTwo(rank)
	result := transposed(n.Out(0), swap...)
	if cut := made(result, "Slice"); cut != nil && fromStart(cut) {
		result = cut.In(0)
	}
	shape, ok := n.Out(0).Type.Static()
	if !ok || len(shape) != rank {
		return nil, nil
	}
	return weightGradOf(made(result, "Conv"), shape, swap)
}

// matchSwappedWeightGrad recognises the same where the result is not cut and exchanged at once, but used as it is: in a sum of two
// such gradients, as second derivatives have it.
func matchSwappedWeightGrad(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	shape, ok := n.Out(0).Type.Static()
	if !ok || len(shape) < 3 || n.In(1).Type.Rank() != len(shape) || n.Int("group", 1) != 1 {
		return nil, nil
	}
	dilations := n.IntList("dilations")
	for i, d := range n.In(1).Type.Dims[2:] {
		size, ok := d.Size()
		if i < len(dilations) {
			size *= dilations[i]
		}
		if !ok || size < shape[i+2] { // filters smaller than the result: not what the kernel is for
			return nil, nil
		}
	}
	for _, u := range n.Out(0).Uses() {
		if u.Node.Is("", "Transpose") || u.Node.Is("", "Slice") { // matchConvWeightGrad's
			return nil, nil
		}
	}
	swap := swapOfTwo(len(shape))
	return weightGradOf(n, append([]int64{shape[1], shape[0]}, shape[2:]...), swap)
}

// swapOfTwo exchanges the first two dimensions.
func swapOfTwo(rank int) []int64 {
	swap := []int64{1, 0}
	for i := 2; i < rank; i++ {
		swap = append(swap, int64(i))
	}
	return swap
}

// weightGradOf are the inputs and attributes of asdl.ConvWeightGrad for a gradient of the given shape, which conv computes with the
// first two dimensions exchanged.
func weightGradOf(conv *graph.Node, shape, swap []int64) ([]*graph.Value, []graph.Attr) {
	if conv == nil || conv.In(2) != nil || conv.Str("auto_pad", "NOTSET") != "NOTSET" {
		return nil, nil
	}
	group := conv.Int("group", 1)
	g := transposed(conv.In(1), swap...)
	x := transposed(conv.In(0), swap...)
	if group != 1 {
		x = ungrouped(conv.In(0), group, shape[1])
	}
	if g == nil || x == nil || x.Type.Rank() != len(shape) {
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
