package op

import (
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// function is the model-local function that n calls, or nil. Operators of the standard set cannot be replaced.
func (e *env) function(n *graph.Node) *graph.Function {
	if e.model == nil {
		return nil
	}
	f := e.model.Function(n.Domain, n.Op)
	if f != nil && standardDomain(n.Domain) == "" {
		if _, known := Lookup("", n.Op, int(e.opsets[n.Domain])); known {
			return nil
		}
	}
	return f
}

const maxCallDepth = 100

// enter infers a call of f by inferring its body with the types of the arguments; the body is left as it was.
func (e *env) enter(c *Context, f *graph.Function) error {
	body := f.Body
	if len(c.In) > len(body.Inputs()) || len(c.Out) > len(body.Outputs()) {
		return c.fail("%d inputs and %d outputs, but the function takes %d and gives %d",
			len(c.In), len(c.Out), len(body.Inputs()), len(body.Outputs()))
	}
	if e.depth >= maxCallDepth {
		return c.fail("functions nest more than %d deep: is one of them recursive?", maxCallDepth)
	}
	inner := &env{
		model: e.model, opsets: f.Opsets, frame: e.frameOf(c, f), consts: map[*graph.Value]*graph.Tensor{},
		scope: joinScope(e.scope, c.Node), depth: e.depth + 1, memo: e.memo, missing: e.missing, seen: e.seen, work: e.work, walk: e.walk,
	}
	if len(f.Opsets) == 0 {
		inner.opsets = e.opsets
	}
	key := callKey(f, c, inner.frame)
	out, ok := e.memo[key]
	if !ok {
		restore := snapshot(body)
		defer restore()
		forget(body)
		for i, v := range body.Inputs() {
			if i < len(c.In) && c.In[i].Present {
				v.Type, v.Content = c.In[i].Type, c.Content(i)
				inner.consts[v] = c.In[i].Const
			}
		}
		if err := inner.graph(body); err != nil {
			return err
		}
		for _, v := range body.Outputs() {
			out = append(out, inner.argOf(v))
		}
		if e.memo != nil {
			e.memo[key] = out
		}
	}
	for i := range c.Out {
		c.Out[i].Type, c.Out[i].Content = out[i].Type, out[i].Content
	}
	return nil
}

func joinScope(scope string, n *graph.Node) string {
	name := n.Name
	if name == "" {
		name = n.Op
	}
	if n.Scope != "" {
		name = n.Scope + "/" + name
	}
	if scope == "" {
		return name
	}
	return scope + "/" + name
}

// frameOf is the attributes that the body of f sees.
func (e *env) frameOf(c *Context, f *graph.Function) map[string]graph.Attr {
	frame := map[string]graph.Attr{}
	for _, a := range f.Defaults {
		frame[a.Name] = a
	}
	for _, a := range c.Node.Attrs() {
		if v, ok := c.Attr(a.Name); ok {
			frame[a.Name] = v
		}
	}
	return frame
}

// callKey tells calls apart whose results may differ.
func callKey(f *graph.Function, c *Context, frame map[string]graph.Attr) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%p", f)
	for i, a := range c.In {
		fmt.Fprintf(&sb, "|%t %v %v %v %p", a.Present, a.Type, a.Content == nil, c.Content(i), a.Const)
	}
	fmt.Fprintf(&sb, "|%v", frame) // maps print in key order
	return sb.String()
}

// snapshot remembers types and contents of all values in g; restore brings them back.
func snapshot(g *graph.Graph) (restore func()) {
	type known struct {
		v       *graph.Value
		t       graph.Type
		content []graph.Dim
	}
	var all []known
	for v := range deepValues(g) {
		all = append(all, known{v, v.Type, v.Content})
	}
	return func() {
		for _, k := range all {
			k.v.Type, k.v.Content = k.t, k.content
		}
	}
}

// forget makes the values that inference types unknown.
func forget(g *graph.Graph) {
	for v := range deepValues(g) {
		if v.Const() == nil {
			v.Type, v.Content = graph.Type{}, nil
		}
	}
}

func deepValues(g *graph.Graph) func(yield func(*graph.Value) bool) {
	return func(yield func(*graph.Value) bool) { walkValues(g, yield) }
}

func walkValues(g *graph.Graph, yield func(*graph.Value) bool) bool {
	for v := range g.Values() {
		if !yield(v) {
			return false
		}
	}
	for n := range g.Nodes() {
		for _, sub := range n.Graphs() {
			if !walkValues(sub, yield) {
				return false
			}
		}
	}
	return true
}
