package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxViolations is how many violations Verify lists.
const maxViolations = 20

// Verify checks the invariants of the package documentation. The error, of kind ErrInvalid, joins the violations found, up
// to a limit; each cites the number of the invariant and names the node or value.
func Verify(m *Model) error {
	c := &checker{model: m, opsets: m.Opsets}
	if m.Graph == nil {
		c.fail("G2", "the model has no graph")
		return errors.Join(c.errs...)
	}
	c.root(m.Graph)
	c.functions()
	return errors.Join(c.errs...)
}

// VerifyGraph checks a root graph and what is nested in it, all invariants but G10 and G11.
func VerifyGraph(g *Graph) error {
	c := &checker{}
	c.root(g)
	return errors.Join(c.errs...)
}

// checker walks one root graph at a time.
type checker struct {
	model  *Model
	fn     *Function        // whose body is walked; nil in the main graph
	opsets map[string]int64 // nil: not checked
	errs   []error

	root0   *Graph
	names   map[string]*Value
	defined []*Value       // in order
	uses    map[*Value]int // node inputs seen, for each value defined so far
	outputs map[*Value]int // graph outputs seen
	domains map[string]bool
}

// violation is an error of kind ErrInvalid.
type violation struct{ msg string }

func (v *violation) Error() string { return v.msg }
func (v *violation) Unwrap() error { return ErrInvalid }

func (c *checker) fail(number, format string, args ...any) {
	if len(c.errs) >= maxViolations {
		return
	}
	msg := number + ": " + fmt.Sprintf(format, args...)
	if c.fn != nil {
		msg = "function " + c.fn.label() + ": " + msg
	}
	c.errs = append(c.errs, &violation{msg})
}

func (f *Function) label() string {
	if f.Domain == "" {
		return f.Name
	}
	return f.Domain + "." + f.Name
}

// root checks a root graph.
func (c *checker) root(g *Graph) {
	c.root0 = g
	c.defined = nil
	count := len(g.names.names)
	c.names, c.uses, c.outputs = make(map[string]*Value, count), make(map[*Value]int, count), map[*Value]int{}
	c.domains = map[string]bool{}
	if g.owner != nil {
		c.fail("G2", "graph %s is a root graph but nested in node %s", g.Name, g.owner)
	}
	c.graph(g, nil)
	for _, v := range c.defined {
		c.useList(v, c.uses[v])
	}
}

func (c *checker) graph(g *Graph, owner *Node) {
	if g.owner != owner {
		c.fail("G2", "nested graph %s of node %s does not name it as its owner", g.Name, owner)
		return
	}
	if g.names != c.root0.names {
		c.fail("G1", "nested graph %s of node %s has a name list of its own; make it with NewNested", g.Name, owner)
	}
	for _, v := range g.Inputs() {
		if !v.input || v.def != nil {
			c.fail("G2", "value %s is listed as an input of graph %s, but it is not one", v, g.Name)
		}
		c.define(g, v)
	}
	for _, v := range g.Initializers() {
		if v.def != nil || v.constant == nil {
			c.fail("G7", "value %s is listed as an initializer of graph %s, but has no constant", v, g.Name)
			continue
		}
		if !v.input {
			c.define(g, v)
		} else if _, ok := c.uses[v]; !ok {
			c.fail("G2", "initializer %s is marked as an input, but graph %s does not list it as one", v, g.Name)
		}
		c.constant(v)
	}
	count := 0
	for n := range g.Nodes() {
		c.node(g, n)
		count++
	}
	if count != g.count {
		c.fail("G2", "graph %s counts %d nodes and has %d", g.Name, g.count, count)
	}
	for _, v := range g.outputs {
		c.output(g, v)
	}
}

// define enters a value that g defines here.
func (c *checker) define(g *Graph, v *Value) {
	if v.Name == "" {
		c.fail("G1", "a value of graph %s has no name", g.Name)
	} else if other := c.names[v.Name]; other != nil && other != v {
		c.fail("G1", "two values are named %s", v.Name)
	} else if !g.NameTaken(v.Name) {
		c.fail("G1", "the name of value %s is not reserved; change names with Rename", v.Name)
	}
	c.names[v.Name] = v
	if _, twice := c.uses[v]; twice {
		c.fail("G2", "value %s is defined twice", v)
		return
	}
	c.uses[v] = 0
	c.defined = append(c.defined, v)
	if v.graph != g {
		c.fail("G2", "value %s is defined in graph %s but does not belong to it", v, g.Name)
	}
	c.valueType(v)
}

