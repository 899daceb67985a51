package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// Constant folding gives the last layer of a language model a transposed copy of the embedding that it is tied to. Equal
// values alone do not prove a tie, for copies of a module are equal until they are trained; the table of an embedding and
// the weight of a product that have all elements in common do.

// tied reports whether of the uses of two names of one tensor t, one is as the table of an embedding and one as the weight of a product.
func (o *owner) tied(a, b []graph.Use, t *graph.Tensor) bool {
	return o.options.Tie != "none" && len(t.Shape) == 2 && !isUniform(t) &&
		(slices.ContainsFunc(a, isTable) && slices.ContainsFunc(b, isProduct) || slices.ContainsFunc(b, isTable) && slices.ContainsFunc(a, isProduct))
}

func isTable(u graph.Use) bool {
	return u.Node.Is("", "Gather") && u.Index == 0 && u.Node.Int("axis", 0) == 0
}

// isProduct reports whether a use is as the right operand of a product, behind a transposition too.
func isProduct(u graph.Use) bool {
	switch {
	case u.Node.Is("", "Transpose"):
		return slices.ContainsFunc(u.Node.Out(0).Uses(), isProduct)
	case u.Node.Is("", "MatMul"), u.Node.Is("", "Gemm"):
		return u.Index == 1
	}
	return false
}

// tie is a table and a copy of it that the uses of a product have; transposed tells that the copy is its transpose.
type tie struct {
	table, copy *graph.Value
	transposed  bool
}

// ties finds the copies of tables.
func (o *owner) ties() []tie {
	var all []tie
	for _, table := range o.g.Initializers() {
		if !isMatrix(table) || !slices.ContainsFunc(table.Uses(), isTable) || isUniform(table.Const()) {
			continue
		}
		for _, w := range o.g.Initializers() {
			if w == table || !isMatrix(w) || len(w.Uses()) == 0 || slices.ContainsFunc(w.Uses(), func(u graph.Use) bool { return !isProduct(u) || u.Node.Op == "Transpose" }) {
				continue
			}
			switch a, b := table.Const(), w.Const(); {
			case isTranspose(a, b):
				all = append(all, tie{table, w, true})
			case slices.Equal(a.Shape, b.Shape) && string(a.Raw) == string(b.Raw):
				all = append(all, tie{table, w, false})
			}
		}
	}
	return all
}

func isMatrix(v *graph.Value) bool {
	return v.Type.Elem.IsFloat() && len(v.Const().Shape) == 2
}

// isUniform reports whether all elements of t are the same, as those of fresh parameters may be.
func isUniform(t *graph.Tensor) bool {
	size := t.Elem.Size()
	for i := size; i < len(t.Raw); i += size {
		if string(t.Raw[i:i+size]) != string(t.Raw[:size]) {
			return false
		}
	}
	return true
}

// isTranspose reports whether b is the transpose of a, bit for bit.
func isTranspose(a, b *graph.Tensor) bool {
	if a.Elem != b.Elem || a.Shape[0] != b.Shape[1] || a.Shape[1] != b.Shape[0] {
		return false
	}
	rows, columns, size := int(a.Shape[0]), int(a.Shape[1]), a.Elem.Size()
	for i := range rows {
		for j := range columns {
			x, y := (i*columns+j)*size, (j*rows+i)*size
			if string(a.Raw[x:x+size]) != string(b.Raw[y:y+size]) {
				return false
			}
		}
	}
	return true
}

// retie makes the users of the copy use the table.
func (o *owner) retie(t tie) {
	for _, u := range slices.Clone(t.copy.Uses()) {
		v := t.table
		if t.transposed {
			n := o.g.InsertNode(u.Node, "", "Transpose", []*graph.Value{v}, []string{t.copy.Name + "/tied"}, graph.Is("perm", 1, 0))
			n.Scope, v = u.Node.Scope, n.Out(0)
		}
		u.Node.SetInput(u.Index, v)
	}
}
