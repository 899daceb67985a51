package graph

import (
	"iter"
	"sort"
)

// Model is an ONNX model.
type Model struct {
	IRVersion int64
	Opsets    map[string]int64 // operator set version by domain; "" is ai.onnx
	Graph     *Graph
	Functions []*Function
	Metadata  map[string]string // metadata_props
	Doc       string
	Producer  string
	Version   string // producer version
	Source    string // the file it was read from, for error messages; not written
	External  bool   // constants lay in a second file beside it; not written
}

// NewModel is an empty model of the given opset.
func NewModel(opset int64) *Model {
	return &Model{
		IRVersion: 8, Opsets: map[string]int64{"": opset}, Graph: NewGraph("main"),
		Metadata: map[string]string{}, Producer: "asdlc",
	}
}

// Opset is the version of the standard operator set.
func (m *Model) Opset() int { return int(m.Opsets[""]) }

// Function returns the model-local function of that name, or nil.
func (m *Model) Function(domain, name string) *Function {
	for _, f := range m.Functions {
		if f.Domain == domain && f.Name == name {
			return f
		}
	}
	return nil
}

// Function is a model-local function. Its body's inputs and outputs are the formal ones, without types.
type Function struct {
	Domain, Name string
	Doc          string
	Opsets       map[string]int64
	Attrs        []string // attributes without a default
	Defaults     []Attr   // attributes with a default (IR version 9)
	Body         *Graph
}

// Graph is a list of nodes with inputs, initializers and outputs.
type Graph struct {
	Name string
	Doc  string

	inputs, inits, outputs []*Value // of inputs and inits some may have left, see settle
	left                   int
	first, last            *Node
	count                  int
	owner                  *Node    // the node that holds this graph as an attribute, or nil
	names                  *namer   // shared by a root graph and everything nested in it
	_                      struct{} // keyed literals only: use NewGraph
}

// NewGraph is an empty root graph.
func NewGraph(name string) *Graph { return &Graph{Name: name, names: newNamer()} }

// NewNested is an empty graph to become an attribute of a node of g (or of a graph nested in it); it shares g's names.
// Values of g can be used in it at once.
func (g *Graph) NewNested(name string) *Graph { return &Graph{Name: name, names: g.names} }

// Inputs lists the graph inputs.
func (g *Graph) Inputs() []*Value {
	g.settle()
	return g.inputs
}

// Initializers lists the constants, in order of definition.
func (g *Graph) Initializers() []*Value {
	g.settle()
	return g.inits
}

// settle takes the values off the lists that have left: all at once, so that removing many is not quadratic. The lists handed
// out before stay as they are.
func (g *Graph) settle() {
	if g.left == 0 {
		return
	}
	g.left = 0
	here := func(vs []*Value, of func(v *Value) bool) []*Value {
		out := make([]*Value, 0, len(vs))
		for _, v := range vs {
			if v.graph == g && of(v) {
				out = append(out, v)
			}
		}
		return out
	}
	g.inputs, g.inits = here(g.inputs, (*Value).IsInput), here(g.inits, func(v *Value) bool { return v.constant != nil })
}

// Outputs lists the graph outputs.
func (g *Graph) Outputs() []*Value { return g.outputs }

// Owner is the node that holds g as an attribute; nil for a root graph.
func (g *Graph) Owner() *Node { return g.owner }

// Parent is the graph around a nested graph; nil for a root graph.
func (g *Graph) Parent() *Graph {
	if g.owner == nil {
		return nil
	}
	return g.owner.graph
}

// Len is the number of nodes, nested ones not counted.
func (g *Graph) Len() int { return g.count }

// First is the first node, or nil.
func (g *Graph) First() *Node { return g.first }

// Last is the last node, or nil.
func (g *Graph) Last() *Node { return g.last }

// Nodes walks the nodes in order. The current node may be removed, and nodes may be inserted anywhere: those before
// the current one are not visited, those after it are.
func (g *Graph) Nodes() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for n := g.first; n != nil; {
			if !yield(n) {
				return
			}
			if n.graph == g {
				n = n.next
				continue
			}
			n = n.after // removed during the visit
		}
	}
}

// Backward walks the nodes in reverse order, under the same rules as Nodes.
func (g *Graph) Backward() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		for n := g.last; n != nil; {
			if !yield(n) {
				return
			}
			if n.graph == g {
				n = n.prev
				continue
			}
			n = n.before
		}
	}
}

// All walks the nodes of g and of every graph nested in it, a node before its nested graphs.
func (g *Graph) All() iter.Seq[*Node] {
	return func(yield func(*Node) bool) { g.walk(yield) }
}

func (g *Graph) walk(yield func(*Node) bool) bool {
	for n := range g.Nodes() {
		if !yield(n) {
			return false
		}
		for _, sub := range n.Graphs() {
			if !sub.walk(yield) {
				return false
			}
		}
	}
	return true
}

// Find returns the value of that name in g or in a graph around it, or nil. It is a linear search, for tests and tools.
func (g *Graph) Find(name string) *Value {
	for scope := g; scope != nil; scope = scope.Parent() {
		for v := range scope.Values() {
			if v.Name == name {
				return v
			}
		}
	}
	return nil
}

