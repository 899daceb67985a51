package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// pullback emits the cotangent of each x: the sum over the y's of seed times dy/dx. A nil result is zero; so is a nil
// seed. Within a region, the x's are taken as independent of each other; without, derivatives flow through an x to those
// that it depends on.
func (w *walk) pullback(b *op.Builder, ys, seeds, xs []*graph.Value, within *region) []*graph.Value {
	steps := w.path(ys, xs, within)
	if len(w.errs) > 0 {
		return make([]*graph.Value, len(xs))
	}
	stop := within.stops(xs)
	acc := cotangents{b: b, parts: map[*graph.Value][]*graph.Value{}}
	for i, y := range ys {
		acc.add(y, seeds[i])
	}
	for k := len(steps) - 1; k >= 0; k-- {
		s := steps[k]
		d, any := make([]*graph.Value, len(s.node.Outputs())), false
		for i, o := range s.node.Outputs() {
			if o != nil && !stop[o] {
				d[i] = acc.total(o)
				any = any || d[i] != nil
				if within == nil {
					w.name(b, d[i], o)
				}
			}
		}
		if !any {
			continue
		}
		for i, g := range s.rule.VJP(w.call(b, s, d)) {
			if i < len(s.want) && s.want[i] {
				acc.add(s.deps[i], g)
			}
		}
	}
	dx := make([]*graph.Value, len(xs))
	for i, x := range xs {
		dx[i] = acc.total(x)
		if within == nil {
			w.name(b, dx[i], x)
		}
	}
	return dx
}

// cotangents accumulates the parts of each value's cotangent.
type cotangents struct {
	b     *op.Builder
	parts map[*graph.Value][]*graph.Value
}

// add adds a part; nil is zero.
func (a *cotangents) add(v, part *graph.Value) {
	if part != nil {
		likeOf(part, v)
		a.parts[v] = append(a.parts[v], part)
	}
}

// total sums the parts of v's cotangent; nil is zero.
func (a *cotangents) total(v *graph.Value) *graph.Value {
	parts := a.parts[v]
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	sum := addAll(a.b, parts)
	likeOf(sum, v)
	a.parts[v] = []*graph.Value{sum}
	return sum
}

// addAll sums values of one shape; nil ones are zero.
func addAll(b *op.Builder, parts []*graph.Value) *graph.Value {
	var terms []*graph.Value
	for _, p := range parts {
		if p != nil {
			terms = append(terms, p)
		}
	}
	switch len(terms) {
	case 0:
		return nil
	case 1:
		return terms[0]
	case 2:
		return b.Add(terms[0], terms[1])
	}
	return b.Op("Sum", terms)
}