func (c *checker) valueType(v *Value) {
	if v.Type.Elem != Undefined && !v.Type.Elem.Valid() {
		c.fail("G8", "value %s has element type %s, which tensors cannot have", v, v.Type.Elem)
	}
	for i, d := range v.Type.Dims {
		if n, known := d.Int(); known && n < 0 {
			c.fail("G8", "dimension %d of value %s is %d", i, v, n)
		}
	}
}

func (c *checker) constant(v *Value) {
	t := v.constant
	n, err := CountOf(t.Shape, t.Elem.Size())
	switch {
	case !t.Elem.Valid() || err != nil || n*int64(t.Elem.Size()) != int64(len(t.Raw)):
		c.fail("G7", "the constant of %s, of type %s and shape %v, has %d bytes", v, t.Elem, t.Shape, len(t.Raw))
	case !v.Type.admits(t):
		c.fail("G7", "value %s has type %s, but its constant has %s", v, v.Type, t.Type())
	}
}

// admits reports whether a constant can have type t, unknown parts of which allow anything.
func (t Type) admits(k *Tensor) bool {
	if t.Elem != k.Elem {
		return false
	}
	if !t.Ranked {
		return true
	}
	if len(t.Dims) != len(k.Shape) {
		return false
	}
	for i, d := range t.Dims {
		if n, known := d.Int(); known && n != k.Shape[i] {
			return false
		}
	}
	return true
}

func (c *checker) node(g *Graph, n *Node) {
	if n.graph != g {
		c.fail("G2", "node %s is listed in graph %s but does not belong to it", n, g.Name)
	}
	for i, v := range n.inputs {
		if v != nil {
			c.use(g, v, n, i)
		}
	}
	c.attrs(n)
	for _, sub := range n.Graphs() {
		c.graph(sub, n)
	}
	for i, v := range n.outputs {
		if v == nil {
			continue
		}
		if v.def != n || v.index != i || v.input || v.constant != nil {
			c.fail("G2", "value %s is output %d of node %s, but does not say so", v, i, n)
		}
		c.define(g, v)
	}
	if c.opsets != nil && !c.domains[n.Domain] {
		c.domains[n.Domain] = true
		if _, ok := c.opsets[n.Domain]; !ok && c.model.Opsets[n.Domain] == 0 {
			c.fail("G11", "node %s: domain %q has no opset version; add it to the model's opset imports", n, n.Domain)
		}
	}
}

// use checks input i of n.
func (c *checker) use(g *Graph, v *Value, n *Node, i int) {
	if _, ok := c.uses[v]; !ok {
		c.unseen(g, v, fmt.Sprintf("input %d of node %s", i, n))
		return
	}
	c.uses[v]++
	if !v.graph.encloses(g) {
		c.fail("G3", "input %d of node %s uses value %s, which belongs to graph %s, not around it", i, n, v, v.graph.Name)
	}
}

// unseen tells why a value is not defined at the place where it is used.
func (c *checker) unseen(g *Graph, v *Value, place string) {
	switch {
	case v.graph == nil:
		c.fail("G3", "%s uses value %s, which has been removed", place, v)
	case v.graph.encloses(g):
		c.fail("G5", "%s uses value %s, which is defined later", place, v)
	default:
		c.fail("G3", "%s uses value %s of graph %s, which is not around it", place, v, v.graph.Name)
	}
}

// encloses reports whether g is inner or a graph around it.
func (g *Graph) encloses(inner *Graph) bool {
	for ; inner != nil; inner = inner.Parent() {
		if inner == g {
			return true
		}
	}
	return false
}

func (c *checker) output(g *Graph, v *Value) {
	if v == nil {
		c.fail("G6", "graph %s has an output that is nil", g.Name)
		return
	}
	c.outputs[v]++
	if _, ok := c.uses[v]; !ok {
		c.unseen(g, v, "the output list of graph "+g.Name)
	} else if !v.graph.encloses(g) || (g == c.root0 && v.graph != g) {
		c.fail("G6", "output %s of graph %s belongs to graph %s, which is not around it", v, g.Name, v.graph.Name)
	}
}

