package graph

import (
	"fmt"
	"slices"
	"sort"
)

// AddInput appends a graph input. The name is made unique if it is taken.
func (g *Graph) AddInput(name string, t Type) *Value {
	v := &Value{Name: g.names.unique(name), Type: t, graph: g, input: true}
	g.inputs = append(g.inputs, v)
	return v
}

// AddInitializer appends a constant. The name is made unique if it is taken.
func (g *Graph) AddInitializer(name string, t *Tensor) *Value {
	v := &Value{Name: g.names.unique(name), Type: t.Type(), constant: t, graph: g}
	g.inits = append(g.inits, v)
	return v
}

// SetDefault makes t the default of input v (an initializer of the same name, in ONNX's terms).
func (g *Graph) SetDefault(v *Value, t *Tensor) {
	if v.constant == nil {
		g.settle()
		g.inits = append(g.inits, v)
	}
	v.constant = t
}

// SetConst replaces the constant of an initializer, and its type.
func (v *Value) SetConst(t *Tensor) {
	if v.constant == nil {
		panic("BUG: SetConst on a value that is no initializer: " + v.Name)
	}
	v.constant = t
	v.Type = t.Type()
}

// MakeInput turns initializer v into a graph input of the same name and type, without a default.
func (g *Graph) MakeInput(v *Value) {
	if v.graph != g || !v.IsInitializer() {
		panic("BUG: MakeInput on a value that is no initializer: " + v.Name)
	}
	g.left++
	v.constant = nil
	v.input = true
	g.inputs = append(g.inputs, v)
}

// AddOutput appends v to the graph outputs.
func (g *Graph) AddOutput(v *Value) {
	g.outputs = append(g.outputs, v)
	v.outputOf = append(v.outputOf, g)
}

// SetOutputs replaces the list of graph outputs.
func (g *Graph) SetOutputs(vs ...*Value) {
	for _, v := range g.outputs {
		v.dropOutput(g)
	}
	g.outputs = nil
	for _, v := range vs {
		g.AddOutput(v)
	}
}

// SetOutput makes v graph output i.
func (g *Graph) SetOutput(i int, v *Value) {
	if old := g.outputs[i]; old != v {
		old.dropOutput(g)
		g.outputs[i] = v
		v.outputOf = append(v.outputOf, g)
	}
}

func (v *Value) dropOutput(g *Graph) {
	for i, h := range v.outputOf {
		if h == g {
			v.outputOf = append(v.outputOf[:i], v.outputOf[i+1:]...)
			return
		}
	}
}

// SetInputs reorders the graph inputs; vs must be a permutation of them.
func (g *Graph) SetInputs(vs ...*Value) {
	if len(vs) != len(g.Inputs()) {
		panic(fmt.Sprintf("BUG: SetInputs with %d of %d inputs", len(vs), len(g.inputs)))
	}
	g.inputs = append([]*Value{}, vs...)
}

// RemoveValue removes an unused input or initializer.
func (g *Graph) RemoveValue(v *Value) {
	if v.graph != g || v.def != nil || len(v.uses) > 0 || v.IsOutput() {
		panic("BUG: RemoveValue on a value in use: " + v.Name)
	}
	g.left++
	g.names.release(v.Name)
	v.graph = nil
}

// Rename gives v another name, made unique if it is taken.
func (v *Value) Rename(name string) {
	if v.Name == name {
		return
	}
	v.graph.names.release(v.Name)
	v.Name = v.graph.names.unique(name)
}

// AddNode makes a node and appends it to g. Outputs are created from the names given; an empty name is a missing output
// (nil), and a taken one is made unique.
func (g *Graph) AddNode(domain, op string, inputs []*Value, outputs []string, attrs ...Attr) *Node {
	return g.InsertNode(nil, domain, op, inputs, outputs, attrs...)
}

