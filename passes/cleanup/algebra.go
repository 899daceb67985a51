package cleanup

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// identity is a row: nodes of operator Op that are the same as something simpler. Apply returns what can take the place of
// the node's output, or nil; it may add nodes before the node.
type identity struct {
	Op    string
	Doc   string
	Apply func(s *site) *graph.Value
}

// site is a node that a row looks at.
type site struct {
	*graph.Node
	m *graph.Model
	b *op.Builder
}

// build inserts before the node.
func (s *site) build() *op.Builder {
	if s.b == nil {
		s.b = op.NewBuilder(s.m, s.Graph())
		s.b.At, s.b.Scope, s.b.Prefix = s.Node, s.Scope, s.Out(0).Name+"/"
	}
	return s.b
}

var identities = []identity{
	{"Identity", "x", func(n *site) *graph.Value { return n.In(0) }},
	{"Add", "x + 0 = 0 + x = x", either(0)},
	{"Sub", "x - 0 = x", right(0)},
	{"Mul", "x * 1 = 1 * x = x", either(1)},
	{"Mul", "(x * a) * b = x * (a * b) for numbers a, b", mulChain},
	{"Div", "x / 1 = x", right(1)},
	{"Pow", "x ^ 1 = x", right(1)},
	{"Neg", "-(-x) = x", inverse("Neg")},
	{"Not", "not not x = x", inverse("Not")},
	{"Transpose", "a permutation that permutes nothing", transposeNothing},
	{"Transpose", "two permutations are one", transposeTwice},
	{"Gather", "parts of a Transpose are the Transpose of parts, which are fewer", gatherFirst},
	{"Reshape", "to the same shape", sameTypeOut},
	{"Reshape", "two are the second", reshapeTwice},
	{"Expand", "to the same shape", sameTypeOut},
	{"Cast", "to the same type", castNothing},
	{"Cast", "there and back through a wider type", castBack},
	{"Squeeze", "of Unsqueeze with the same axes", undo("Unsqueeze")},
	{"Unsqueeze", "of Squeeze with the same axes", undo("Squeeze")},
	{"Concat", "of one input", single},
	{"Sum", "of one input", single},
	{"Max", "of one input", single},
	{"Min", "of one input", single},
}

// algebra applies the rows to each node once, in order, so that results are simplified further on the way.
func algebra(m *graph.Model) bool {
	byOp := map[string][]identity{}
	for _, r := range identities {
		byOp[r.Op] = append(byOp[r.Op], r)
	}
	changed := false
	for n := range m.Graph.All() {
		if n.Domain != "" {
			continue
		}
		for _, r := range byOp[n.Op] {
			s := site{Node: n, m: m}
			w := r.Apply(&s)
			if w == nil || s.b != nil && s.b.Err() != nil || !pass.TakesName(n.Out(0), w) {
				continue
			}
			refine(w, n.Out(0))
			pass.Replace(n.Out(0), w)
			n.Remove()
			changed = true
			break
		}
	}
	return changed
}

// refine keeps a shape that is known of v only.
func refine(w, v *graph.Value) {
	if !w.Type.Ranked && v.Type.Ranked {
		w.Type.Ranked, w.Type.Dims = true, v.Type.Dims
	}
}
