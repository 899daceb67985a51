package layers

import (
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// found is an initializer that gets a Param tag, or a constant that the user might have taken for one.
type found struct {
	init   *graph.Value
	kind   string // "param", "buffer" or "constant"
	reason string // why a constant is one
}

// discover lists the parameters and buffers among the initializers of g: those of floating-point type from which a
// path of differentiable inputs leads to a floating-point output of the graph. fixed are constants of the file.
func discover(m *graph.Model, fixed map[*graph.Value]bool) []found {
	g := m.Graph
	s := scene{liveNodes(g), dataValues(g), m.Producer == "pytorch"}
	var all []found
	for _, v := range g.Initializers() {
		if !v.IsInitializer() || !v.Type.Elem.IsFloat() || v.Const().Len() == 0 {
			continue
		}
		if f := s.classify(v, fixed[v]); f.kind != "" {
			all = append(all, f)
		}
	}
	return all
}

// scene is what a decision about an initializer depends on besides itself.
type scene struct {
	live  map[*graph.Node]bool  // nodes that lead to an output
	data  map[*graph.Value]bool // values that depend on inputs
	torch bool                  // PyTorch keeps constants that are no parameters or buffers under names that it makes up
}

// classify decides by the uses of v: one that makes it a parameter suffices.
func (s scene) classify(v *graph.Value, fixed bool) found {
	f := found{init: v}
	for _, u := range v.Uses() {
		r := roleOf(u.Node, u.Index)
		if r == buffer {
			f.kind = "buffer"
			continue
		}
		if !s.live[u.Node] || r == constant {
			continue
		}
		switch {
		case r == weight && (!fixed || len(v.Const().Shape) >= 2), r == vector && !fixed, r == affine && !fixed && !neutral(v):
			return found{v, "param", ""}
		case fixed, r == affine:
			continue
		}
		if reason := s.looksConstant(v, u.Node); reason == "" {
			return found{v, "param", ""}
		} else if v.Const().Len() > 1 && f.kind == "" {
			f.kind, f.reason = "constant", reason
		}
	}
	return f
}

// looksConstant is the reason why v, an operand of n, is no parameter, or "".
func (s scene) looksConstant(v *graph.Value, n *graph.Node) string {
	switch {
	case addsToProduct(v, n):
		return ""
	case s.torch && v.Const().Len() == 1 && topName.MatchString(v.Name):
		return ""
	case !s.dataNode(n) && pass.MadeUp(v.Name):
		return "a constant that the exporter computed, for a computation on constants"
	case !s.dataNode(n) && s.onlyAngles(n):
		return "frequencies of sines and cosines of positions"
	}
	return looksConstant(v)
}

// addsToProduct reports whether n adds v to a product with an initializer: a bias, even of a single element and of any name.
func addsToProduct(v *graph.Value, n *graph.Node) bool {
	if !n.Is("", "Add") || len(v.Const().Shape) == 0 {
		return false
	}
	for _, in := range n.Inputs() {
		if d := in.Def(); in != v && d != nil && (d.Is("", "MatMul") || d.Is("", "Gemm") || d.Is("", "Conv")) && roleOf(d, 1) == weight && graph.Untagged(d.In(1)).IsInitializer() {
			return true
		}
	}
	return false
}

func (s scene) dataNode(n *graph.Node) bool {
	return slices.ContainsFunc(n.Outputs(), func(v *graph.Value) bool { return s.data[v] })
}

// onlyAngles reports whether what n computes from constants goes into sines and cosines only.
func (s scene) onlyAngles(n *graph.Node) bool {
	for _, v := range n.Outputs() {
		for _, u := range v.Uses() {
			if u.Node.Is("", "Sin") || u.Node.Is("", "Cos") {
				continue
			}
			if s.dataNode(u.Node) || !s.onlyAngles(u.Node) {
				return false
			}
		}
		if v.IsOutput() {
			return false
		}
	}
	return true
}

// liveNodes lists the nodes of g and its nested graphs from which a differentiable path leads to an output.
func liveNodes(g *graph.Graph) map[*graph.Node]bool {
	wanted := map[*graph.Value]bool{}
	live := map[*graph.Node]bool{}
	for _, v := range g.Outputs() {
		wanted[v] = v.Type.Elem.IsFloat()
	}
	for n := range g.Backward() {
		if !slices.ContainsFunc(n.Outputs(), func(v *graph.Value) bool { return v != nil && wanted[v] }) {
			continue
		}
		live[n] = true
		for i, v := range n.Inputs() {
			if v != nil && v.Type.Elem.IsFloat() && roleOf(n, i) != constant {
				wanted[v] = true
			}
		}
		for _, sub := range n.Graphs() {
			for inner := range sub.All() {
				live[inner] = true
				for _, v := range inner.Inputs() {
					if v != nil && v.Type.Elem.IsFloat() {
						wanted[v] = true
					}
				}
			}
			for _, v := range sub.Outputs() {
				wanted[v] = true
			}
		}
	}
	return live
}

// tagParams puts a Param tag behind each parameter and buffer; all users use the tag.
func tagParams(c *pass.Ctx, g *graph.Graph, all []found) {
	first := g.First()
	for _, f := range all {
		if f.kind == "constant" {
			c.Note(fmt.Sprintf("%s (%s) is kept constant: %s", f.init, f.init.Type, f.reason))
			continue
		}
		tag := g.InsertNode(first, graph.Asdl, graph.TagParam, nil, []string{f.init.Name + "/param"}, graph.S("kind", f.kind))
		tag.Out(0).Type = f.init.Type
		f.init.ReplaceUses(tag.Out(0))
		tag.SetInputs(f.init)
	}
}
