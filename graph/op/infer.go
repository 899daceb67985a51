package op

import (
	"cmp"
	"errors"

	"github.com/asdlc/asdlc/graph"
)

// Infer sets the types (and contents) of n's outputs from its inputs, replacing what they were. Calls of model-local
// functions are inferred through the body, which is left as it was; nodes with nested graphs through these, which get
// types too. It checks arity, element types and attributes on the way: the error is a graph.NodeError of kind
// ErrInvalid, or ErrUnsupported for an unknown operator. One model must not be inferred by two goroutines at once.
func Infer(m *graph.Model, n *graph.Node) error {
	return newEnv(m, n.Graph(), callResults{}).node(n)
}

// InferGraph infers the whole model in order. What is declared of a value refines what is inferred; a contradiction is
// an ErrInvalid. All unknown operators are collected and joined; the first other error ends the walk.
func InferGraph(m *graph.Model) error {
	e := newEnv(m, m.Graph, callResults{})
	var missing []error
	e.missing, e.merge, e.seen = &missing, true, map[string]bool{}
	if err := e.graph(m.Graph); err != nil {
		missing = append(missing, err)
	}
	return errors.Join(missing...)
}

// InferCall sets ctx.Out from ctx.In. It leaves the graph as it is. The runtime uses it with concrete arguments.
func InferCall(ctx *Context) error {
	e := &env{work: new(int), walk: (*env).graph, opsets: map[string]int64{ctx.Node.Domain: int64(ctx.Opset)}}
	if ctx.Model != nil {
		e = newEnv(ctx.Model, ctx.Node.Graph(), callResults{})
	}
	e.pure = true
	ctx.env = e
	return e.call(ctx)
}

// env is the surroundings of a node: where functions and opset versions come from, and the attributes of the function
// call whose body is being inferred.
type env struct {
	model   *graph.Model
	opsets  map[string]int64
	frame   map[string]graph.Attr          // attributes of the call; nil outside of a function call
	consts  map[*graph.Value]*graph.Tensor // constants passed to formal inputs
	scope   string
	depth   int
	work    *int            // nodes inferred so far
	pure    bool            // leave nested graphs as they were
	merge   bool            // types already there are declarations to respect
	calls   callResults     // of this inference, or of all by one builder
	missing *[]error        // collects unknown operators; nil: the first is returned
	seen    map[string]bool // unknown operators already reported, if they are collected

	// walk is (*env).graph. Rows with nested graphs call it through this field, since tables must not refer to
	// themselves.
	walk func(*env, *graph.Graph) error
}

func newEnv(m *graph.Model, g *graph.Graph, calls callResults) *env {
	e := &env{model: m, opsets: m.Opsets, calls: calls, work: new(int), walk: (*env).graph}
	for g != nil && g.Parent() != nil {
		g = g.Parent()
	}
	if g == m.Graph {
		return e
	}
	for _, f := range m.Functions {
		if f.Body == g && len(f.Opsets) > 0 {
			e.opsets = f.Opsets
		}
	}
	return e
}

