package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// computeAgain lets the chains that use results of f, as the backward pass does those of the forward pass, compute them again from
// what f reads, where fewer tensors have to be kept for them then: of GELU one, its input, in the place of three.
func (c *chains) computeAgain(f *chain) {
	var readers []*chain
	for _, n := range f.nodes {
		for _, u := range n.Out(0).Uses() {
			if b := c.of[u.Node]; b != nil && b != f && !slices.Contains(readers, b) {
				readers = append(readers, b)
			}
		}
	}
	for _, b := range readers {
		if cone := c.again(f, b); cone != nil {
			c.copyCone(cone, b)
			c.prune(f)
		}
	}
}

// again lists the nodes of f that chain b is to have copies of; nil if that does not pay.
func (c *chains) again(f, b *chain) []*graph.Node {
	var cone []*graph.Node
	given := 0 // results that f need not give any more
	for _, n := range slices.Backward(f.nodes) {
		v := n.Out(0)
		only := !v.IsOutput() && len(c.passed[v]) == 0
		isRead, needed := false, false
		for _, u := range v.Uses() {
			inside := c.of[u.Node]
			only = only && (inside == f || inside == b)
			isRead = isRead || inside == b
			needed = needed || slices.Contains(cone, u.Node)
		}
		if only && isRead {
			given++
		}
		if only && isRead || needed {
			cone = append(cone, n)
		}
	}
	slices.Reverse(cone)
	if given == 0 || len(cone)+len(b.nodes) > maxChainNodes || len(inputsOf(append(slices.Clone(cone), b.nodes...))) > maxChainInputs {
		return nil
	}
	kept := 0 // tensors to be kept in their place
	for _, v := range inputsOf(cone) {
		if !sameDims(v.Type, cone[0].Out(0).Type) {
			continue
		}
		if v.Def() == nil && !v.IsInitializer() { // a state may be overwritten meanwhile
			return nil
		}
		if !c.lasts(v, f, b) {
			kept++
		}
	}
	costly := slices.ContainsFunc(cone, func(n *graph.Node) bool { return !slices.Contains(cheap, n.Op) })
	if kept > given || costly && (kept == given || cone[0].Out(0).Type.Elem != graph.Float32) {
		return nil
	}
	return cone
}

// lasts reports whether v, which f reads, is there until chain b has run in any case.
func (c *chains) lasts(v *graph.Value, f, b *chain) bool {
	if v.IsInitializer() || v.IsOutput() || v.Graph() != c.g {
		return true
	}
	return slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return c.of[u.Node] != f && c.place[c.owner(u.Node)] >= c.place[b.nodes[0]] })
}

// copyCone puts copies of nodes at the head of chain b, for the nodes of it that use their results.
func (c *chains) copyCone(cone []*graph.Node, b *chain) {
	first := b.nodes[0]
	twins := map[*graph.Value]*graph.Value{}
	read := func(n *graph.Node) {
		for i, in := range n.Inputs() {
			if twin := twins[in]; twin != nil {
				n.SetInput(i, twin)
			}
		}
	}
	var copies []*graph.Node
	for _, n := range cone {
		v := n.Out(0)
		twin := c.g.InsertNode(first, n.Domain, n.Op, n.Inputs(), []string{v.Name + "/again"}, n.Attrs()...)
		twin.Scope, twin.Out(0).Type = n.Scope, v.Type
		read(twin)
		twins[v] = twin.Out(0)
		copies = append(copies, twin)
		c.of[twin], c.place[twin], c.at[twin] = b, c.place[first], c.at[first]
	}
	for _, n := range b.nodes {
		read(n)
	}
	b.nodes = append(copies, b.nodes...)
}

// prune removes nodes of f that nothing uses.
func (c *chains) prune(f *chain) {
	for _, n := range slices.Backward(slices.Clone(f.nodes)) {
		if v := n.Out(0); len(v.Uses()) == 0 && !v.IsOutput() && len(c.passed[v]) == 0 {
			f.nodes = slices.DeleteFunc(f.nodes, func(m *graph.Node) bool { return m == n })
			n.Remove()
		}
	}
}
