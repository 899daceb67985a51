package normalize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// cut leaves out what training does not need: outputs that are no floating-point tensors and cannot be computed, such as the
// names of classes and the dictionaries that converters of classical machine learning put behind the probabilities. Where no
// output is left, the last floating-point tensor before these becomes one. An inner value that Options.Logits names becomes an
// output, and then no other one has to be computable.
func cut(c *pass.Ctx, m *graph.Model) error {
	g := m.Graph
	named := inner(g, c.Options.Logits)
	lost := unknownNodes(m)
	var keep, drop []*graph.Value
	for _, v := range g.Outputs() {
		bad := v.Foreign != "" || v.Def() != nil && lost[v.Def()]
		if bad && (v.Foreign != "" || v.Type.Elem != graph.Undefined && !v.Type.Elem.IsFloat() || c.Options.Logits != "" && v.Name != c.Options.Logits) {
			drop = append(drop, v)
		} else {
			keep = append(keep, v)
		}
	}
	if len(drop) == 0 && named == nil && len(lost) == 0 {
		return nil
	}
	if named != nil {
		keep = append(keep, named)
	} else if !slices.ContainsFunc(keep, func(v *graph.Value) bool { return v.Type.Elem.IsFloat() }) {
		last := lastFloat(m, lost)
		if last == nil {
			return nil // what is not supported is listed where types are inferred
		}
		keep = append(keep, last)
		c.Note(fmt.Sprintf("%s is taken as the output of the model: the last floating-point tensor before %s", last, names(drop)))
	}
	if len(drop) > 0 {
		c.Note(fmt.Sprintf("left out of the step graph, for it is not needed in training and cannot be computed: %s", names(drop)))
	}
	g.SetOutputs(keep...)
	pass.Sweep(g, nil)
	for n := range g.All() {
		if n.Domain == domainML {
			return nil
		}
	}
	delete(m.Opsets, domainML)
	return nil
}

// inner is the value of that name if it is computed by a node and no output.
func inner(g *graph.Graph, name string) *graph.Value {
	if name == "" {
		return nil
	}
	if v := g.Find(name); v != nil && v.Def() != nil && !v.IsOutput() {
		return v
	}
	return nil
}

// unknownNodes lists the nodes of operators that are not known, and those that depend on one.
func unknownNodes(m *graph.Model) map[*graph.Node]bool {
	lost := map[*graph.Node]bool{}
	for n := range m.Graph.Nodes() {
		version := int(m.Opsets[n.Domain])
		if n.Domain == "" && version == 0 {
			version = int(m.Opsets["ai.onnx"])
		}
		_, known := op.Lookup(n.Domain, n.Op, version)
		known = known || isSequenceOp(n) || isOld(n)
		if !known && m.Function(n.Domain, n.Op) == nil || slices.ContainsFunc(n.Inputs(), func(v *graph.Value) bool { return v != nil && v.Def() != nil && lost[v.Def()] }) {
			lost[n] = true
		}
	}
	return lost
}

// isOld reports whether n is of an operator that has rows of conversion, and may exist in old opsets only.
func isOld(n *graph.Node) bool {
	return n.Domain == "" && slices.ContainsFunc(upgrades, func(r upgradeRow) bool { return r.Op == n.Op })
}

// lastFloat is the last floating-point value that can be computed and that something which cannot be, or which has no
// derivative, reads.
func lastFloat(m *graph.Model, lost map[*graph.Node]bool) *graph.Value {
	_ = op.InferGraph(m) // what is not known does not matter
	var last *graph.Value
	for n := range m.Graph.Nodes() {
		if lost[n] {
			continue
		}
		for _, v := range n.Outputs() {
			if v != nil && v.Type.Elem.IsFloat() && slices.ContainsFunc(v.Uses(), func(u graph.Use) bool { return lost[u.Node] || u.Node.Op == "ArgMax" }) {
				last = v
			}
		}
	}
	return last
}

func names(vs []*graph.Value) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = v.Name
	}
	return strings.Join(parts, ", ")
}
