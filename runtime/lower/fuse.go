package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// fusion is a row of the table of patterns that one kernel computes faster than its parts.
type fusion struct {
	Root string // operator in which the pattern ends
	Op   string // what takes its place, of domain asdl
	// Match gives the inputs and attributes of that node; no inputs if the pattern does not end in n.
	Match func(n *graph.Node) ([]*graph.Value, []graph.Attr)
	// Whole says that what Root, a Transpose, transposes is costly by itself: whatever else uses it gets it from the fused node.
	Whole bool
	// Swapped says that Root gives the result with its first two dimensions exchanged.
	Swapped bool
}

var fusions = []fusion{
	{Root: "MatMul", Op: "MatMul", Match: matchMatMul},
	{Root: "Transpose", Op: "ConvWeightGrad", Match: matchConvWeightGrad, Whole: true},
	{Root: "Conv", Op: "ConvWeightGrad", Match: matchSwappedWeightGrad, Swapped: true},
	{Root: "Transpose", Op: "MatMul", Match: matchTransposedGemm},
	{Root: "Where", Op: "ReluGrad", Match: matchReluGrad},
	{Root: "Gather", Op: "PatchColumns", Match: matchPatchColumns},
	{Root: "ScatterElements", Op: "MaxPoolGrad", Match: matchMaxPoolGrad},
	{Root: "Gemm", Op: "PatchGram", Match: matchPatchGram},
	{Root: "ReduceMax", Op: "MaxAbs", Match: matchMaxAbs},
	{Root: "ReduceSum", Op: "PatchSum", Match: matchPatchSum},
}

// fuse replaces patterns in a graph and in nested ones, where reg has a kernel. What nothing uses any more is removed.
func fuse(g *graph.Graph, reg *kernel.Registry) {
	fuseHeads(g, reg)
	byRoot := map[string][]fusion{}
	for _, f := range fusions {
		if reg.Has(graph.Asdl, f.Op) {
			byRoot[f.Root] = append(byRoot[f.Root], f)
		}
	}
	for n := range g.All() {
		if n.Domain != "" {
			continue
		}
		for _, f := range byRoot[n.Op] {
			in, attrs := f.Match(n)
			if in == nil {
				continue
			}
			at, raw := n, n.In(0)
			if f.Whole && raw.Def().Graph() == n.Graph() {
				at = raw.Def() // before all that use raw
			}
			fused := n.Graph().InsertNode(at, graph.Asdl, f.Op, in, []string{n.Out(0).Name + "/fused"}, attrs...)
			fused.Scope, fused.Out(0).Type = n.Scope, n.Out(0).Type
			if f.Swapped {
				fused = swappedBack(fused, at)
			}
			n.Out(0).ReplaceUses(fused.Out(0))
			if at != n {
				fromFused(raw, fused.Out(0), n)
			}
			dropUnused(n)
			break
		}
	}
	fuseTriangles(g, reg)
	graphs := []*graph.Graph{g}
	for n := range g.All() {
		graphs = append(graphs, n.Graphs()...)
	}
	for _, g := range graphs {
		fuseBatchNormGrad(g, reg)
		fuseLayerNormGrad(g, reg)
		fuseChains(g, reg)
	}
}

// swappedBack exchanges the first two dimensions of what fused gives, which has the type of the result, before at.
func swappedBack(fused, at *graph.Node) *graph.Node {
	x := fused.Out(0)
	want := x.Type
	swap := swapOfTwo(want.Rank())
	x.Type.Dims = slices.Clone(want.Dims)
	x.Type.Dims[0], x.Type.Dims[1] = want.Dims[1], want.Dims[0]
	back := fused.Graph().InsertNode(at, "", "Transpose", []*graph.Value{x}, []string{x.Name + "/back"}, graph.Is("perm", swap...))
	back.Scope, back.Out(0).Type = fused.Scope, want
	return back
}

// fromFused makes what uses raw beside n, its transpose, use x, which is that as well, or a transpose of x.
func fromFused(raw, x *graph.Value, n *graph.Node) {
	perm := n.IntList("perm")
	inverse := make([]int64, len(perm))
	for i, p := range perm {
		inverse[p] = int64(i)
	}
	var back *graph.Value
	for _, u := range slices.Clone(raw.Uses()) {
		if u.Node == n {
			continue
		}
		if u.Node.Is("", "Transpose") && len(u.Node.IntList("perm")) == len(perm) {
			composed := make([]int64, len(perm))
			for i, p := range u.Node.IntList("perm") {
				composed[i] = inverse[p]
			}
			u.Node.SetInput(0, x)
			u.Node.SetAttr(graph.Is("perm", composed...))
			continue
		}
		if back == nil {
			t := raw.Graph().InsertNode(raw.Def(), "", "Transpose", []*graph.Value{x}, []string{raw.Name + "/back"}, graph.Is("perm", inverse...))
			t.Scope, t.Out(0).Type = n.Scope, raw.Type
			back = t.Out(0)
		}
		u.Node.SetInput(u.Index, back)
	}
}

// matchMaxAbs recognises the largest of all absolute values.
func matchMaxAbs(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	abs := made(n.In(0), "Abs")
	if abs == nil || n.In(1) != nil || n.IntList("axes") != nil || n.Int("keepdims", 1) != 0 || !n.Out(0).Type.Elem.IsFloat() {
		return nil, nil
	}
	return []*graph.Value{abs.In(0)}, []graph.Attr{graph.I("keepdims", 0)}
}

// dropUnused removes n if nothing uses it, and then what only it used.
func dropUnused(n *graph.Node) {
	for _, v := range n.Outputs() {
		if v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
			return
		}
	}
	inputs := slices.Clone(n.Inputs())
	n.Remove()
	for _, v := range inputs {
		if v != nil && v.Def() != nil {
			dropUnused(v.Def())
		}
	}
}

// made is the node of the standard domain with operator op that defines v; nil if another or none does.
func made(v *graph.Value, op string) *graph.Node {
	if v == nil || v.Def() == nil || !v.Def().Is("", op) {
		return nil
	}
	return v.Def()
}

// reducedAxes are the axes of a reduction, an attribute or an input, as they are written; not ok: they are not known.
func reducedAxes(n *graph.Node) (axes []int64, ok bool) {
	v := n.In(1)
	if v == nil {
		return n.IntList("axes"), true
	}
	if v.Const() == nil || v.Type.Elem != graph.Int64 {
		return nil, false
	}
	return graph.Data[int64](v.Const()), true
}

// transposed is the input of the Transpose with that permutation that makes v, or nil.
func transposed(v *graph.Value, perm ...int64) *graph.Value {
	if n := made(v, "Transpose"); n != nil && slices.Equal(n.IntList("perm"), perm) {
		return n.In(0)
	}
	return nil
}
