package lower

import (
	"errors"
	"fmt"
	"sync"

	"github.com/chewxy/hm"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/gorgonia"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Program is a lowered model.
type Program struct {
	Main     *Body
	Model    *graph.Model // what was lowered, inlined and typed
	Registry *kernel.Registry
	Pool     *kernel.Pool // workers of the kernels; may be nil
	MaxBytes int64        // refuse larger tensors; 0 is graph.MaxTensorBytes

	nextID uint32
}

// Body is a lowered graph: the main one, or one nested in an If, Loop or Scan node.
type Body struct {
	expr  *gorgonia.ExprGraph
	Graph *graph.Graph
	// Inputs are the nodes of the graph's inputs, in order.
	Inputs []*gorgonia.Node
	// Captures are the values of enclosing graphs that the body uses, and the nodes that stand for them in it.
	Captures     []*graph.Value
	CaptureNodes []*gorgonia.Node
	// CaptureArgs gives, for each capture, the child of the owning node that feeds it.
	CaptureArgs []int
	// Inits are the nodes of the initializers, with a bound Value.
	Inits []*gorgonia.Node
	// Outputs are the nodes of the graph's outputs, in order; an output may be an input or a capture.
	Outputs []*gorgonia.Node
	// OutputNames are the names of the outputs in the model before inlining.
	OutputNames []string

	nodes    map[*graph.Value]*gorgonia.Node
	children []gorgonia.Nodes // by the node's ID
	connect  sync.Once
}

// NodeOf is the Gorgonia node of a value of the body's graph, or of a capture; nil if there is none.
func (b *Body) NodeOf(v *graph.Value) *gorgonia.Node { return b.nodes[v] }

// Lower lowers a copy of m, as Take does.
func Lower(m *graph.Model, reg *kernel.Registry, pool *kernel.Pool) (*Program, error) {
	return Take(graph.Clone(m), reg, pool)
}

// Take inlines calls of functions that have no native kernel, infers types, and builds the Gorgonia graph. All operators without
// a kernel are reported at once, as graph.ErrUnsupported. m becomes part of the program: nobody else is to use it from then on.
func Take(m *graph.Model, reg *kernel.Registry, pool *kernel.Pool) (*Program, error) {
	var names []string
	for _, o := range m.Graph.Outputs() {
		names = append(names, o.Name)
	}
	if err := inlineCalls(m, reg); err != nil {
		return nil, err
	}
	if err := checkKernels(m, reg); err != nil {
		return nil, err
	}
	if err := op.InferGraph(m); err != nil {
		return nil, err
	}
	fuse(m.Graph, reg)
	p := &Program{Model: m, Registry: reg, Pool: pool}
	main, err := p.body(m.Graph, nil)
	if err != nil {
		return nil, err
	}
	main.OutputNames = names
	p.Main = main
	return p, nil
}

// checkKernels lists the nodes whose operator nothing can run.
func checkKernels(m *graph.Model, reg *kernel.Registry) error {
	var missing []error
	for n := range m.Graph.All() {
		if IsControl(n) || reg.Has(n.Domain, n.Op) {
			continue
		}
		missing = append(missing, n.Errorf(graph.ErrUnsupported, "no kernel for operator %s; `asdlc ops` lists those that run", opName(n)))
	}
	return errors.Join(missing...)
}

func opName(n *graph.Node) string {
	if n.Domain == "" {
		return n.Op
	}
	return n.Domain + "." + n.Op
}

// IsControl reports whether n runs nested graphs: If, Loop or Scan.
func IsControl(n *graph.Node) bool {
	if n.Domain != "" {
		return false
	}
	switch n.Op {
	case "If", "Loop", "Scan":
		return true
	}
	return false
}

// body lowers g; captures are the outer values that it uses.
func (p *Program) body(g *graph.Graph, captures []*graph.Value) (*Body, error) {
	b := &Body{
		expr: gorgonia.NewGraph(gorgonia.WithGraphName(g.Name)), Graph: g, Captures: captures,
		nodes: make(map[*graph.Value]*gorgonia.Node, g.Len()),
	}
	for _, v := range g.Inputs() {
		b.Inputs = append(b.Inputs, b.input(v))
	}
	for _, v := range captures {
		b.CaptureNodes = append(b.CaptureNodes, b.input(v))
	}
	for _, v := range g.Initializers() {
		if v.IsInput() {
			continue
		}
		n := b.input(v)
		if err := gorgonia.UnsafeLet(n, Value{kernel.FromConst(v.Const())}); err != nil {
			return nil, fmt.Errorf("initializer %q: %w", v.Name, err)
		}
		b.Inits = append(b.Inits, n)
	}
	for n := range g.Nodes() {
		if err := p.node(b, n); err != nil {
			return nil, err
		}
	}
	for _, v := range g.Outputs() {
		n, ok := b.nodes[v]
		if !ok {
			return nil, fmt.Errorf("%w: output %q of graph %q is defined nowhere", graph.ErrInvalid, v.Name, g.Name)
		}
		b.Outputs = append(b.Outputs, n)
		b.OutputNames = append(b.OutputNames, v.Name)
	}
	return b, nil
}

// input makes an input node for a value.
func (b *Body) input(v *graph.Value) *gorgonia.Node {
	n := b.add(nil, append(nodeOptions(v.Type), gorgonia.WithName(v.Name))...)
	b.nodes[v] = n
	return n
}

// add makes a node. Gorgonia looks the end of an edge up among all nodes, so edges are drawn once somebody asks for them.
func (b *Body) add(children gorgonia.Nodes, opts ...gorgonia.NodeConsOpt) *gorgonia.Node {
	n := gorgonia.NewUniqueNode(append(opts, gorgonia.In(b.expr))...)
	gorgonia.WithChildren(children)(n)
	b.children = append(b.children, children)
	return n
}

// Nodes lists the nodes, children first. The ID of a node is its place in the list.
func (b *Body) Nodes() gorgonia.Nodes { return b.expr.AllNodes() }

// Children are what a node computes from.
func (b *Body) Children(n *gorgonia.Node) gorgonia.Nodes { return b.children[n.ID()] }

// ExprGraph is the body as Gorgonia's own tools take it.
func (b *Body) ExprGraph() *gorgonia.ExprGraph {
	b.connect.Do(func() {
		for _, n := range b.expr.AllNodes() {
			for _, c := range b.Children(n) {
				b.expr.SetEdge(simple.Edge{F: n, T: c})
			}
		}
	})
	return b.expr
}

func nodeOptions(t graph.Type) []gorgonia.NodeConsOpt {
	opts := append(make([]gorgonia.NodeConsOpt, 0, 5), gorgonia.WithType(nodeType(t))) // with room for what callers add
	if t.Rank() != 0 {
		opts = append(opts, gorgonia.WithShape(nodeShape(t)...))
	}
	return opts
}

// node lowers n into b.
func (p *Program) node(b *Body, n *graph.Node) error {
	p.nextID++
	count := len(n.Inputs())
	o := &Op{Node: n, Opset: int(p.Model.Opsets[n.Domain]), Args: make([]int, 0, count), prog: p, id: p.nextID}
	children, types := make(gorgonia.Nodes, 0, count), make([]hm.Type, 0, count+1)
	add := func(v *graph.Value) (int, error) {
		c, ok := b.nodes[v]
		if !ok {
			return 0, n.Errorf(graph.ErrInvalid, "uses %q, which is not defined before it", v.Name)
		}
		children = append(children, c)
		types = append(types, c.Type())
		return len(children) - 1, nil
	}
	for _, v := range n.Inputs() {
		arg := -1
		if v != nil {
			var err error
			if arg, err = add(v); err != nil {
				return err
			}
		}
		o.Args = append(o.Args, arg)
	}
	if err := p.nested(o, add); err != nil {
		return err
	}
	o.arity = len(children)
	return b.result(p, o, children, types)
}

// nested lowers the graphs of o's node; add makes a captured value a child.
func (p *Program) nested(o *Op, add func(*graph.Value) (int, error)) error {
	if len(o.Node.Graphs()) == 0 {
		return nil
	}
	args := map[*graph.Value]int{}
	for _, sub := range o.Node.Graphs() {
		captures := freeValues(sub)
		body, err := p.body(sub, captures)
		if err != nil {
			return err
		}
		for _, v := range captures {
			arg, ok := args[v]
			if !ok {
				if arg, err = add(v); err != nil {
					return err
				}
				args[v] = arg
			}
			body.CaptureArgs = append(body.CaptureArgs, arg)
		}
		o.Bodies = append(o.Bodies, body)
	}
	return nil
}

// result adds the node of o, and selects for several outputs.
func (b *Body) result(p *Program, o *Op, children gorgonia.Nodes, types []hm.Type) error {
	outs := o.Node.Outputs()
	if !o.tuple() && outs[0] != nil {
		o.result = outs[0].Type
		t := nodeType(o.result)
		o.typ = fnType(types, t)
		b.nodes[outs[0]] = b.add(children, append(nodeOptions(o.result), gorgonia.WithOp(o), gorgonia.WithName(outs[0].Name))...)
		return nil
	}
	o.typ = fnType(types, tupleType)
	tuple := b.add(children, gorgonia.WithType(tupleType), gorgonia.WithOp(o), gorgonia.WithName(o.Node.String()))
	for i, v := range outs {
		if v == nil {
			continue
		}
		p.nextID++
		s := &Select{Index: i, id: p.nextID, typ: v.Type}
		b.nodes[v] = b.add(gorgonia.Nodes{tuple}, append(nodeOptions(v.Type), gorgonia.WithOp(s), gorgonia.WithName(v.Name))...)
	}
	return nil
}

// fnType is the type of a function of the given arguments; without any it is the result's.
func fnType(args []hm.Type, result hm.Type) hm.Type {
	if len(args) == 0 {
		return result
	}
	return hm.NewFnType(append(args, result)...)
}

// freeValues lists the values of enclosing graphs that g, or a graph nested in it, uses; in order of first use.
func freeValues(g *graph.Graph) []*graph.Value {
	var free []*graph.Value
	seen := map[*graph.Value]bool{}
	inside := map[*graph.Graph]bool{g: true}
	note := func(v *graph.Value) {
		if v != nil && !inside[v.Graph()] && !seen[v] {
			seen[v] = true
			free = append(free, v)
		}
	}
	for n := range g.All() {
		for _, sub := range n.Graphs() {
			inside[sub] = true
		}
	}
	for n := range g.All() {
		for _, v := range n.Inputs() {
			note(v)
		}
		for _, sub := range n.Graphs() {
			for _, v := range sub.Outputs() {
				note(v)
			}
		}
	}
	for _, v := range g.Outputs() {
		note(v)
	}
	return free
}
