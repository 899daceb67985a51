package lower

import (
	"cmp"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Bounds of a chain.
const (
	maxChainNodes  = 40
	maxChainInputs = 16
)

// chain is a set of element-wise nodes whose results have one type, to become one node.
type chain struct{ nodes []*graph.Node } // in order

// chains finds chains in a graph. Every node has a place, a number greater than those of the nodes that it depends on; the nodes
// of a chain share one.
type chains struct {
	g     *graph.Graph
	at    order // numbers of the nodes before anything is moved
	place map[*graph.Node]float64
	of    map[*graph.Node]*chain
	// passed has the nodes whose nested graphs give a value as an output, which is not among its uses.
	passed map[*graph.Value][]*graph.Node
}

// fuseChains puts asdl.Pointwise in the place of element-wise nodes that use each other's results.
func fuseChains(g *graph.Graph, reg *kernel.Registry) {
	if !reg.Has(graph.Asdl, "Pointwise") {
		return
	}
	c := &chains{g: g, at: orderOf(g), place: map[*graph.Node]float64{}, of: map[*graph.Node]*chain{}, passed: map[*graph.Value][]*graph.Node{}}
	for n, i := range c.at {
		c.place[n] = float64(i)
	}
	for n := range g.All() {
		for _, sub := range n.Graphs() {
			for _, v := range sub.Outputs() {
				if v.Graph() == g {
					c.passed[v] = append(c.passed[v], c.owner(n))
				}
			}
		}
	}
	var found []*chain
	for n := range g.Nodes() {
		if !pointwise(n) {
			continue
		}
		c.of[n] = &chain{[]*graph.Node{n}}
		found = append(found, c.of[n])
		for _, v := range n.Inputs() {
			if v.Def() != nil && c.of[v.Def()] != nil {
				c.join(n, v)
			}
		}
	}
	for _, f := range found {
		c.computeAgain(f)
	}
	for n := range g.Nodes() {
		if c.of[n] != nil {
			c.copyInto(n)
		}
	}
	moved := false
	for _, f := range found {
		if len(f.nodes) > 1 {
			c.replace(f)
			moved = true
		}
	}
	if moved {
		c.arrange()
	}
}

// pointwise reports whether n can be part of a chain.
func pointwise(n *graph.Node) bool {
	if arity := kernel.PointwiseArity(n.Op); arity == 0 || len(n.Inputs()) != arity || len(n.Outputs()) != 1 || n.Out(0) == nil {
		return false
	}
	if gradient := n.Op == "ReluGrad"; gradient != (n.Domain == graph.Asdl) || !gradient && n.Domain != "" {
		return false
	}
	out := n.Out(0).Type
	if out.Elem != graph.Float32 && out.Elem != graph.Float64 || !sameDims(out, out) {
		return false
	}
	return !slices.ContainsFunc(n.Inputs(), func(v *graph.Value) bool { return v == nil || v.Type.Elem != out.Elem || !readable(v.Type, out) })
}

// readable reports whether a tensor that is broadcast to type out is repeated before or behind its dimensions, not between.
func readable(in, out graph.Type) bool {
	lead := len(out.Dims) - len(in.Dims)
	if !in.Ranked || lead < 0 {
		return false
	}
	isOne := func(i int) bool { n, ok := in.Dims[i].Size(); return ok && n == 1 }
	i := len(in.Dims) - 1
	for ; i >= 0 && isOne(i); i-- {
	}
	for ; i >= 0 && in.Dims[i] == out.Dims[lead+i] && !in.Dims[i].IsUnknown(); i-- {
	}
	for ; i >= 0 && isOne(i); i-- {
	}
	return i < 0
}

// join unites the chain of n with that of what makes v, an input of n, if that is possible.
func (c *chains) join(n *graph.Node, v *graph.Value) {
	mine, other := c.of[n], c.of[v.Def()]
	if mine == other || len(mine.nodes)+len(other.nodes) > maxChainNodes {
		return
	}
	if a, b := n.Out(0).Type, v.Type; a.Elem != b.Elem || !sameDims(a, b) {
		return
	}
	nodes := append(slices.Clone(other.nodes), mine.nodes...)
	slices.SortFunc(nodes, func(a, b *graph.Node) int { return c.at[a] - c.at[b] })
	place, ok := c.placeOf(nodes, c.place[n], c.place[v.Def()])
	if !ok || len(inputsOf(nodes)) > maxChainInputs {
		return
	}
	other.nodes, mine.nodes = nodes, nil
	for _, m := range nodes {
		c.of[m], c.place[m] = other, place
	}
}

// placeOf finds a place for nodes between what makes their inputs and what uses their results: one of those wished for, or
// another; false if there is none.
func (c *chains) placeOf(nodes []*graph.Node, wishes ...float64) (float64, bool) {
	after, before := -1.0, float64(len(c.at))
	for _, n := range nodes {
		for _, v := range n.Inputs() {
			if d := v.Def(); d != nil && d.Graph() == c.g && !slices.Contains(nodes, d) {
				after = max(after, c.place[d])
			}
		}
		for _, u := range n.Out(0).Uses() {
			if m := c.owner(u.Node); !slices.Contains(nodes, m) {
				before = min(before, c.place[m])
			}
		}
		for _, m := range c.passed[n.Out(0)] {
			before = min(before, c.place[m])
		}
	}
	for _, place := range append(wishes, (after+before)/2) {
		if after < place && place < before {
			return place, true
		}
	}
	return 0, false
}

// owner is the node of the graph that holds n, or n itself.
func (c *chains) owner(n *graph.Node) *graph.Node {
	for n.Graph() != c.g {
		n = n.Graph().Owner()
	}
	return n
}

// inputsOf lists the values that nodes use and do not make.
func inputsOf(nodes []*graph.Node) []*graph.Value {
	var list []*graph.Value
	for _, n := range nodes {
		for _, v := range n.Inputs() {
			if !slices.Contains(list, v) && !slices.Contains(nodes, v.Def()) {
				list = append(list, v)
			}
		}
	}
	return list
}

// replace puts one node in the place of a chain.
func (c *chains) replace(f *chain) {
	inputs := inputsOf(f.nodes)
	number := map[*graph.Value]int64{}
	for i, v := range inputs {
		number[v] = int64(i)
	}
	var ops, names []string
	var args, results []int64
	var outs []*graph.Value
	for i, n := range f.nodes {
		v := n.Out(0)
		number[v] = int64(len(inputs) + i)
		ops, args = append(ops, n.Op), append(args, number[n.In(0)], -1)
		if len(n.Inputs()) == 2 {
			args[len(args)-1] = number[n.In(1)]
		}
		used := func(u graph.Use) bool { return !slices.Contains(f.nodes, u.Node) }
		if v.IsOutput() || slices.ContainsFunc(v.Uses(), used) {
			results, outs, names = append(results, number[v]), append(outs, v), append(names, v.Name+"/fused")
		}
	}
	if len(outs) == 0 { // nobody wants anything of it
		c.remove(f)
		return
	}
	last := f.nodes[len(f.nodes)-1]
	fused := c.g.InsertNode(last, graph.Asdl, "Pointwise", inputs, names, graph.Ss("ops", ops...), graph.Is("args", args...), graph.Is("results", results...))
	fused.Scope, c.place[fused] = last.Scope, c.place[last]
	for i, v := range outs {
		fused.Out(i).Type = v.Type
		v.ReplaceUses(fused.Out(i))
	}
	c.remove(f)
}

func (c *chains) remove(f *chain) {
	for _, n := range slices.Backward(f.nodes) {
		n.Remove()
	}
}

// arrange puts the nodes of the graph in the order of their places.
func (c *chains) arrange() {
	nodes := slices.Collect(c.g.Nodes())
	slices.SortStableFunc(nodes, func(a, b *graph.Node) int { return cmp.Compare(c.place[a], c.place[b]) })
	for _, n := range nodes {
		n.MoveBefore(nil)
	}
}