// graph infers the nodes of g in order.
func (e *env) graph(g *graph.Graph) error {
	for _, v := range g.Initializers() {
		if t := e.constOf(v); t != nil && !t.Elem.IsFloat() && len(t.Shape) <= 1 && t.Len() <= maxContent {
			v.Content = tensorContent(t)
		}
	}
	for n := range g.Nodes() {
		err := e.node(n)
		if err != nil && e.missing != nil && errors.Is(err, graph.ErrUnsupported) {
			e.report(err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *env) report(err error) {
	if msg := err.Error(); !e.seen[msg] {
		e.seen[msg] = true
		*e.missing = append(*e.missing, err)
	}
}

// node infers one node.
func (e *env) node(n *graph.Node) error {
	if *e.work++; *e.work > maxWork {
		return nodeError(n, 0, graph.ErrUnsupported, "loops nest too deep: type inference gives up after %d nodes", maxWork)
	}
	c := &Context{Node: n, Model: e.model, env: e}
	opset, ok := e.opsets[n.Domain]
	if !ok {
		opset = e.opsets[standardDomain(n.Domain)]
	}
	c.Opset = int(opset)
	c.In = make([]Arg, len(n.Inputs()))
	for i, v := range n.Inputs() {
		c.In[i] = e.argOf(v)
	}
	if err := e.call(c); err != nil {
		return e.place(err)
	}
	for i, v := range n.Outputs() {
		if v == nil {
			continue
		}
		t := c.Out[i].Type
		if e.merge {
			var err error
			if t, err = mergeType(t, v.Type); err != nil {
				return e.place(c.fail("output %q is %v", v.Name, err))
			}
		}
		v.Type, v.Content = t, c.Out[i].Content
	}
	return nil
}

// place adds the call path to an error inside of a function body.
func (e *env) place(err error) error {
	var ne *graph.NodeError
	if e.scope != "" && errors.As(err, &ne) && ne.Scope == "" {
		moved := *ne
		moved.Scope = e.scope
		return &moved
	}
	return err
}

// call infers a call in c, whose In is set.
func (e *env) call(c *Context) error {
	n := c.Node
	c.Out = make([]Arg, len(n.Outputs()))
	for i, v := range n.Outputs() {
		c.Out[i].Present = v != nil
	}
	if f := e.function(n); f != nil {
		return e.enter(c, f)
	}
	opset := c.Opset
	if n.Domain == graph.Asdl && opset == 0 {
		opset = 1
	}
	if opset == 0 {
		return c.fail("the model imports no version of the operator set %q", n.Domain)
	}
	s, ok := Lookup(n.Domain, n.Op, opset)
	if !ok {
		return c.errorf(graph.ErrUnsupported, "operator %s is not known in version %d of the operator set %s; export the model with operators that asdlc ops lists",
			n.Op, opset, cmp.Or(n.Domain, "ai.onnx"))
	}
	c.schema = s
	if err := c.check(); err != nil {
		return err
	}
	if !e.unbound(n) && s.Infer != nil {
		if err := s.Infer(c); err != nil {
			return err
		}
	}
	return c.finish()
}

// unbound reports whether n refers to attributes of a function that is not being called: then only element types
// are inferred.
func (e *env) unbound(n *graph.Node) bool {
	if e.frame != nil {
		return false
	}
	for _, a := range n.Attrs() {
		if a.Ref != "" {
			return true
		}
	}
	return false
}

// maxWork bounds the nodes inferred for one request, since each Loop around a node may double the work.
const maxWork = 1 << 20

// argOf is what is known of v as an input.
func (e *env) argOf(v *graph.Value) Arg {
	if v == nil {
		return Arg{}
	}
	a := Arg{Present: true, Type: v.Type, Const: e.constOf(v), Content: v.Content}
	if a.Const != nil {
		a.Type = a.Const.Type()
	}
	return a
}

// constOf is the constant value of v, or nil: of an initializer that callers cannot override, of a Constant node, or
// of one of these behind an Identity or the mark of a constant.
func (e *env) constOf(v *graph.Value) *graph.Tensor {
	for range 8 {
		if t := v.Const(); t != nil {
			if !v.IsInput() || e.model == nil || e.model.IRVersion < 4 {
				return t
			}
			return nil
		}
		if t := e.consts[v]; t != nil {
			return t
		}
		n := v.Def()
		switch {
		case n == nil:
			return nil
		case n.Is("", "Constant"):
			a, _ := n.Attr("value")
			return a.T
		case n.Is("", "Identity"), n.Is(graph.Asdl, graph.TagParam) && n.Str("kind", "") == "constant":
			if v = n.In(0); v == nil {
				return nil
			}
		default:
			return nil
		}
	}
	return nil
}
