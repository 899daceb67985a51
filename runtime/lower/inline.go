package lower

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// maxInlined bounds the calls that are expanded, against functions that call each other in exploding numbers.
const maxInlined = 1 << 20

// inlineCalls expands the calls of model-local functions, also those that come out of an expansion, except calls that
// a native kernel serves.
func inlineCalls(m *graph.Model, reg *kernel.Registry) error {
	if len(m.Functions) == 0 {
		return nil
	}
	functions := map[[2]string]*graph.Function{}
	for _, f := range m.Functions {
		if !reg.Has(f.Domain, f.Name) {
			functions[[2]string{f.Domain, f.Name}] = f
		}
	}
	for _, f := range m.Functions {
		for domain, version := range f.Opsets {
			if _, ok := m.Opsets[domain]; !ok {
				m.Opsets[domain] = version
			}
		}
	}
	budget := maxInlined
	return inlineGraph(m, m.Graph, functions, &budget)
}

func inlineGraph(m *graph.Model, g *graph.Graph, functions map[[2]string]*graph.Function, budget *int) error {
	for n := g.First(); n != nil; {
		f := functions[[2]string{n.Domain, n.Op}]
		if f == nil {
			for _, sub := range n.Graphs() {
				if err := inlineGraph(m, sub, functions, budget); err != nil {
					return err
				}
			}
			n = n.Next()
			continue
		}
		if *budget--; *budget < 0 {
			return n.Errorf(graph.ErrInvalid, "the functions of the model expand to more than %d calls", maxInlined)
		}
		next, err := inlineCall(m, g, f, n)
		if err != nil {
			return err
		}
		n = next
	}
	return nil
}

// inlineCall replaces call by the body of f and returns the node at which to go on: the first of the body.
func inlineCall(m *graph.Model, g *graph.Graph, f *graph.Function, call *graph.Node) (*graph.Node, error) {
	if err := sameMeaning(m, f, call); err != nil {
		return nil, err
	}
	before, after := call.Prev(), call.Next()
	b := &graph.Builder{Graph: g, Model: m, At: call}
	outs, err := graph.Inline(b, f, call)
	if err != nil {
		return nil, err
	}
	for i, v := range call.Outputs() {
		if v == nil {
			continue
		}
		if i >= len(outs) || outs[i] == nil {
			return nil, call.Errorf(graph.ErrInvalid, "uses output %d, which function %s.%s does not give", i, f.Domain, f.Name)
		}
		v.ReplaceUses(outs[i])
	}
	call.Remove()
	if before != nil {
		return before.Next(), nil
	}
	if g.First() != nil {
		return g.First(), nil
	}
	return after, nil
}

// sameMeaning checks that the standard operators in f's body mean the same in the model's opset as in the function's own.
func sameMeaning(m *graph.Model, f *graph.Function, call *graph.Node) error {
	theirs, ours := int(f.Opsets[""]), int(m.Opsets[""])
	if theirs == 0 || theirs == ours {
		return nil
	}
	for n := range f.Body.All() {
		if n.Domain != "" {
			continue
		}
		a, _ := op.Lookup("", n.Op, theirs)
		b, _ := op.Lookup("", n.Op, ours)
		if a != b {
			return call.Errorf(graph.ErrUnsupported, "function %s.%s is written for opset %d and the model for %d, between which %s changed; convert the model to one opset",
				f.Domain, f.Name, theirs, ours, n.Op)
		}
	}
	return nil
}