// InsertNode is AddNode before node at; at nil means at the end.
func (g *Graph) InsertNode(at *Node, domain, op string, inputs []*Value, outputs []string, attrs ...Attr) *Node {
	n := &Node{
		Domain: domain, Op: op, graph: g,
		inputs: make([]*Value, 0, len(inputs)), outputs: make([]*Value, 0, len(outputs)), attrs: make([]Attr, 0, len(attrs)),
	}
	for _, in := range inputs {
		n.addInput(in)
	}
	for i, name := range outputs {
		if name == "" {
			n.outputs = append(n.outputs, nil)
			continue
		}
		n.outputs = append(n.outputs, &Value{Name: g.names.unique(name), def: n, index: i, graph: g})
	}
	for _, a := range attrs {
		n.SetAttr(a)
	}
	g.link(n, at)
	return n
}

// AddOutput appends an output to n; name is made unique.
func (n *Node) AddOutput(name string) *Value {
	v := &Value{Name: n.graph.names.unique(name), def: n, index: len(n.outputs), graph: n.graph}
	n.outputs = append(n.outputs, v)
	return v
}

// DropOutput makes the unused output i missing (nil); trailing missing outputs are cut off.
func (n *Node) DropOutput(i int) {
	v := n.outputs[i]
	if v == nil {
		return
	}
	if len(v.uses) > 0 || v.IsOutput() {
		panic("BUG: DropOutput of a value in use: " + v.Name)
	}
	n.graph.names.release(v.Name)
	v.graph = nil
	n.outputs[i] = nil
	for len(n.outputs) > 0 && n.outputs[len(n.outputs)-1] == nil {
		n.outputs = n.outputs[:len(n.outputs)-1]
	}
}

func (g *Graph) link(n, at *Node) {
	g.count++
	n.next = at
	if at == nil {
		n.prev, g.last = g.last, n
	} else {
		n.prev, at.prev = at.prev, n
	}
	if n.prev == nil {
		g.first = n
	} else {
		n.prev.next = n
	}
}

