package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// pushforward emits the tangent of each y along x' = t. A nil result is zero; so is a nil tangent of an x. See pullback
// for regions; where an x depends on another one, its own t is added to what flows into it.
func (w *walk) pushforward(b *op.Builder, ys, xs, ts []*graph.Value, within *region) []*graph.Value {
	steps := w.path(ys, xs, within)
	if len(w.errs) > 0 {
		return make([]*graph.Value, len(ys))
	}
	own, tangent := map[*graph.Value]*graph.Value{}, map[*graph.Value]*graph.Value{}
	for i, x := range xs {
		own[x] = addAll(b, []*graph.Value{own[x], ts[i]})
		tangent[x] = own[x]
	}
	for _, s := range steps {
		d, any := make([]*graph.Value, len(s.deps)), false
		for i, v := range s.deps {
			if s.want[i] {
				d[i] = tangent[v]
				any = any || d[i] != nil
			}
		}
		if !any {
			continue
		}
		for i, t := range jvp(w.call(b, s, d)) {
			o := s.node.Out(i)
			if t == nil || o == nil || !real(o) {
				continue
			}
			if x, isX := own[o]; isX {
				if within != nil {
					continue
				}
				t = addAll(b, []*graph.Value{x, t})
			}
			likeOf(t, o)
			tangent[o] = t
			if within == nil {
				w.name(b, t, o)
			}
		}
	}
	dy := make([]*graph.Value, len(ys))
	for i, y := range ys {
		dy[i] = tangent[y]
	}
	return dy
}

// jvp applies the row's JVP, or what follows from its kind.
func jvp(c *Call) []*graph.Value {
	switch {
	case c.rule.JVP != nil:
		return c.rule.JVP(c)
	case c.rule.Kind == Linear:
		return c.jvpLinear()
	case c.rule.Kind == Bilinear:
		return c.jvpBilinear()
	}
	panic("BUG: the row of " + c.N.Op + " has no JVP")
}

// jvpLinear applies the operator to the tangents of its differentiable inputs.
func (c *Call) jvpLinear() []*graph.Value {
	in := append([]*graph.Value{}, c.N.Inputs()...)
	for i, v := range in {
		if v == nil || !c.rule.differentiable(i) || !real(v) {
			continue
		}
		if in[i] = c.d(i); in[i] == nil {
			in[i] = c.ZerosLike(v)
		}
	}
	return c.apply(in...)
}

// jvpBilinear is op(x', y, z') + op(x, y').
func (c *Call) jvpBilinear() []*graph.Value {
	x, y, dx, dy, dz := c.In(0), c.In(1), c.d(0), c.d(1), c.d(2)
	if dx == nil && dy == nil {
		dx = c.ZerosLike(x)
	}
	if dx == nil {
		return c.apply(x, dy, dz)
	}
	first := c.apply(dx, y, dz)
	if dy == nil {
		return first
	}
	return []*graph.Value{c.Add(first[0], c.apply(x, dy)[0])}
}

// apply emits the node's operator with its attributes on other inputs.
func (c *Call) apply(in ...*graph.Value) []*graph.Value {
	for len(in) > 0 && in[len(in)-1] == nil {
		in = in[:len(in)-1]
	}
	return c.Node(c.N.Domain, c.N.Op, in, len(c.N.Outputs()), c.N.Attrs()...).Outputs()
}
