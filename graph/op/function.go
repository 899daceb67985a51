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
	frame := e.frameOf(c, f)
	key, held := callKey(f, c, frame)
	known, ok := e.calls[key]
	if !ok {
		out, err := e.body(c, f, frame)
		if err != nil {
			return err
		}
		known = callResult{out, f, frame, held}
		if e.calls != nil {
			e.calls[key] = known
		}
	}
	for i := range c.Out {
		c.Out[i].Type, c.Out[i].Content = known.out[i].Type, known.out[i].Content
	}
	return nil
}

// body infers the body of f for a call and returns its outputs.
func (e *env) body(c *Context, f *graph.Function, frame map[string]graph.Attr) ([]Arg, error) {
	inner := &env{
		model: e.model, opsets: f.Opsets, frame: frame, consts: map[*graph.Value]*graph.Tensor{},
		scope: joinScope(e.scope, c.Node), depth: e.depth + 1, calls: e.calls, missing: e.missing, seen: e.seen, work: e.work, walk: e.walk,
	}
	if len(f.Opsets) == 0 {
		inner.opsets = e.opsets
	}
	defer snapshot(f.Body)()
	forget(f.Body)
	for i, v := range f.Body.Inputs() {
		if i < len(c.In) && c.In[i].Present {
			v.Type, v.Content = c.In[i].Type, c.Content(i)
			inner.consts[v] = c.In[i].Const
		}
	}
	if err := inner.graph(f.Body); err != nil {
		return nil, err
	}
	out := make([]Arg, len(f.Body.Outputs()))
	for i, v := range f.Body.Outputs() {
		out[i] = inner.argOf(v)
	}
	return out, nil
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

// callResults has what calls of functions gave, by callKey. Functions must not change meanwhile.
type callResults map[string]callResult

// callResult is the outputs of a call. It holds what its key names by address, so that nothing else comes to lie there.
type callResult struct {
	out    []Arg
	f      *graph.Function
	frame  map[string]graph.Attr
	consts []*graph.Tensor
}

// maxKeyConst is the size in bytes up to which constant arguments of calls are compared by content.
const maxKeyConst = 64

// callKey tells calls apart whose results may differ; consts are the constants that it names by address.
func callKey(f *graph.Function, c *Context, frame map[string]graph.Attr) (key string, consts []*graph.Tensor) {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%p", f)
	for i, a := range c.In {
		fmt.Fprintf(&sb, "|%t %v %v %v ", a.Present, a.Type, a.Content == nil, c.Content(i))
		switch {
		case a.Const == nil:
		case len(a.Const.Raw) <= maxKeyConst:
			fmt.Fprintf(&sb, "%x", a.Const.Raw)
		default:
			fmt.Fprintf(&sb, "%p", a.Const)
			consts = append(consts, a.Const)
		}
	}
	if len(frame) > 0 {
		fmt.Fprintf(&sb, "|%v", frame) // maps print in key order
	}
	return sb.String(), consts
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
