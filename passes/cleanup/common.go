package cleanup

import (
	"hash/maphash"
	"math"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// random lists operators two calls of which differ.
var random = map[string]bool{
	"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true, "Bernoulli": true,
	"Multinomial": true, "Dropout": true,
}

// common makes one node of nodes that compute the same: same operator and attributes, same inputs up to tags. A node of
// a nested graph may turn out equal to one of a graph around it.
func common(g *graph.Graph) bool {
	t := &table{seed: maphash.MakeSeed(), last: make(map[uint64]int, g.Len()), nodes: []entry{{}}}
	return t.graph(g)
}

// table has the nodes seen so far that are visible at a place.
type table struct {
	seed  maphash.Seed
	hash  maphash.Hash
	nodes []entry        // in order; the first is none
	last  map[uint64]int // by hash, the place of the last such node
}

// entry is a node and the place of the one before it that has the same hash; 0 is none.
type entry struct {
	node *graph.Node
	hash uint64
	prev int
}

func (t *table) graph(g *graph.Graph) bool {
	around := len(t.nodes)
	changed := false
	for n := range g.Nodes() {
		if mergeable(n) {
			if twin := t.twin(n); twin != nil {
				changed = t.merge(n, twin) || changed
				continue
			}
		}
		for _, sub := range n.Graphs() {
			changed = t.graph(sub) || changed
		}
	}
	if g.Owner() == nil {
		return changed
	}
	for _, e := range slices.Backward(t.nodes[around:]) { // what is in g is not visible outside
		t.last[e.hash] = e.prev
	}
	t.nodes = t.nodes[:around]
	return changed
}

// mergeable reports whether equal calls of n's operator give equal results.
func mergeable(n *graph.Node) bool {
	if n.IsTag() || pass.Declares(n) || n.Domain == "" && random[n.Op] || len(n.Graphs()) > 0 {
		return false
	}
	if n.Domain == graph.Asdl {
		switch n.Op {
		case graph.TagSample, graph.TagGradient, graph.TagTangent:
			return false
		}
	}
	return true
}

// twin is a visible node equal to n; if there is none, n is entered.
func (t *table) twin(n *graph.Node) *graph.Node {
	h := t.hashOf(n)
	last := t.last[h]
	for at := last; at > 0; at = t.nodes[at].prev {
		if m := t.nodes[at].node; same(n, m) {
			return m
		}
	}
	t.last[h] = len(t.nodes)
	t.nodes = append(t.nodes, entry{n, h, last})
	return nil
}

// merge makes users of n use its twin. Where both are outputs of the graph, n stays.
func (t *table) merge(n, twin *graph.Node) bool {
	for i, v := range n.Outputs() {
		if v != nil && (twin.Out(i) == nil || !pass.TakesName(v, twin.Out(i))) {
			return false
		}
	}
	for i, v := range n.Outputs() {
		if v != nil {
			pass.Replace(v, twin.Out(i))
		}
	}
	n.Remove()
	return true
}

// hashOf is equal for nodes that are the same. Values that differ by tags only count as one.
func (t *table) hashOf(n *graph.Node) uint64 {
	t.hash.SetSeed(t.seed)
	t.hash.WriteString(n.Op)
	for _, v := range n.Inputs() {
		maphash.WriteComparable(&t.hash, graph.Untagged(v))
	}
	for _, a := range n.Attrs() {
		t.hash.WriteString(a.Name)
		maphash.WriteComparable(&t.hash, a.I)
		for _, i := range a.Ints {
			maphash.WriteComparable(&t.hash, i)
		}
	}
	return t.hash.Sum64()
}

// same reports whether n and m have the same operator, attributes, number of outputs, and inputs up to tags.
func same(n, m *graph.Node) bool {
	return n.Op == m.Op && n.Domain == m.Domain && len(n.Outputs()) == len(m.Outputs()) &&
		slices.EqualFunc(n.Inputs(), m.Inputs(), func(v, w *graph.Value) bool { return graph.Untagged(v) == graph.Untagged(w) }) &&
		slices.EqualFunc(n.Attrs(), m.Attrs(), sameAttr)
}

// sameAttr compares attributes without nested graphs, floats by their bits.
func sameAttr(a, b graph.Attr) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.I == b.I && a.S == b.S && a.Ref == b.Ref && sameFloat(a.F, b.F) &&
		slices.Equal(a.Ints, b.Ints) && slices.Equal(a.Strings, b.Strings) && slices.EqualFunc(a.Floats, b.Floats, sameFloat) &&
		(a.T == b.T || a.T != nil && b.T != nil && a.T.Equal(b.T))
}

func sameFloat(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
