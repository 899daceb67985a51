package cleanup

import (
	"fmt"
	"strings"

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
	t := &table{ids: map[*graph.Value]int{}}
	return t.graph(g)
}

// table has the nodes seen so far that are visible at a place, by key.
type table struct {
	ids    map[*graph.Value]int
	scopes []map[string]*graph.Node
}

func (t *table) graph(g *graph.Graph) bool {
	t.scopes = append(t.scopes, map[string]*graph.Node{})
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
	t.scopes = t.scopes[:len(t.scopes)-1]
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
	key := t.key(n)
	for _, scope := range t.scopes {
		if m := scope[key]; m != nil {
			return m
		}
	}
	t.scopes[len(t.scopes)-1][key] = n
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

func (t *table) key(n *graph.Node) string {
	var sb strings.Builder
	sb.WriteString(n.Domain)
	sb.WriteByte(':')
	sb.WriteString(n.Op)
	for _, v := range n.Inputs() {
		fmt.Fprintf(&sb, ",%d", t.id(v))
	}
	fmt.Fprintf(&sb, ";%d", len(n.Outputs()))
	for _, a := range n.Attrs() {
		sb.WriteByte(';')
		sb.WriteString(a.Name)
		fmt.Fprintf(&sb, "=%d %x %d %q %v %v %q", a.Kind, a.F, a.I, a.S, a.Floats, a.Ints, a.Strings)
		if a.T != nil {
			fmt.Fprintf(&sb, " %d%v%x", a.T.Elem, a.T.Shape, a.T.Raw)
		}
	}
	return sb.String()
}

// id numbers values; values that differ by tags only have the same number.
func (t *table) id(v *graph.Value) int {
	if v == nil {
		return 0
	}
	v = graph.Untagged(v)
	if _, ok := t.ids[v]; !ok {
		t.ids[v] = len(t.ids) + 1
	}
	return t.ids[v]
}
