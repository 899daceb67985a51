package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// layerNormGrad are the parts of the gradient of a LayerNormalization as the rule of package autodiff writes it:
//
//	gx = inv (t - mean(t) - xhat mean(t xhat))    with t = g scale, xhat = (x - mean) inv
//
// along, the sum of g xhat over rows, and sum, that of g, may be missing.
type layerNormGrad struct {
	x, g, scale, mean, inv *graph.Value
	axis                   int64
	along, sum             *graph.Value
}

// fuseLayerNormGrad puts one node in the place of each gradient of a LayerNormalization.
func fuseLayerNormGrad(g *graph.Graph, reg *kernel.Registry) {
	if !reg.Has(graph.Asdl, "LayerNormGrad") {
		return
	}
	var at order
	for n := range g.Nodes() {
		l := matchLayerNormGrad(n)
		if l == nil {
			continue
		}
		if at == nil {
			at = orderOf(g)
		}
		old := []*graph.Value{n.Out(0), l.along, l.sum}
		first := n
		for _, v := range old[1:] {
			if v != nil && at[v.Def()] < at[first] {
				first = v.Def()
			}
		}
		in := []*graph.Value{l.x, l.g, l.scale, l.mean, l.inv}
		if slices.ContainsFunc(in, func(v *graph.Value) bool { return !at.hoist(v, first) }) {
			continue
		}
		var names []string
		for _, v := range old {
			name := ""
			if v != nil {
				name = v.Name + "/fused"
			}
			names = append(names, name)
		}
		fused := g.InsertNode(first, graph.Asdl, "LayerNormGrad", in, names, graph.I("axis", l.axis))
		fused.Scope, at[fused] = n.Scope, at[first]
		for i, v := range old {
			if v != nil {
				fused.Out(i).Type = v.Type
				v.ReplaceUses(fused.Out(i))
			}
		}
		for _, v := range old {
			if v != nil && v.Def() != nil && v.Def().Graph() != nil {
				dropUnused(v.Def())
			}
		}
	}
}

// matchLayerNormGrad recognises the gradient that ends in n, or gives nil.
func matchLayerNormGrad(n *graph.Node) *layerNormGrad {
	if !n.Is("", "Mul") {
		return nil
	}
	l := &layerNormGrad{inv: n.In(0)}
	norm := l.inv.Def()
	if norm == nil || !norm.Is("", "LayerNormalization") || l.inv.DefIndex() != 2 {
		return nil
	}
	l.x, l.scale, l.mean = norm.In(0), norm.In(1), norm.Out(1)
	rank := int64(l.x.Type.Rank())
	if l.axis = norm.Int("axis", -1); l.axis < 0 {
		l.axis += rank
	}
	row := l.x.Type
	row.Dims = row.Dims[l.axis:]
	outer, inner := (*graph.Node)(nil), made(n.In(1), "Sub")
	if inner != nil {
		outer = made(inner.In(0), "Sub")
	}
	if outer == nil || !sameDims(l.scale.Type, row) || l.inv.Type.Elem != l.x.Type.Elem {
		return nil
	}
	t, along := made(outer.In(0), "Mul"), made(inner.In(1), "Mul")
	if t == nil || along == nil || t.In(1) != l.scale || !sameDims(t.In(0).Type, l.x.Type) {
		return nil
	}
	l.g = t.In(0)
	xhat := along.In(0)
	if !l.normalised(xhat) || l.meanOf(outer.In(1)) != t.Out(0) {
		return nil
	}
	if p := made(l.meanOf(along.In(1)), "Mul"); p == nil || p.In(0) != t.Out(0) || p.In(1) != xhat {
		return nil
	}
	for _, u := range xhat.Uses() {
		if p := u.Node; p.Is("", "Mul") && p.In(0) == l.g && p.In(1) == xhat && usedOnce(p) {
			l.along = l.summed(p.Out(0))
		}
	}
	l.sum = l.summed(l.g)
	return l
}

// normalised reports whether v is (x - mean) inv.
func (l *layerNormGrad) normalised(v *graph.Value) bool {
	m := made(v, "Mul")
	if m == nil || m.In(1) != l.inv {
		return false
	}
	centred := made(m.In(0), "Sub")
	return centred != nil && centred.In(0) == l.x && centred.In(1) == l.mean
}

// meanOf gives what v has the means over rows of, or nil.
func (l *layerNormGrad) meanOf(v *graph.Value) *graph.Value {
	n := made(v, "ReduceMean")
	if n == nil || n.Int("keepdims", 1) == 0 || !l.over(n, l.axis, int64(l.x.Type.Rank())) {
		return nil
	}
	return n.In(0)
}

// summed is the sum of v over all rows, if there is one in its graph.
func (l *layerNormGrad) summed(v *graph.Value) *graph.Value {
	for _, u := range v.Uses() {
		if n := u.Node; u.Index == 0 && n.Is("", "ReduceSum") && n.Int("keepdims", 1) == 0 && n.Graph() == l.inv.Graph() && l.over(n, 0, l.axis) {
			return n.Out(0)
		}
	}
	return nil
}

// over reports whether a reduction is over axes from <= i < to.
func (l *layerNormGrad) over(n *graph.Node, from, to int64) bool {
	axes, ok := reducedAxes(n)
	if !ok {
		return false
	}
	axes = slices.Clone(axes)
	for i, axis := range axes {
		if axis < 0 {
			axes[i] += int64(l.x.Type.Rank())
		}
	}
	slices.Sort(axes)
	if int64(len(axes)) != to-from || to == from {
		return false
	}
	for i, axis := range axes {
		if axis != from+int64(i) {
			return false
		}
	}
	return true
}
