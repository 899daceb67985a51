package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// fusion is a row of the table of patterns that one kernel computes faster than its parts. Make returns a node, put before
// n, of which the first output has the value of n's; nil if the pattern does not end in n.
type fusion struct {
	Name string
	Root string // operator in which the pattern ends
	Make func(n *graph.Node) *graph.Node
}

var fusions = []fusion{
	{"gradient of a convolution in its weight", "Transpose", fuseConvWeightGrad},
}

// fuse replaces patterns in the graph of a program and in nested ones. What nothing uses any more is removed.
func fuse(g *graph.Graph) {
	byRoot := map[string][]fusion{}
	for _, f := range fusions {
		byRoot[f.Root] = append(byRoot[f.Root], f)
	}
	for n := range g.All() {
		if n.Domain != "" {
			continue
		}
		for _, f := range byRoot[n.Op] {
			fused := f.Make(n)
			if fused == nil {
				continue
			}
			fused.Scope, fused.Out(0).Type = n.Scope, n.Out(0).Type
			n.Out(0).ReplaceUses(fused.Out(0))
			dropUnused(n)
			break
		}
	}
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

// transposed is the input of the Transpose with that permutation that makes v, or nil.
func transposed(v *graph.Value, perm ...int64) *graph.Value {
	if n := made(v, "Transpose"); n != nil && slices.Equal(n.IntList("perm"), perm) {
		return n.In(0)
	}
	return nil
}
