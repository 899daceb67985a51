package graphtest

import (
	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
)

// sizes are plausible contents for an input of sizes, axes or the like of that name.
func (k *call) sizes(name string) ([]int64, bool) {
	dims, rank := k.first()
	list := func(n int, from ...int64) []int64 {
		v := make([]int64, n)
		for i := range v {
			v[i] = rapid.SampledFrom(from).Draw(k.T, name)
		}
		return v
	}
	switch name {
	case "axes":
		return k.someAxes(rank), true
	case "axis", "K", "depth":
		return list(1, 0, 1, 2, -1), true
	case "shape", "output_shape":
		switch {
		case k.schema.Name == "Expand":
			return k.known(dims), true
		case k.schema.Name == "Reshape" && k.chance(2):
			return append(list(k.below(3), 0, 1, 2, 3), -1), true
		case k.schema.Name == "Reshape":
			return list(max(rank, 1), 0, -1, 1), true
		}
		return list(k.below(4), 2, 3, 1, 4, 0), true
	case "size":
		return list(4+k.below(2), 2, 3), true
	case "image_shape":
		return list(2, 4, 5), true
	case "block_shape":
		return list(2, 1, 2), true
	case "pads":
		return list(2*rank, 0, 1, 2, -1), true
	case "repeats":
		return list(rank, 1, 2, 3, 0), true
	case "split":
		return list(1+k.below(3), 1, 2, 3), true
	case "starts":
		return list(1, 0, 1, -1, -2), true
	case "ends":
		return list(1, 2, 3, -1, 1<<40), true
	case "steps":
		return list(1, 1, 2, -1), true
	case "sizes":
		return list(rank, 2, 3, 5, 1), true
	case "indices":
		n := 1 + k.below(3)
		return list(n, 0, 1, -1), true
	}
	return nil, false
}

// known are sizes to expand dims to.
func (k *call) known(dims []graph.Dim) []int64 {
	v := make([]int64, len(dims))
	for i, d := range dims {
		n, ok := d.Size()
		if !ok || n == 1 && k.chance(2) {
			n = []int64{1, 1, 3}[k.below(3)]
		}
		v[i] = n
	}
	return v
}

func (k *call) someAxes(rank int) []int64 {
	var axes []int64
	for a := range rank {
		if k.chance(2) {
			axes = append(axes, int64(a-rank*k.below(2)))
		}
	}
	if len(axes) == 0 {
		axes = append(axes, 0)
	}
	return axes
}

// lead are shapes for the first operand of operators that others hardly fit.
var lead = map[string][]int64{
	"AffineGrid": {2, 2, 3}, "Det": {2, 3, 3}, "LinearAttention": {2, 3, 4}, "Col2Im": {2, 4, 12}, "OneHot": {3, 2}, "DepthToSpace": {1, 4, 2, 3},
	"RotaryEmbedding": {1, 2, 3, 4},
}

// weight is the shape of formal input i where it follows from the inputs before it.
func (k *call) weight(i int) ([]graph.Dim, bool) {
	dims, rank := k.first()
	if i == 0 || rank == 0 {
		return nil, false
	}
	last := dims[rank-1]
	two := graph.Known(2)
	spatial := func(lead ...graph.Dim) []graph.Dim {
		for range rank - 2 {
			lead = append(lead, graph.Known(int64(1+k.below(3))))
		}
		return lead
	}
	hidden := map[string]int64{"RNN": 1, "GRU": 3, "LSTM": 4}[k.schema.Name]
	switch name := k.schema.Name; {
	case name == "MatMul":
		return []graph.Dim{last, k.dim()}, true
	case name == "Gemm" && i == 1:
		return []graph.Dim{last, graph.Known(3)}, true
	case name == "Gemm":
		return []graph.Dim{graph.Known(3)}, true
	case name == "Conv" && i == 1:
		return spatial(two, dims[1]), true
	case name == "ConvTranspose" && i == 1:
		return spatial(dims[1], two), true
	case name == "Conv", name == "ConvTranspose":
		return []graph.Dim{two}, true
	case name == "BatchNormalization", name == "InstanceNormalization", name == "GroupNormalization":
		return []graph.Dim{dims[1]}, true
	case name == "LayerNormalization", name == "RMSNormalization":
		return []graph.Dim{last}, true
	case hidden > 0 && i == 1:
		return []graph.Dim{graph.Known(1), graph.Known(2 * hidden), last}, true
	case hidden > 0 && i == 2:
		return []graph.Dim{graph.Known(1), graph.Known(2 * hidden), two}, true
	case hidden > 0 && i == 3:
		return []graph.Dim{graph.Known(1), graph.Known(4 * hidden)}, true
	case hidden > 0 && i > 4 && i < 7:
		return []graph.Dim{graph.Known(1), dims[1], two}, true
	case name == "CausalConvWithState" && i == 1:
		return []graph.Dim{dims[1], graph.Known(1), two}, true
	case name == "GridSample":
		return append(append([]graph.Dim{dims[0]}, spatial()...), graph.Known(int64(rank-2))), true
	case (name == "SoftmaxCrossEntropyLoss" || name == "NegativeLogLikelihoodLoss") && i == 1 && rank > 1:
		return append([]graph.Dim{dims[0]}, dims[2:]...), true
	case (name == "SoftmaxCrossEntropyLoss" || name == "NegativeLogLikelihoodLoss") && rank > 1:
		return dims[1:2], true
	case hidden > 0 && i == 4:
		return dims[1:2], true
	case (name == "Scatter" || name == "ScatterElements"), name == "LinearAttention" && i < 3:
		return dims, true
	case name == "ScatterND" && i == 1:
		return []graph.Dim{two, graph.Known(1)}, true
	case name == "ScatterND":
		return append([]graph.Dim{two}, dims[1:]...), true
	case name == "OneHot":
		return []graph.Dim{graph.Known(int64(i))}, true
	case name == "PRelu" && rank > 1:
		return []graph.Dim{last}, true
	case name == "Resize" || name == "Upsample": // region of interest, scales
		return []graph.Dim{graph.Known(int64(rank * max(1, 3-i)))}, true
	}
	return nil, false
}

