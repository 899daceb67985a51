package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// fuseHeads puts an Einsum in the place of batches of products whose operands or results are transposed, as those of the heads of
// an attention layer are: its kernel reads and writes heads where they lie in the rows that they share.
func fuseHeads(g *graph.Graph, reg *kernel.Registry) {
	if !reg.Has("", "Einsum") {
		return
	}
	for n := range g.All() {
		if n.Is("", "Mul") {
			scaleFirst(n)
		}
		if n.Is("", "Transpose") {
			scaleLast(n)
		}
	}
	for n := range g.All() {
		if n.Is("", "MatMul") {
			fuseHead(n)
		}
	}
}

// scaleFirst makes a product of a transposed tensor and one number, which MatMuls use, or Transposes, the transpose of a product.
func scaleFirst(n *graph.Node) {
	t, s := made(n.In(0), "Transpose"), n.In(1)
	if t == nil {
		t, s = made(n.In(1), "Transpose"), n.In(0)
	}
	if t == nil || !isOne(s) || len(t.Out(0).Uses()) != 1 || t.Out(0).IsOutput() || n.Out(0).IsOutput() || t.Graph() != n.Graph() {
		return
	}
	if slices.ContainsFunc(n.Out(0).Uses(), func(u graph.Use) bool { return !u.Node.Is("", "MatMul") && !u.Node.Is("", "Transpose") }) {
		return
	}
	scaled := inserted(n, n, "Mul", t.In(0).Type, t.In(0), s)
	n.Out(0).ReplaceUses(inserted(n, t, "Transpose", n.Out(0).Type, scaled))
	dropUnused(n)
}

// scaleLast makes the transpose of one number times a MatMul a product with the transpose.
func scaleLast(n *graph.Node) {
	m := made(n.In(0), "Mul")
	if m == nil || !usedOnce(m) || m.Graph() != n.Graph() {
		return
	}
	product, s := m.In(0), m.In(1)
	if made(product, "MatMul") == nil {
		product, s = s, product
	}
	if p := made(product, "MatMul"); p == nil || !isOne(s) || !usedOnce(p) {
		return
	}
	turned := inserted(n, n, "Transpose", n.Out(0).Type, product)
	n.Out(0).ReplaceUses(inserted(n, m, "Mul", n.Out(0).Type, turned, s))
	dropUnused(n)
}

// inserted is the result of an operator like that of node like, before node n.
func inserted(n, like *graph.Node, op string, t graph.Type, in ...*graph.Value) *graph.Value {
	m := n.Graph().InsertNode(n, "", op, in, []string{n.Out(0).Name + "/" + op}, like.Attrs()...)
	m.Scope, m.Out(0).Type = like.Scope, t
	return m.Out(0)
}

func usedOnce(n *graph.Node) bool { return len(n.Out(0).Uses()) == 1 && !n.Out(0).IsOutput() }

// isOne reports whether v certainly is a single number, which as an operand has no say in the shape of the result.
func isOne(v *graph.Value) bool { return v.Type.Ranked && v.Type.Rank() == 0 }

// fuseHead replaces MatMul n and the Transposes around it, if there are some that more than exchange rows and columns.
func fuseHead(n *graph.Node) {
	a, b, out := n.In(0), n.In(1), n.Out(0)
	rank := out.Type.Rank()
	if rank < 3 || rank > 8 || a.Type.Rank() != rank || b.Type.Rank() != rank || !out.Type.Elem.IsFloat() ||
		!sameDims(withoutMatrix(a.Type), withoutMatrix(b.Type)) {
		return
	}
	batch := []rune("abcdefgh")[:rank-2]
	a, inA := operandLabels(a, append(slices.Clone(batch), 'm', 'k'))
	b, inB := operandLabels(b, append(slices.Clone(batch), 'k', 'n'))
	at, inC := n, append(slices.Clone(batch), 'm', 'n')
	if uses := out.Uses(); len(uses) == 1 && !out.IsOutput() && uses[0].Node.Is("", "Transpose") && uses[0].Node.Graph() == n.Graph() {
		if perm := uses[0].Node.IntList("perm"); len(perm) == rank && perm[rank-1] >= int64(rank-2) { // rows or columns stay contiguous
			at, inC = uses[0].Node, permutedLabels(inC, perm)
		}
	}
	if slices.Equal(inA[:rank-2], batch) && slices.Equal(inB[:rank-2], batch) && at == n {
		return
	}
	equation := string(inA) + "," + string(inB) + "->" + string(inC)
	e := n.Graph().InsertNode(at, "", "Einsum", []*graph.Value{a, b}, []string{at.Out(0).Name + "/fused"}, graph.S("equation", equation))
	e.Scope, e.Out(0).Type = n.Scope, at.Out(0).Type
	at.Out(0).ReplaceUses(e.Out(0))
	dropUnused(at)
}

// withoutMatrix is a type without its last two dimensions.
func withoutMatrix(t graph.Type) graph.Type {
	t.Dims = t.Dims[:len(t.Dims)-2]
	return t
}

// operandLabels gives what an operand with the given labels is a transpose of, and its labels there. It is transposed no further
// than rows or columns are contiguous.
func operandLabels(v *graph.Value, labels []rune) (*graph.Value, []rune) {
	runs := labels[len(labels)-2:]
	best, found := v, labels
	for t := made(v, "Transpose"); t != nil; t = made(v, "Transpose") {
		perm := t.IntList("perm")
		if len(perm) != len(labels) {
			break
		}
		from := make([]rune, len(labels))
		for i, p := range perm {
			from[p] = labels[i]
		}
		v, labels = t.In(0), from
		if slices.Contains(runs, labels[len(labels)-1]) {
			best, found = v, labels
		}
	}
	return best, found
}

func permutedLabels(labels []rune, perm []int64) []rune {
	to := make([]rune, len(labels))
	for i, p := range perm {
		to[i] = labels[p]
	}
	return to
}