// Values walks the values that g defines: inputs, initializers, node outputs.
func (g *Graph) Values() iter.Seq[*Value] {
	return func(yield func(*Value) bool) {
		for _, v := range g.Inputs() {
			if !yield(v) {
				return
			}
		}
		for _, v := range g.Initializers() {
			if !v.IsInput() && !yield(v) {
				return
			}
		}
		for n := range g.Nodes() {
			for _, v := range n.outputs {
				if v != nil && !yield(v) {
					return
				}
			}
		}
	}
}

// Value is an edge: a tensor, defined once.
type Value struct {
	Name string
	Type Type
	// Content is the symbolic int64 content of a shape-like tensor of rank 0 or 1, as far as inference knows it;
	// nil when nothing is known. It is an analysis result: it is not printed and not written.
	Content []Dim

	// Foreign is the type, as the file has it, of an output that is no tensor of numbers: a sequence, a map or strings. It is
	// kept for writing.
	Foreign string

	constant *Tensor
	def      *Node
	index    int
	uses     []Use
	graph    *Graph
	input    bool
	outputOf []*Graph // graphs that list v as an output, once per listing
}

// Use is one place where a value is used: input Index of Node.
type Use struct {
	Node  *Node
	Index int
}

// Const is the tensor of an initializer (also of an initializer that is an input, as its default), or nil.
func (v *Value) Const() *Tensor { return v.constant }

// Def is the node that defines v; nil for inputs and initializers.
func (v *Value) Def() *Node { return v.def }

// DefIndex is the position of v among its node's outputs.
func (v *Value) DefIndex() int { return v.index }

// Uses lists the node inputs that v feeds, nested graphs included; graph outputs are not listed.
func (v *Value) Uses() []Use { return v.uses }

// Graph is the graph that defines v; nil once v has been removed.
func (v *Value) Graph() *Graph { return v.graph }

// IsInput reports whether v is a graph input.
func (v *Value) IsInput() bool { return v.input }

// IsInitializer reports whether v is a constant of its graph and not an input.
func (v *Value) IsInitializer() bool { return v.constant != nil && !v.input && v.def == nil }

// IsOutput reports whether v is an output of the graph that defines it or of one nested in it.
func (v *Value) IsOutput() bool { return len(v.outputOf) > 0 }

// String is the name, for messages.
func (v *Value) String() string {
	if v == nil {
		return "-"
	}
	return v.Name
}

// Node is one operator call.
type Node struct {
	Name   string // for people; may be empty and need not be unique
	Domain string // "" is ai.onnx
	Op     string
	Scope  string // call path of the functions it was inlined from, "" at the top
	Doc    string

	attrs         []Attr // sorted by name
	graphs        []*Graph
	inputs        []*Value
	outputs       []*Value
	graph         *Graph
	prev, next    *Node
	before, after *Node // neighbours at the time of removal, so that a walk can go on
}

// Inputs lists the inputs; a missing optional one is nil.
func (n *Node) Inputs() []*Value { return n.inputs }

// Outputs lists the outputs; an unused optional one may be nil.
func (n *Node) Outputs() []*Value { return n.outputs }

// In is input i, or nil if it is missing.
func (n *Node) In(i int) *Value {
	if i < len(n.inputs) {
		return n.inputs[i]
	}
	return nil
}

// Out is output i, or nil if it is missing.
func (n *Node) Out(i int) *Value {
	if i < len(n.outputs) {
		return n.outputs[i]
	}
	return nil
}

// Graph is the graph that n is in; nil once removed.
func (n *Node) Graph() *Graph { return n.graph }

// Next is the following node, or nil.
func (n *Node) Next() *Node { return n.next }

// Prev is the preceding node, or nil.
func (n *Node) Prev() *Node { return n.prev }

// Attrs lists the attributes, sorted by name.
func (n *Node) Attrs() []Attr { return n.attrs }

// Attr returns the attribute of that name.
func (n *Node) Attr(name string) (Attr, bool) {
	i := sort.Search(len(n.attrs), func(i int) bool { return n.attrs[i].Name >= name })
	if i < len(n.attrs) && n.attrs[i].Name == name {
		return n.attrs[i], true
	}
	return Attr{}, false
}

// Int is the int attribute of that name, or def.
func (n *Node) Int(name string, def int64) int64 {
	if a, ok := n.Attr(name); ok && a.Kind == AttrInt {
		return a.I
	}
	return def
}

// Float is the float attribute of that name, or def.
func (n *Node) Float(name string, def float32) float32 {
	if a, ok := n.Attr(name); ok && a.Kind == AttrFloat {
		return a.F
	}
	return def
}

// Str is the string attribute of that name, or def.
func (n *Node) Str(name, def string) string {
	if a, ok := n.Attr(name); ok && a.Kind == AttrString {
		return a.S
	}
	return def
}

// IntList is the ints attribute of that name, or nil.
func (n *Node) IntList(name string) []int64 {
	a, _ := n.Attr(name)
	return a.Ints
}

// Graphs lists the nested graphs of n's attributes, in attribute order.
func (n *Node) Graphs() []*Graph { return n.graphs }

// Is reports whether n is the operator domain::op.
func (n *Node) Is(domain, op string) bool { return n.Domain == domain && n.Op == op }

// String names the node for messages: its name, else operator and first output.
func (n *Node) String() string {
	kind := n.Op
	if n.Domain != "" {
		kind = n.Domain + "." + n.Op
	}
	if n.Name != "" {
		return n.Name + " (" + kind + ")"
	}
	for _, o := range n.outputs {
		if o != nil {
			return kind + " -> " + o.Name
		}
	}
	return kind
}
