package graph

import (
	"fmt"
	"maps"
	"slices"
)

// Clone is a deep copy of m. Constants are shared, for they do not change.
func Clone(m *Model) *Model {
	c := *m
	c.Opsets, c.Metadata = maps.Clone(m.Opsets), maps.Clone(m.Metadata)
	c.Graph = CloneGraph(m.Graph)
	c.Functions = nil
	for _, f := range m.Functions {
		c.Functions = append(c.Functions, cloneFunction(f))
	}
	return &c
}

func cloneFunction(f *Function) *Function {
	c := *f
	c.Opsets, c.Attrs = maps.Clone(f.Opsets), slices.Clone(f.Attrs)
	c.Defaults = nil
	for _, a := range f.Defaults {
		c.Defaults = append(c.Defaults, a.cloneLists())
	}
	c.Body = CloneGraph(f.Body)
	return &c
}

// CloneGraph is a deep copy of a root graph. New names in the copy come out as they would in the original.
func CloneGraph(g *Graph) *Graph {
	if g.owner != nil {
		panic("BUG: CloneGraph of a nested graph; use CopyNodes")
	}
	c := NewGraph(g.Name)
	c.names = g.names.counted()
	k := copier{vals: make(map[*Value]*Value, len(g.names.names))}
	if err := k.fill(c, g); err != nil {
		panic("BUG: " + err.Error()) // only attribute references fail
	}
	return c
}

// CopyNodes copies the nodes of src, with their nested graphs, to where b inserts. vals says what stands for the inputs of
// src (nil for a missing one); the copies of initializers, which become initializers of b.Graph, and of node outputs are
// added to it. Values of graphs around src stand for themselves and must be visible from b.Graph. New names are the old
// ones after b.Prefix, made unique; the scope of a copy is b.Scope followed by its own. b.Infer is called on each
// copy. src is not changed; it must be in legal order.
func CopyNodes(b *Builder, src *Graph, vals map[*Value]*Value) {
	c := copier{vals: vals, prefix: b.Prefix, scope: b.Scope}
	if err := c.into(b, src); err != nil {
		panic("BUG: " + err.Error()) // only attribute references fail
	}
}

// CopyNode copies one node, with its nested graphs, to where b inserts; see CopyNodes. Values that vals does not have stand
// for themselves.
func CopyNode(b *Builder, n *Node, vals map[*Value]*Value) *Node {
	c := copier{vals: vals, prefix: b.Prefix, scope: b.Scope}
	w, err := c.node(b.Graph, b.At, n)
	if err != nil {
		panic("BUG: " + err.Error()) // only attribute references fail
	}
	if b.Infer != nil {
		if err := b.Infer(w); err != nil {
			b.Fail(err)
		}
	}
	return w
}

// Inline copies the body of f for the call, to where b inserts, and returns what stands for the call's outputs. Attribute
// references take the value of the call, else the default; an attribute with neither is left out. The scope of the
// copies is the call's scope followed by its name (or else the function's). The call stays: let its users use the
// values returned, then remove it. Errors, of kind ErrInvalid, name the call.
func Inline(b *Builder, f *Function, call *Node) ([]*Value, error) {
	formal := f.Body.Inputs()
	if len(call.inputs) > len(formal) || len(call.outputs) > len(f.Body.outputs) {
		return nil, call.Errorf(ErrInvalid, "function %s takes %d inputs and gives %d outputs; the call has %d and %d",
			f.label(), len(formal), len(f.Body.outputs), len(call.inputs), len(call.outputs))
	}
	label := call.Name
	if label == "" {
		label = f.Name
	}
	c := copier{
		vals: make(map[*Value]*Value, len(formal)+f.Body.count), prefix: b.Prefix, scope: joinScope(call.Scope, label),
		attr: func(a Attr) (Attr, bool, error) { return f.bind(a, call) },
	}
	for i, v := range formal {
		c.vals[v] = call.In(i)
	}
	if err := c.into(b, f.Body); err != nil {
		return nil, err
	}
	outs := make([]*Value, len(call.outputs))
	for i := range outs {
		outs[i] = c.vals[f.Body.outputs[i]]
		if outs[i] == nil && call.outputs[i] != nil {
			return nil, call.Errorf(ErrInvalid, "output %d of function %s is its input %s, which the call leaves out",
				i, f.label(), f.Body.outputs[i])
		}
	}
	return outs, nil
}

// bind replaces a reference to an attribute of f by what the call gives, or else the default; false if there is neither.
func (f *Function) bind(a Attr, call *Node) (Attr, bool, error) {
	if a.Ref == "" {
		return a, true, nil
	}
	given, ok := call.Attr(a.Ref)
	for i := 0; !ok && i < len(f.Defaults); i++ {
		if f.Defaults[i].Name == a.Ref {
			given, ok = f.Defaults[i], true
		}
	}
	if !ok {
		return Attr{}, false, nil
	}
	if given.Kind != a.Kind {
		return Attr{}, false, call.Errorf(ErrInvalid, "attribute %s has kind %s, but function %s uses it as %s",
			a.Ref, given.Kind, f.label(), a.Kind)
	}
	given.Name = a.Name
	return given, true, nil
}

