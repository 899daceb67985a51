package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// triangle says where a square matrix is zero as stored: nowhere (0), above the diagonal, below it, or on both sides.
type triangle uint8

const (
	lower triangle = 1 << iota // nothing above the diagonal
	upper
	diagonal = lower | upper
)

// swapped is the triangle of the transpose, if transposed says so.
func (t triangle) swapped(transposed bool) triangle {
	if !transposed {
		return t
	}
	return t&lower<<1 | t&upper>>1
}

// triangles finds out which values are triangular.
type triangles map[*graph.Value]triangle

// triangleRule is a row: what an operator makes of triangular operands.
type triangleRule struct {
	Domain, Op string
	Of         func(of func(*graph.Value) triangle, n *graph.Node) triangle
}

var triangleRules = []triangleRule{
	{"", "Trilu", func(_ func(*graph.Value) triangle, n *graph.Node) triangle {
		if n.In(1) != nil { // off the diagonal
			return 0
		}
		if n.Int("upper", 1) != 0 {
			return upper
		}
		return lower
	}},
	{"", "EyeLike", func(_ func(*graph.Value) triangle, n *graph.Node) triangle {
		if n.Int("k", 0) != 0 {
			return 0
		}
		return diagonal
	}},
	{"", "Identity", triangleOfFirst},
	{"", "Neg", triangleOfFirst},
	{"", "Transpose", func(of func(*graph.Value) triangle, n *graph.Node) triangle { return of(n.In(0)).swapped(true) }},
	{"", "Div", triangleOfFirst},
	{"", "Mul", func(of func(*graph.Value) triangle, n *graph.Node) triangle { return of(n.In(0)) | of(n.In(1)) }},
	{"", "Add", triangleOfBoth(0)},
	{"", "Sub", triangleOfBoth(0)},
	{"", "Where", triangleOfBoth(1)},
	{"", "MatMul", triangleOfProduct},
	{"", "Gemm", triangleOfProduct},
	{graph.Asdl, "MatMul", triangleOfProduct},
	{graph.Asdl, "UpperInverse", func(func(*graph.Value) triangle, *graph.Node) triangle { return upper }},
}

func triangleOfFirst(of func(*graph.Value) triangle, n *graph.Node) triangle { return of(n.In(0)) }

// triangleOfBoth is for element-wise operators that keep zeros where both operands from the first on have them.
func triangleOfBoth(first int) func(of func(*graph.Value) triangle, n *graph.Node) triangle {
	return func(of func(*graph.Value) triangle, n *graph.Node) triangle {
		return of(n.In(first)) & of(n.In(first+1))
	}
}

func triangleOfProduct(of func(*graph.Value) triangle, n *graph.Node) triangle {
	if !plainProduct(n) {
		return 0
	}
	a, b := triangleOperands(of, n)
	return a & b
}

// plainProduct reports whether n is a product of two matrices and nothing else.
func plainProduct(n *graph.Node) bool {
	switch {
	case n.Is("", "Gemm"):
		if n.In(2) != nil || n.Float("alpha", 1) != 1 {
			return false
		}
	case !n.Is("", "MatMul") && !n.Is(graph.Asdl, "MatMul"):
		return false
	}
	return n.In(0).Type.Rank() == 2 && n.In(1).Type.Rank() == 2
}

// triangleOperands are the triangles of the operands of a product, transposed as it takes them.
func triangleOperands(of func(*graph.Value) triangle, n *graph.Node) (a, b triangle) {
	return of(n.In(0)).swapped(transposes(n, 0)), of(n.In(1)).swapped(transposes(n, 1))
}

// of is where v is zero.
func (s triangles) of(v *graph.Value) triangle {
	if v == nil || v.Def() == nil || !v.Type.Ranked || v.Type.Rank() != 2 || !v.Type.Elem.IsFloat() || v.Type.Dims[0] != v.Type.Dims[1] {
		return 0
	}
	if t, ok := s[v]; ok {
		return t
	}
	s[v] = 0
	n := v.Def()
	for _, r := range triangleRules {
		if n.Is(r.Domain, r.Op) {
			s[v] = r.Of(s.of, n)
			break
		}
	}
	if n.Is("", "If") {
		s[v] = s.ofBranches(n, v)
	}
	return s[v]
}