func (g *Graph) unlink(n *Node) {
	g.count--
	if n.prev == nil {
		g.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		g.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.before, n.after = n.prev, n.next
	n.prev, n.next = nil, nil
}

// MoveBefore moves n before node at of the same graph; at nil means to the end.
func (n *Node) MoveBefore(at *Node) {
	if at == n {
		return
	}
	g := n.graph
	g.unlink(n)
	g.link(n, at)
}

// Remove removes n, whose outputs must be unused. Nested graphs go with it.
func (n *Node) Remove() {
	for _, o := range n.outputs {
		if o != nil && (len(o.uses) > 0 || o.IsOutput()) {
			panic("BUG: Remove of a node in use: " + n.String())
		}
	}
	n.discard()
}

// discard removes n without looking at its outputs' uses.
func (n *Node) discard() {
	for _, sub := range n.Graphs() {
		n.discardNested(sub)
	}
	for i, in := range n.inputs {
		if in != nil {
			in.dropUse(n, i)
		}
	}
	for _, o := range n.outputs {
		if o != nil {
			n.graph.names.release(o.Name)
			o.graph = nil
		}
	}
	g := n.graph
	g.unlink(n)
	n.graph = nil
}

// discardNested removes all that a nested graph of n holds, unless the graph has been given to another node.
func (n *Node) discardNested(sub *Graph) {
	if sub.owner != n {
		return
	}
	sub.SetOutputs()
	for inner := range sub.Backward() {
		inner.discard()
	}
	for _, v := range slices.Concat(sub.Inputs(), sub.Initializers()) {
		sub.names.release(v.Name)
		v.graph = nil
	}
	sub.inputs, sub.inits, sub.owner = nil, nil, nil
}

// SetInput makes v (or nil) input i of n. Trailing missing inputs are cut off.
func (n *Node) SetInput(i int, v *Value) {
	for len(n.inputs) <= i {
		n.inputs = append(n.inputs, nil)
	}
	if old := n.inputs[i]; old != nil {
		old.dropUse(n, i)
	}
	n.inputs[i] = v
	if v != nil {
		v.uses = append(v.uses, Use{n, i})
	}
	for len(n.inputs) > 0 && n.inputs[len(n.inputs)-1] == nil {
		n.inputs = n.inputs[:len(n.inputs)-1]
	}
}

// SetInputs replaces all inputs of n.
func (n *Node) SetInputs(vs ...*Value) {
	for i, old := range n.inputs {
		if old != nil {
			old.dropUse(n, i)
		}
	}
	n.inputs = nil
	for _, v := range vs {
		n.addInput(v)
	}
}

func (n *Node) addInput(v *Value) {
	n.inputs = append(n.inputs, v)
	if v != nil {
		v.uses = append(v.uses, Use{n, len(n.inputs) - 1})
	}
}

func (v *Value) dropUse(n *Node, i int) {
	for k, u := range v.uses {
		if u.Node == n && u.Index == i {
			v.uses = append(v.uses[:k], v.uses[k+1:]...)
			return
		}
	}
	panic(fmt.Sprintf("BUG: %s does not list its use by %s", v, n))
}

// SetAttr sets or replaces an attribute. A nested graph that is replaced is removed with all it holds, unless it has
// been given to another node before.
func (n *Node) SetAttr(a Attr) {
	if old, ok := n.Attr(a.Name); ok {
		n.dropGraphs(old, a)
	}
	i := sort.Search(len(n.attrs), func(i int) bool { return n.attrs[i].Name >= a.Name })
	if i == len(n.attrs) || n.attrs[i].Name != a.Name {
		n.attrs = append(n.attrs, Attr{})
		copy(n.attrs[i+1:], n.attrs[i:])
	}
	n.attrs[i] = a
	if a.G != nil {
		a.G.owner = n
	}
	for _, sub := range a.Graphs {
		sub.owner = n
	}
	n.listGraphs(a)
}

// listGraphs brings the list of nested graphs up to date once a has come or gone. Lists handed out before stay as they are.
func (n *Node) listGraphs(a Attr) {
	if n.graphs == nil && a.G == nil && a.Graphs == nil {
		return
	}
	n.graphs = nil
	for _, a := range n.attrs {
		if a.G != nil {
			n.graphs = append(n.graphs, a.G)
		}
		n.graphs = append(n.graphs, a.Graphs...)
	}
}

// dropGraphs discards the nested graphs of old that are not in a.
func (n *Node) dropGraphs(old, a Attr) {
	for _, sub := range append([]*Graph{old.G}, old.Graphs...) {
		if sub != nil && sub != a.G && !slices.Contains(a.Graphs, sub) {
			n.discardNested(sub)
		}
	}
}

// RemoveAttr removes the attribute of that name, if present; its nested graphs as in SetAttr.
func (n *Node) RemoveAttr(name string) {
	for i, a := range n.attrs {
		if a.Name == name {
			n.dropGraphs(a, Attr{})
			n.attrs = append(n.attrs[:i], n.attrs[i+1:]...)
			n.listGraphs(a)
			return
		}
	}
}

// ReplaceUses makes every node that uses v, and every output list that holds v, use w instead. The nodes listed in
// except keep v. Nested graphs are included in both.
func (v *Value) ReplaceUses(w *Value, except ...*Node) {
	if v == w {
		return
	}
	v.rewire(w, except)
	for _, g := range v.outputOf {
		for i, o := range g.outputs {
			if o == v {
				g.outputs[i] = w
				w.outputOf = append(w.outputOf, g)
				break
			}
		}
	}
	v.outputOf = nil
}

// rewire makes the nodes that use v, but those in except, use w. The uses are gone through once, whatever their number.
func (v *Value) rewire(w *Value, except []*Node) {
	uses := v.uses
	v.uses = nil
	for _, u := range uses {
		if slices.Contains(except, u.Node) {
			v.uses = append(v.uses, u)
			continue
		}
		u.Node.inputs[u.Index] = w
		w.uses = append(w.uses, u)
	}
}
