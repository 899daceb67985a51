package lower

import "github.com/asdlc/asdlc/graph"

// matchMatMul recognises a MatMul of operands whose last two dimensions a Transpose exchanged.
func matchMatMul(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	a, transA := untransposed(n.In(0))
	b, transB := untransposed(n.In(1))
	if !transA && !transB || !a.Type.Elem.IsFloat() {
		return nil, nil
	}
	// Rows of batches beside one matrix are one product only as they are.
	if transA && a.Type.Rank() > 2 && b.Type.Rank() == 2 {
		return nil, nil
	}
	return []*graph.Value{a, b}, productAttrs(transA, transB)
}

// matchTransposedGemm recognises (A^T B)^T, which is B^T A.
func matchTransposedGemm(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	gemm := made(transposed(n.Out(0), 1, 0), "Gemm")
	if gemm == nil || gemm.In(2) != nil || gemm.Float("alpha", 1) != 1 || len(gemm.Out(0).Uses()) != 1 || gemm.Out(0).IsOutput() ||
		!n.Out(0).Type.Elem.IsFloat() {
		return nil, nil
	}
	transA, transB := gemm.Int("transA", 0) == 0, gemm.Int("transB", 0) == 0
	return []*graph.Value{gemm.In(1), gemm.In(0)}, productAttrs(transB, transA)
}

func productAttrs(transA, transB bool) []graph.Attr {
	var attrs []graph.Attr
	if transA {
		attrs = append(attrs, graph.I("transA", 1))
	}
	if transB {
		attrs = append(attrs, graph.I("transB", 1))
	}
	return attrs
}

// untransposed is the value that v is with its last two dimensions exchanged, or v itself and false.
func untransposed(v *graph.Value) (*graph.Value, bool) {
	rank := v.Type.Rank()
	if rank < 2 {
		return v, false
	}
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
	if in := transposed(v, perm...); in != nil {
		return in, true
	}
	return v, false
}