// ofBranches is what both branches of an If give.
func (s triangles) ofBranches(n *graph.Node, v *graph.Value) triangle {
	t := diagonal
	for _, g := range n.Graphs() {
		for i, out := range n.Outputs() {
			if out == v {
				t &= s.of(g.Outputs()[i])
			}
		}
	}
	return t
}

// fuseTriangles tells the products of triangular matrices so: they are half of the work, or less.
func fuseTriangles(g *graph.Graph, reg *kernel.Registry) {
	if !reg.Has(graph.Asdl, "MatMul") {
		return
	}
	s := triangles{}
	for n := range g.All() {
		if !plainProduct(n) || !n.Out(0).Type.Elem.IsFloat() {
			continue
		}
		a, b := triangleOperands(s.of, n)
		if a == 0 && b == 0 || n.In(0) == n.In(1) { // products with itself have kernels of their own
			continue
		}
		if fuseSolve(n, reg) {
			continue
		}
		in := []*graph.Value{untrimmed(n.In(0)), untrimmed(n.In(1))}
		attrs := append(productAttrs(transposes(n, 0), transposes(n, 1)), graph.S("triangleA", a.String()), graph.S("triangleB", b.String()))
		fused := n.Graph().InsertNode(n, graph.Asdl, "MatMul", in, []string{n.Out(0).Name + "/triangular"}, attrs...)
		fused.Scope, fused.Out(0).Type = n.Scope, n.Out(0).Type
		s[fused.Out(0)] = s.of(n.Out(0))
		n.Out(0).ReplaceUses(fused.Out(0))
		dropUnused(n)
	}
}

// fuseSolve solves with a triangular matrix in place of a product with its inverse, where products are all that the inverse is for.
func fuseSolve(n *graph.Node, reg *kernel.Registry) bool {
	if !reg.Has(graph.Asdl, "UpperSolve") {
		return false
	}
	for side := range 2 {
		inverse := n.In(side)
		call := inverse.Def()
		if call == nil || !call.Is(graph.Asdl, "UpperInverse") || inverse.IsOutput() || slices.ContainsFunc(inverse.Uses(), func(u graph.Use) bool {
			return !plainProduct(u.Node) || u.Node.In(0) == u.Node.In(1) || transposes(u.Node, 1-u.Index)
		}) {
			continue
		}
		attrs := []graph.Attr{graph.I("right", int64(side))}
		if transposes(n, side) {
			attrs = append(attrs, graph.I("trans", 1))
		}
		solve := n.Graph().InsertNode(n, graph.Asdl, "UpperSolve", []*graph.Value{untrimmed(call.In(0)), n.In(1 - side)}, []string{n.Out(0).Name + "/solved"}, attrs...)
		solve.Scope, solve.Out(0).Type = n.Scope, n.Out(0).Type
		n.Out(0).ReplaceUses(solve.Out(0))
		dropUnused(n)
		return true
	}
	return false
}

// transposes reports whether a product takes its operand of that number transposed.
func transposes(product *graph.Node, operand int) bool {
	return product.Int([]string{"transA", "transB"}[operand], 0) != 0
}

// untrimmed is what a Trilu that gives v takes a triangle of: the product takes it by itself.
func untrimmed(v *graph.Value) *graph.Value {
	if n := made(v, "Trilu"); n != nil && n.In(1) == nil {
		return n.In(0)
	}
	return v
}

// String is the attribute of asdl.MatMul; of a diagonal it gives one of the two triangles that it is.
func (t triangle) String() string {
	switch {
	case t&upper != 0:
		return "upper"
	case t&lower != 0:
		return "lower"
	}
	return ""
}