// useList compares the use list of v with the uses seen. If every entry is a true one, none is doubled and the count is
// right, then the list is exact.
func (c *checker) useList(v *Value, seen int) {
	for k, u := range v.uses {
		if u.Node == nil || u.Index >= len(u.Node.inputs) || u.Node.inputs[u.Index] != v {
			c.fail("G4", "value %s lists a use by node %s that is none", v, u.Node)
			return
		}
		if k > 0 && k < 16 && doubled(v.uses[:k], u) {
			c.fail("G4", "value %s lists input %d of node %s twice", v, u.Index, u.Node)
			return
		}
	}
	if len(v.uses) > 16 {
		all := make(map[Use]bool, len(v.uses))
		for _, u := range v.uses {
			all[u] = true
		}
		if len(all) != len(v.uses) {
			c.fail("G4", "value %s lists a use twice", v)
		}
	}
	if len(v.uses) != seen {
		c.fail("G4", "value %s lists %d uses, but nodes of the graph use it %d times", v, len(v.uses), seen)
	}
	if len(v.outputOf) != c.outputs[v] {
		c.fail("G6", "value %s says it is an output %d times, but %d output lists hold it", v, len(v.outputOf), c.outputs[v])
	}
}

func doubled(uses []Use, u Use) bool {
	for _, o := range uses {
		if o == u {
			return true
		}
	}
	return false
}

func (c *checker) attrs(n *Node) {
	for i, a := range n.attrs {
		if a.G != nil && !slices.Contains(n.graphs, a.G) {
			c.fail("G9", "node %s: attribute %s was given a graph other than by SetAttr", n, a.Name)
		}
		if a.Name == "" || (i > 0 && n.attrs[i-1].Name >= a.Name) {
			c.fail("G9", "node %s: attribute name %q is empty, used twice or out of order", n, a.Name)
		}
		if why := a.payload(); why != "" {
			c.fail("G9", "node %s: attribute %s %s", n, a.Name, why)
		}
		if a.Ref != "" && (c.fn == nil && c.model != nil || c.fn != nil && !c.fn.hasAttr(a.Ref)) {
			c.fail("G9", "node %s: attribute %s refers to %s, which is no attribute of a function around it", n, a.Name, a.Ref)
		}
	}
}

// payload tells in which way the payload does not fit the kind; "" if it does.
func (a *Attr) payload() string {
	switch a.Kind {
	case AttrFloat, AttrInt, AttrString, AttrFloats, AttrInts, AttrStrings:
	case AttrTensor:
		if a.T == nil && a.Ref == "" {
			return "is a tensor, but has none"
		}
	case AttrGraph:
		if a.G == nil && a.Ref == "" {
			return "is a graph, but has none"
		}
	case AttrGraphs:
		for _, g := range a.Graphs {
			if g == nil {
				return "is a list of graphs with a nil in it"
			}
		}
	default:
		return fmt.Sprintf("has no kind that is known (%d)", a.Kind)
	}
	if (a.T != nil && a.Kind != AttrTensor) || (a.G != nil && a.Kind != AttrGraph) || (len(a.Graphs) > 0 && a.Kind != AttrGraphs) {
		return "has a payload of another kind"
	}
	return ""
}

// hasAttr reports whether f declares an attribute of that name.
func (f *Function) hasAttr(name string) bool {
	for _, a := range f.Attrs {
		if a == name {
			return true
		}
	}
	for _, a := range f.Defaults {
		if a.Name == name {
			return true
		}
	}
	return false
}

type funcKey struct{ domain, name string }

// functions checks every function body, then that none calls itself.
func (c *checker) functions() {
	byKey := make(map[funcKey]*Function, len(c.model.Functions))
	for _, f := range c.model.Functions {
		c.fn = f
		key := funcKey{f.Domain, f.Name}
		if f.Name == "" || byKey[key] != nil {
			c.fail("G10", "the name of a function is empty or used twice")
		}
		byKey[key] = f
		if f.Body == nil {
			c.fail("G10", "the function has no body")
			continue
		}
		c.opsets = f.Opsets
		if c.opsets == nil {
			c.opsets = c.model.Opsets
		}
		c.root(f.Body)
	}
	c.fn = nil
	c.recursion(byKey)
}

// recursion looks for a cycle of calls by depth-first search.
func (c *checker) recursion(byKey map[funcKey]*Function) {
	const open, done = 1, 2
	state := make(map[*Function]int, len(byKey))
	var path []string
	var visit func(f *Function) bool
	visit = func(f *Function) bool {
		if f.Body == nil || state[f] == done {
			return true
		}
		path = append(path, f.label())
		if state[f] == open {
			c.fail("G10", "functions call one another in a circle: %s", strings.Join(path, " -> "))
			return false
		}
		state[f] = open
		for n := range f.Body.All() {
			if callee := byKey[funcKey{n.Domain, n.Op}]; callee != nil && !visit(callee) {
				return false
			}
		}
		state[f] = done
		path = path[:len(path)-1]
		return true
	}
	for _, f := range c.model.Functions {
		if !visit(f) {
			return
		}
	}
}
