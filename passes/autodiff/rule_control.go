package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// controlRules are the rows of operators with nested graphs. Their dependencies are the inputs and, after them, the
// outer values that the nested graphs use.
func controlRules() []Rule {
	return []Rule{
		{Op: "If", Kind: Smooth, Diff: all &^ only0, VJP: vjpIf, JVP: jvpIf},
		{Op: "Loop", Kind: Smooth, Diff: all &^ first2, VJP: vjpLoop, JVP: jvpLoop},
		{Op: "Scan", Kind: Smooth, Diff: all, VJP: pullOf(scanLoop), JVP: pushOf(scanLoop)},
	}
}

// subgraph is the nested graph of that attribute name.
func (c *Call) subgraph(name string) *graph.Graph {
	a, _ := c.N.Attr(name)
	return a.G
}

// own gives values that a nested graph is to return a definition in it: nil becomes zeros like like.
func own(b *op.Builder, vs, like []*graph.Value) []*graph.Value {
	out := make([]*graph.Value, len(vs))
	for i, v := range vs {
		switch {
		case v == nil:
			out[i] = b.ZerosLike(like[i])
		case v.Graph() != b.Graph || v.Def() == nil:
			out[i] = b.Identity(v)
		default:
			out[i] = v
		}
	}
	return out
}

// pick lists the entries of vs at the positions at.
func pick(vs []*graph.Value, at []int) []*graph.Value {
	out := make([]*graph.Value, len(at))
	for i, k := range at {
		out[i] = vs[k]
	}
	return out
}

// place puts vs at the positions at of a list of n.
func place(n int, vs []*graph.Value, at []int) []*graph.Value {
	out := make([]*graph.Value, n)
	for i, k := range at {
		out[k] = vs[i]
	}
	return out
}

// wantedFrom lists the distinct dependencies from first on whose cotangent is asked for.
func (c *Call) wantedFrom(first int) []int {
	var at []int
	for i := first; i < len(c.Deps); i++ {
		if c.wants(i) {
			at = append(at, i)
		}
	}
	return at
}

// vjpIf computes the branch that was taken once more, and its cotangents.
func vjpIf(c *Call) []*graph.Value {
	at := c.wantedFrom(1)
	xs := pick(c.Deps, at)
	branch := func(name string) func(*op.Builder) []*graph.Value {
		return func(b *op.Builder) []*graph.Value {
			outs := inline(b, c.subgraph(name), nil)
			return own(b, c.walk.pullback(b, outs, c.D, xs, &region{graph: b.Graph}), xs)
		}
	}
	return place(len(c.Deps), c.If(c.In(0), branch("then_branch"), branch("else_branch")), at)
}

// jvpIf computes the branch that is taken once more, and its tangents.
func jvpIf(c *Call) []*graph.Value {
	var moving []int // outputs that may have a tangent
	for i, o := range c.N.Outputs() {
		if o != nil && real(o) {
			moving = append(moving, i)
		}
	}
	xs, ts := c.moving(1)
	branch := func(name string) func(*op.Builder) []*graph.Value {
		return func(b *op.Builder) []*graph.Value {
			outs := pick(inline(b, c.subgraph(name), nil), moving)
			return own(b, c.walk.pushforward(b, outs, xs, ts, &region{graph: b.Graph}), outs)
		}
	}
	return place(len(c.N.Outputs()), c.If(c.In(0), branch("then_branch"), branch("else_branch")), moving)
}

// moving lists the dependencies from first on that have a tangent, and their tangents.
func (c *Call) moving(first int) (xs, ts []*graph.Value) {
	for i := first; i < len(c.Deps); i++ {
		if c.d(i) != nil {
			xs, ts = append(xs, c.Deps[i]), append(ts, c.d(i))
		}
	}
	return xs, ts
}
