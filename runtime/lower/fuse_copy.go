package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// cheap are the operators that take less time than writing their result and reading it again.
var cheap = []string{"Add", "Sub", "Mul", "Div", "Neg"}

// copyInto lets the chains that use the result of n compute it again, where each reads what n reads anyway: then the result need
// not be kept for them.
func (c *chains) copyInto(n *graph.Node) {
	v, own := n.Out(0), c.of[n]
	x, ok := fullOperand(n)
	if !ok || v.IsOutput() || !slices.Contains(cheap, n.Op) {
		return
	}
	users := map[*chain][]*graph.Node{}
	var order []*chain
	for _, u := range v.Uses() {
		f := c.of[u.Node]
		if f == nil || f != own && (len(f.nodes) < 2 || !slices.Contains(inputsOf(f.nodes), x)) {
			return
		}
		if len(users[f]) == 0 && f != own {
			order = append(order, f)
		}
		if !slices.Contains(users[f], u.Node) {
			users[f] = append(users[f], u.Node)
		}
	}
	for _, f := range order {
		if len(f.nodes) < maxChainNodes && len(inputsOf(f.nodes)) < maxChainInputs {
			c.copyNode(n, f, users[f])
		}
	}
	if len(v.Uses()) == 0 {
		own.nodes = slices.DeleteFunc(own.nodes, func(m *graph.Node) bool { return m == n })
		n.Remove()
	}
}

// copyNode makes a copy of n in chain f, for the nodes of it that use n's result.
func (c *chains) copyNode(n *graph.Node, f *chain, users []*graph.Node) {
	at := slices.IndexFunc(f.nodes, func(m *graph.Node) bool { return slices.Contains(users, m) })
	first := f.nodes[at]
	twin := c.g.InsertNode(first, n.Domain, n.Op, n.Inputs(), []string{n.Out(0).Name + "/copy"}, n.Attrs()...)
	twin.Scope, twin.Out(0).Type = n.Scope, n.Out(0).Type
	for _, m := range users {
		for i, in := range m.Inputs() {
			if in == n.Out(0) {
				m.SetInput(i, twin.Out(0))
			}
		}
	}
	f.nodes = slices.Insert(f.nodes, at, twin)
	c.of[twin], c.place[twin], c.at[twin] = f, c.place[first], c.at[first]
}

// fullOperand is the input of n that has the shape of its result, if there is one and the other input is smaller.
func fullOperand(n *graph.Node) (x *graph.Value, ok bool) {
	for _, v := range n.Inputs() {
		if sameDims(v.Type, n.Out(0).Type) {
			if x != nil {
				return nil, false
			}
			x = v
		}
	}
	return x, x != nil
}