// joinScope appends a step to a call path.
func joinScope(path, step string) string {
	if path == "" || step == "" {
		return path + step
	}
	return path + "/" + step
}

// copier copies parts of graphs. vals maps the values met so far.
type copier struct {
	vals          map[*Value]*Value
	prefix, scope string
	// attr, if set, replaces attributes; false leaves one out.
	attr func(Attr) (Attr, bool, error)
}

// into copies the initializers and nodes of src to where b inserts.
func (c *copier) into(b *Builder, src *Graph) error {
	for _, v := range src.Initializers() {
		if _, mapped := c.vals[v]; !mapped {
			c.initializer(b.Graph, v)
		}
	}
	for n := range src.Nodes() {
		w, err := c.node(b.Graph, b.At, n)
		if err != nil {
			return err
		}
		if b.Infer != nil {
			if err := b.Infer(w); err != nil {
				b.Fail(err)
			}
		}
	}
	return nil
}

// fill copies everything of src into the empty graph dst.
func (c *copier) fill(dst, src *Graph) error {
	dst.Doc = src.Doc
	for _, v := range src.Inputs() {
		c.vals[v] = dst.AddInput(c.prefix+v.Name, v.Type.clone())
		c.vals[v].Content = slices.Clone(v.Content)
	}
	for _, v := range src.Initializers() {
		if v.input {
			dst.SetDefault(c.vals[v], v.constant)
		} else {
			c.initializer(dst, v)
		}
	}
	for n := range src.Nodes() {
		if _, err := c.node(dst, nil, n); err != nil {
			return err
		}
	}
	for _, v := range src.outputs {
		dst.AddOutput(c.value(dst, v))
	}
	return nil
}

func (c *copier) initializer(dst *Graph, v *Value) {
	w := dst.AddInitializer(c.prefix+v.Name, v.constant)
	w.Type, w.Content, w.Foreign = v.Type.clone(), slices.Clone(v.Content), v.Foreign
	c.vals[v] = w
}

// value is what stands for v in dst.
func (c *copier) value(dst *Graph, v *Value) *Value {
	if v == nil {
		return nil
	}
	if w, mapped := c.vals[v]; mapped {
		return w
	}
	if v.graph == nil || v.graph.names != dst.names {
		panic(fmt.Sprintf("BUG: copy of a use of %s, which nothing stands for", v))
	}
	return v
}

// node copies n to before at.
func (c *copier) node(dst *Graph, at *Node, n *Node) (*Node, error) {
	inputs := make([]*Value, len(n.inputs))
	for i, v := range n.inputs {
		inputs[i] = c.value(dst, v)
	}
	for k := len(inputs) - 1; k >= 0 && inputs[k] == nil && n.inputs[k] != nil; k-- { // left out by a call
		inputs = inputs[:len(inputs)-1]
	}
	outputs := make([]string, len(n.outputs))
	for i, v := range n.outputs {
		if v != nil {
			outputs[i] = c.prefix + v.Name
		}
	}
	w := dst.InsertNode(at, n.Domain, n.Op, inputs, outputs)
	w.Name, w.Doc, w.Scope = n.Name, n.Doc, joinScope(c.scope, n.Scope)
	for i, v := range n.outputs {
		if v != nil {
			w.outputs[i].Type, w.outputs[i].Content, w.outputs[i].Foreign = v.Type.clone(), slices.Clone(v.Content), v.Foreign
			c.vals[v] = w.outputs[i]
		}
	}
	w.attrs = make([]Attr, 0, len(n.attrs))
	for _, a := range n.attrs {
		if err := c.copyAttr(w, a); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (c *copier) copyAttr(w *Node, a Attr) error {
	if c.attr != nil {
		bound, keep, err := c.attr(a)
		if err != nil || !keep {
			return err
		}
		a = bound
	}
	a = a.cloneLists()
	if a.G != nil {
		sub, err := c.nested(w, a.G)
		if err != nil {
			return err
		}
		a.G = sub
	}
	for i, g := range a.Graphs {
		sub, err := c.nested(w, g)
		if err != nil {
			return err
		}
		a.Graphs[i] = sub
	}
	w.SetAttr(a)
	return nil
}

// nested copies a graph to become an attribute of w. Its owner is known while it is filled.
func (c *copier) nested(w *Node, g *Graph) (*Graph, error) {
	sub := w.graph.NewNested(g.Name)
	sub.owner = w
	return sub, c.fill(sub, g)
}

// cloneLists copies the lists of an attribute; nested graphs stay the same.
func (a Attr) cloneLists() Attr {
	a.Floats, a.Ints, a.Strings = slices.Clone(a.Floats), slices.Clone(a.Ints), slices.Clone(a.Strings)
	a.Graphs = slices.Clone(a.Graphs)
	return a
}

func (t Type) clone() Type {
	t.Dims = slices.Clone(t.Dims)
	return t
}
