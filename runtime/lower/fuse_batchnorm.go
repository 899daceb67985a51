package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// batchNormGrad are the parts of the gradient of a BatchNormalization by batch statistics as the rule of package autodiff
// writes it:
//
//	gx = a g - each (inv along) d - each sum    with d = x - mean, each = a / count, a = scale inv
type batchNormGrad struct {
	x, g, scale, count *graph.Value
	epsilon            float32
	sum, along         *graph.Value // results beside gx
	shared             bool         // sum is a result of another such node, for the same g
}

// fuseBatchNormGrad puts one node in the place of each gradient of a BatchNormalization.
func fuseBatchNormGrad(g *graph.Graph, reg *kernel.Registry) {
	if !reg.Has(graph.Asdl, "BatchNormGrad") {
		return
	}
	var at order
	for n := range g.Nodes() {
		b := matchBatchNormGrad(n)
		if b == nil {
			continue
		}
		if at == nil {
			at = orderOf(g)
		}
		first := b.along.Def()
		if !b.shared && at[b.sum.Def()] < at[first] {
			first = b.sum.Def()
		}
		if !at.hoist(b.scale, first) || !at.hoist(b.count, first) {
			continue
		}
		old := []*graph.Value{n.Out(0), b.along, b.sum}
		if b.shared {
			old = old[:2]
		}
		var names []string
		for _, v := range old {
			names = append(names, v.Name+"/fused")
		}
		fused := g.InsertNode(first, graph.Asdl, "BatchNormGrad", []*graph.Value{b.x, b.g, b.scale, b.count}, names, graph.F("epsilon", b.epsilon))
		fused.Scope, at[fused] = n.Scope, at[first]
		for i, v := range old {
			fused.Out(i).Type = v.Type
			v.ReplaceUses(fused.Out(i))
		}
		for _, v := range old {
			if v.Def() != nil && v.Def().Graph() != nil {
				dropUnused(v.Def())
			}
		}
	}
}

// order numbers the nodes of a graph. Nodes that are moved forward keep their numbers.
type order map[*graph.Node]int

func orderOf(g *graph.Graph) order {
	at := order{}
	for n := range g.Nodes() {
		at[n] = len(at)
	}
	return at
}

// hoist moves what makes v before node n, if it comes later; false if it is too much.
func (at order) hoist(v *graph.Value, n *graph.Node) bool {
	const most = 16
	var later []*graph.Node
	var find func(v *graph.Value) bool
	find = func(v *graph.Value) bool {
		d := v.Def()
		if d == nil || d.Graph() != n.Graph() || at[d] < at[n] || slices.Contains(later, d) {
			return true
		}
		if d == n || len(later) == most || len(d.Graphs()) > 0 {
			return false
		}
		for _, in := range d.Inputs() {
			if in != nil && !find(in) {
				return false
			}
		}
		later = append(later, d)
		return true
	}
	if !find(v) {
		return false
	}
	for _, d := range later {
		d.MoveBefore(n)
		at[d] = at[n] - 1
	}
	return true
}

// matchBatchNormGrad recognises the gradient that ends in n, or gives nil.
func matchBatchNormGrad(n *graph.Node) *batchNormGrad {
	if !n.Is("", "Sub") || n.Out(0) == nil {
		return nil
	}
	b := &batchNormGrad{}
	inner, shift := made(n.In(0), "Sub"), made(n.In(1), "Mul")
	if inner == nil || shift == nil {
		return nil
	}
	first, second := made(inner.In(0), "Mul"), made(inner.In(1), "Mul")
	each := made(shift.In(0), "Div")
	if first == nil || second == nil || each == nil || first.In(1) != each.In(0) {
		return nil
	}
	b.g, b.sum, b.count = first.In(0), shift.In(1), each.In(1)
	a, by := made(each.In(0), "Mul"), made(second.In(1), "Mul")
	centred := made(second.In(0), "Sub")
	if a == nil || by == nil || centred == nil || by.In(0) != shift.In(0) {
		return nil
	}
	spread := made(by.In(1), "Mul")
	if spread == nil || spread.In(1) != a.In(1) {
		return nil
	}
	b.x, b.scale, b.along = centred.In(0), a.In(0), spread.In(0)
	inv := a.In(1)
	if !b.statistics(centred, inv) || !b.sums(centred.Out(0), inv) || !sameDims(b.x.Type, b.g.Type) || b.count.Type.Rank() != 0 {
		return nil
	}
	return b
}

// statistics checks that inv is 1/sqrt(var + epsilon), and centred x - mean, for the mean and variance of each channel.
func (b *batchNormGrad) statistics(centred *graph.Node, inv *graph.Value) bool {
	mean, root := made(centred.In(1), "ReduceMean"), made(inv, "Reciprocal")
	if mean == nil || root == nil || mean.In(0) != b.x || !b.overBatch(mean) {
		return false
	}
	sqrt := made(root.In(0), "Sqrt")
	if sqrt == nil {
		return false
	}
	plus := made(sqrt.In(0), "Add")
	if plus == nil || !plus.In(1).IsInitializer() || plus.In(1).Type.Elem != graph.Float32 || plus.In(1).Type.Rank() != 0 {
		return false
	}
	b.epsilon = graph.Data[float32](plus.In(1).Const())[0]
	variance := made(plus.In(0), "ReduceMean")
	if variance == nil || !b.overBatch(variance) {
		return false
	}
	square := made(variance.In(0), "Mul")
	return square != nil && square.In(0) == centred.Out(0) && square.In(1) == centred.Out(0)
}

// sums checks that sum is that of g, and along inv times that of g (x - mean), over the batch.
func (b *batchNormGrad) sums(centred, inv *graph.Value) bool {
	along := made(b.along, "Mul")
	if along == nil || along.In(0) != inv {
		return false
	}
	if d := b.sum.Def(); d != nil && d.Is(graph.Asdl, "BatchNormGrad") && b.sum.DefIndex() == 2 && d.In(1) == b.g {
		b.shared = true
	} else if sum := made(b.sum, "ReduceSum"); sum == nil || sum.In(0) != b.g || !b.overBatch(sum) {
		return false
	}
	product := made(along.In(1), "ReduceSum")
	if product == nil || !b.overBatch(product) {
		return false
	}
	m := made(product.In(0), "Mul")
	return m != nil && m.In(0) == b.g && m.In(1) == centred
}

// overBatch reports whether a reduction is over all axes but that of the channels, which stay.
func (b *batchNormGrad) overBatch(n *graph.Node) bool {
	axes, ok := reducedAxes(n)
	rank := b.x.Type.Rank()
	if !ok || n.Int("keepdims", 1) == 0 || len(axes) != rank-1 {
		return false
	}
	for i, axis := range axes {
		if want := int64(i + min(i, 1)); axis != want {
			return false
		}
	}
	return true
}
