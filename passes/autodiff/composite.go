package autodiff

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// body writes an operator in terms of others: it emits the same outputs (nil for those without a derivative).
type body func(*Call) []*graph.Value

// region is where the body of the node is emitted.
func (c *Call) region() *region {
	return &region{graph: c.Graph, after: slices.Concat(c.Deps, c.N.Outputs())}
}

// pullOf is the VJP of an operator by the VJPs of its body.
func pullOf(f body) func(*Call) []*graph.Value {
	return func(c *Call) []*graph.Value {
		var ys, seeds, xs []*graph.Value
		for i, y := range f(c) {
			if y != nil && c.d(i) != nil {
				ys, seeds = append(ys, y), append(seeds, c.d(i))
			}
		}
		var at []int
		seen := map[*graph.Value]bool{}
		for i, v := range c.Deps {
			if c.wants(i) && !seen[v] {
				seen[v] = true
				xs, at = append(xs, v), append(at, i)
			}
		}
		ct := make([]*graph.Value, len(c.Deps))
		for k, g := range c.walk.pullback(c.Builder, ys, seeds, xs, c.region()) {
			ct[at[k]] = g
		}
		return ct
	}
}

// pushOf is the JVP of an operator by the JVPs of its body.
func pushOf(f body) func(*Call) []*graph.Value {
	return func(c *Call) []*graph.Value {
		outs := f(c)
		var ys, xs, ts []*graph.Value
		var at []int
		for i, y := range outs {
			if y != nil {
				ys, at = append(ys, y), append(at, i)
			}
		}
		seen := map[*graph.Value]bool{}
		for i, v := range c.Deps {
			if t := c.d(i); t != nil && !seen[v] {
				seen[v] = true
				xs, ts = append(xs, v), append(ts, t)
			}
		}
		tangents := make([]*graph.Value, len(outs))
		for k, t := range c.walk.pushforward(c.Builder, ys, xs, ts, c.region()) {
			tangents[at[k]] = t
		}
		return tangents
	}
}
