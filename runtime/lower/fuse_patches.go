package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// matchPatchGram recognises P^T P for the rows P of patches that package precondition writes.
func matchPatchGram(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	if n.In(0) != n.In(1) || n.In(2) != nil || n.Int("transA", 0) == 0 || n.Int("transB", 0) != 0 || n.Float("alpha", 1) != 1 {
		return nil, nil
	}
	return patchesOf(n.In(0))
}

// matchPatchSum recognises the sum of the rows of P.
func matchPatchSum(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	if axes, ok := reducedAxes(n); !ok || n.Int("keepdims", 1) == 0 || !slices.Equal(axes, []int64{0}) {
		return nil, nil
	}
	return patchesOf(n.In(0))
}

// matchPatchColumns recognises some elements of patches.
func matchPatchColumns(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	if n.Int("axis", 0) != 1 || n.In(0).Type.Rank() != 3 || n.In(1).Type.Rank() != 1 {
		return nil, nil
	}
	in, attrs := patchesIn(n.In(0))
	if in == nil {
		return nil, nil
	}
	return append(in, n.In(1)), attrs
}

// patchesOf recognises a matrix whose rows are the patches of an image, made by a convolution of each channel with one-hot
// filters, and gives the image and the geometry.
func patchesOf(rows *graph.Value) ([]*graph.Value, []graph.Attr) {
	if rows.Type.Rank() != 2 {
		return nil, nil
	}
	last := rows.Type.Dims[1]
	for made(rows, "Reshape") != nil {
		in := rows.Def().In(0)
		if r := in.Type.Rank(); r < 1 || in.Type.Dims[r-1] != last {
			break
		}
		rows = in
	}
	return patchesIn(transposed(rows, 0, 2, 1))
}

// patchesIn does that for [N, k, P].
func patchesIn(planes *graph.Value) ([]*graph.Value, []graph.Attr) {
	if r := made(planes, "Reshape"); r != nil && r.In(0).Type.Rank() > 3 && samePlanes(r) {
		planes = r.In(0)
	}
	conv := made(planes, "Conv")
	if conv == nil || conv.In(2) != nil || conv.Str("auto_pad", "NOTSET") != "NOTSET" {
		return nil, nil
	}
	x, kernel := conv.In(0), conv.IntList("kernel_shape")
	if x.Type.Rank() < 3 {
		return nil, nil
	}
	if channels, ok := x.Type.Dims[1].Size(); !ok || conv.Int("group", 1) != channels || !oneHot(conv.In(1), kernel) {
		return nil, nil
	}
	attrs := []graph.Attr{graph.Is("kernel_shape", kernel...)}
	for _, name := range []string{"strides", "dilations", "pads"} {
		if list := conv.IntList(name); len(list) > 0 {
			attrs = append(attrs, graph.Is(name, list...))
		}
	}
	return []*graph.Value{x}, attrs
}

// samePlanes reports whether a Reshape joins all dimensions but the first two.
func samePlanes(reshape *graph.Node) bool {
	from, to := reshape.In(0).Type.Dims, reshape.Out(0).Type.Dims
	return len(to) == 3 && from[1] == to[1] && !from[1].IsUnknown() && from[0] == to[0] && !from[0].IsUnknown()
}

// oneHot reports whether filters, [C*k, 1, kernel...], are C times the filters that pick each of the k elements.
func oneHot(filters *graph.Value, kernel []int64) bool {
	if n := made(filters, "Tile"); n != nil {
		repeats := n.In(1).Const()
		if repeats == nil || slices.ContainsFunc(graph.Data[int64](repeats)[1:], func(r int64) bool { return r != 1 }) {
			return false
		}
		filters = n.In(0)
	}
	t, k := filters.Const(), int64(1)
	for _, n := range kernel {
		k *= n
	}
	shape, ok := filters.Type.Static()
	if t == nil || !ok || len(shape) != len(kernel)+2 || shape[0]%k != 0 || shape[1] != 1 || !slices.Equal(shape[2:], kernel) {
		return false
	}
	switch t.Elem {
	case graph.Float32:
		return isEyes(graph.Data[float32](t), int(k))
	case graph.Float64:
		return isEyes(graph.Data[float64](t), int(k))
	}
	return false
}

// isEyes reports whether x is a stack of identity matrices of side k.
func isEyes[T float32 | float64](x []T, k int) bool {
	for i, v := range x {
		want := T(0)
		if i%(k*k)%(k+1) == 0 {
			want = 1
		}
		if v != want {
			return false
		}
	}
	return true
}
