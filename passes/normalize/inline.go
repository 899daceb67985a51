package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

const maxCallDepth = 100

// inline expands all calls of model-local functions and drops the functions. The call path stays in Node.Scope. Bodies
// are brought to the model's opset on the way.
func inline(c *pass.Ctx, m *graph.Model) error {
	if len(m.Functions) == 0 {
		return nil
	}
	for range maxCallDepth {
		called := false
		for n := range m.Graph.All() {
			f := callee(m, n)
			if f == nil {
				continue
			}
			if err := inlineCall(c, m, f, n); err != nil {
				return err
			}
			called = true
		}
		if !called {
			m.Functions = nil
			return nil
		}
	}
	return m.Graph.First().Errorf(graph.ErrInvalid, "functions of the model call each other more than %d deep", maxCallDepth)
}

// callee is the model-local function that n calls, or nil. A standard operator cannot be replaced by a function.
func callee(m *graph.Model, n *graph.Node) *graph.Function {
	f := m.Function(n.Domain, n.Op)
	if f == nil {
		return nil
	}
	if n.Domain == "" || n.Domain == "ai.onnx" {
		if _, known := op.Lookup("", n.Op, m.Opset()); known {
			return nil
		}
	}
	return f
}

func inlineCall(c *pass.Ctx, m *graph.Model, f *graph.Function, call *graph.Node) error {
	g := call.Graph()
	before := call.Prev()
	b := &graph.Builder{Graph: g, Model: m, At: call, Prefix: callLabel(call) + "/"}
	outs, err := graph.Inline(b, f, call)
	if err != nil {
		return err
	}
	first := g.First()
	if before != nil {
		first = before.Next()
	}
	from := int(f.Opsets[""])
	if from == 0 {
		from = m.Opset()
	}
	for n := first; n != call; {
		next := n.Next()
		if err := upgradeDeep(c, m, n, from); err != nil {
			return err
		}
		n = next
	}
	own := map[*graph.Node]bool{} // the nodes of the copy
	for n := call.Prev(); n != nil && n != before; n = n.Prev() {
		own[n] = true
	}
	named := map[*graph.Value]bool{}
	for i, v := range call.Outputs() {
		if v == nil {
			continue
		}
		w, output := outs[i], v.IsOutput()
		pass.Replace(v, w)
		if !output && !named[w] && own[w.Def()] {
			pass.TakeName(v, w)
			named[w] = true
		}
	}
	call.Remove()
	return nil
}

func callLabel(n *graph.Node) string {
	label := n.Name
	if label == "" {
		label = n.Op
	}
	if n.Scope != "" {
		label = n.Scope + "/" + label
	}
	return label
}