// attributes draws the attributes.
func (k *call) attributes() {
	for _, spec := range k.schema.Attrs {
		if !spec.Required && k.chance(2) {
			continue
		}
		if a, ok := k.attribute(spec.Name, spec.Kind); ok {
			k.attrs = append(k.attrs, a)
		}
	}
}

func (k *call) attribute(name string, kind graph.AttrKind) (graph.Attr, bool) {
	_, rank := k.first()
	switch kind {
	case graph.AttrInt:
		return graph.I(name, k.intAttr(name, rank)), true
	case graph.AttrInts:
		return k.intsAttr(name, rank)
	case graph.AttrFloat:
		return graph.F(name, rapid.SampledFrom([]float32{0.5, 1, 0, 2, -1}).Draw(k.T, name)), true
	case graph.AttrFloats:
		scales := []float32{1, 2, 0.5}
		v := make([]float32, rank)
		for i := range v {
			v[i] = scales[k.below(3)]
		}
		return graph.Fs(name, v...), name != "activation_alpha" && name != "activation_beta"
	case graph.AttrString:
		texts := map[string][]string{
			"auto_pad": {"SAME_UPPER", "VALID", "SAME_LOWER", "NOTSET"}, "direction": {"forward", "reverse", "bidirectional", "LEFT", "RIGHT"},
			"equation": {"ij,jk->ik", "ij->ji", "ii->i", "...ij,...jk->...ik", "i,i->", "bij->b", "ij,ij->i"}, "approximate": {"none", "tanh"},
			"reduction": {"none", "mean", "sum", "add", "mul", "max", "min"}, "padding_mode": {"zeros", "border", "reflection"},
			"mode": {"constant", "reflect", "edge", "wrap", "nearest", "linear", "cubic", "DCR", "CRD", "circular"}, "nearest_mode": {"floor", "ceil"},
			"coordinate_transformation_mode": {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"},
			"keep_aspect_ratio_policy":       {"stretch", "not_larger", "not_smaller"}, "update_rule": {"linear", "gated", "delta"},
			"activation": {"none", "silu"},
		}[name]
		if len(texts) == 0 {
			return graph.Attr{}, false
		}
		return graph.S(name, rapid.SampledFrom(texts).Draw(k.T, name)), true
	case graph.AttrTensor:
		return graph.T(name, graph.TensorOf([]float32{0.5}, 1)), true
	}
	return graph.Attr{}, false
}

func (k *call) intAttr(name string, rank int) int64 {
	pick := func(v ...int64) int64 { return rapid.SampledFrom(v).Draw(k.T, name) }
	switch name {
	case "axis", "batch_axis", "time_axis":
		if rank > 0 {
			return int64(k.below(2*rank) - rank)
		}
		return 0
	case "to", "dtype":
		return pick(int64(graph.Float32), int64(graph.Float64), int64(graph.Int64), int64(graph.Bool), int64(graph.Float16), int64(graph.Uint8), int64(graph.Int32))
	case "stash_type":
		return 1
	case "group", "num_groups", "num_heads", "q_num_heads", "kv_num_heads", "batch_dims", "rotary_embedding_dim":
		return pick(1, 2, 0)
	case "hidden_size":
		return 2
	case "blocksize", "p", "num_outputs", "k":
		return pick(2, 1, 3)
	}
	return pick(1, 0)
}

func (k *call) intsAttr(name string, rank int) (graph.Attr, bool) {
	list := func(n int, from ...int64) (graph.Attr, bool) {
		v := make([]int64, max(n, 0))
		for i := range v {
			v[i] = rapid.SampledFrom(from).Draw(k.T, name)
		}
		return graph.Is(name, v...), true
	}
	switch name {
	case "axes":
		return graph.Is(name, k.someAxes(rank)...), true
	case "perm":
		axes := make([]int, rank)
		for i := range axes {
			axes[i] = i
		}
		axes = rapid.Permutation(axes).Draw(k.T, name)
		v := make([]int64, rank)
		for i, a := range axes {
			v[i] = int64(a)
		}
		return graph.Is(name, v...), true
	case "kernel_shape":
		if k.schema.Name == "Conv" || k.schema.Name == "ConvTranspose" {
			return graph.Attr{}, false
		}
		return list(rank-2, 2, 1, 3)
	case "strides", "dilations":
		return list(rank-2, 1, 2)
	case "output_padding":
		return list(rank-2, 0, 1)
	case "pads":
		if k.schema.Name == "Pad" {
			return list(2*rank, 0, 1, 2)
		}
		return list(2*(rank-2), 0, 1)
	case "output_shape":
		return list(rank-2, 4, 5, 3)
	}
	v, ok := k.sizes(name)
	return graph.Is(name, v...), ok
}
