package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// walk is what the expansion of one request keeps: the nodes that cannot be differentiated, and the outer values that
// nested graphs use.
type walk struct {
	model    *graph.Model
	rules    table
	errs     []error
	failed   map[*graph.Node]bool
	captured map[*graph.Node][]*graph.Value
	unnamed  map[*graph.Node]bool // emitted nodes whose first output has a made-up name
}

func newWalk(m *graph.Model, rules table) *walk {
	return &walk{model: m, rules: rules, failed: map[*graph.Node]bool{}, captured: map[*graph.Node][]*graph.Value{}, unnamed: map[*graph.Node]bool{}}
}

// name calls derivative d, if this walk emitted it, after the value that it is the derivative of.
func (w *walk) name(b *op.Builder, d, of *graph.Value) {
	if d != nil && d.Def() != nil && d.DefIndex() == 0 && w.unnamed[d.Def()] {
		d.Rename(b.Prefix + of.Name)
		delete(w.unnamed, d.Def())
	}
}

// fail records that n cannot be differentiated, once a node.
func (w *walk) fail(n *graph.Node, format string, args ...any) {
	if w.failed[n] {
		return
	}
	w.failed[n] = true
	err := n.Errorf(graph.ErrUnsupported, format, args...)
	if ne, ok := err.(*graph.NodeError); ok {
		ne.Opset = w.model.Opset()
	}
	w.errs = append(w.errs, err)
}

// rule is the row for n, or nil.
func (w *walk) rule(n *graph.Node) *Rule {
	if r := w.rules.lookup(n.Domain, n.Op, int(w.model.Opsets[n.Domain])); r != nil {
		return r
	}
	if w.model.Function(n.Domain, n.Op) != nil {
		return functionRule()
	}
	return nil
}

// deps lists the inputs of n, and after them the outer values that its nested graphs use.
func (w *walk) deps(n *graph.Node) []*graph.Value {
	subs := n.Graphs()
	if len(subs) == 0 {
		return n.Inputs()
	}
	outer, ok := w.captured[n]
	if !ok {
		outer = captures(subs)
		w.captured[n] = outer
	}
	return append(append([]*graph.Value{}, n.Inputs()...), outer...)
}

// captures lists the values that the graphs use and do not define, in the order of use.
func captures(subs []*graph.Graph) []*graph.Value {
	inner := map[*graph.Graph]bool{}
	var graphs []*graph.Graph
	enter := func(g *graph.Graph) {
		if !inner[g] {
			inner[g] = true
			graphs = append(graphs, g)
		}
	}
	for _, g := range subs {
		enter(g)
		for n := range g.All() {
			for _, sub := range n.Graphs() {
				enter(sub)
			}
		}
	}
	var outer []*graph.Value
	seen := map[*graph.Value]bool{}
	use := func(vs []*graph.Value) {
		for _, v := range vs {
			if v != nil && !inner[v.Graph()] && !seen[v] {
				seen[v] = true
				outer = append(outer, v)
			}
		}
	}
	for _, g := range graphs {
		for n := range g.Nodes() {
			use(n.Inputs())
		}
		use(g.Outputs())
	}
	return outer
}

// step is a node on a path from an x to a y.
type step struct {
	node *graph.Node
	rule *Rule
	deps []*graph.Value
	want []bool // per dependency: it depends on an x, differentiably
}

// region bounds a walk to the nodes of one graph that come after some values. The x's of a bounded walk are
// independent of each other: paths do not go through them.
type region struct {
	graph *graph.Graph
	after []*graph.Value
}

// stops lists the values that paths do not go through.
func (r *region) stops(xs []*graph.Value) map[*graph.Value]bool {
	stop := map[*graph.Value]bool{}
	if r == nil {
		return stop
	}
	for _, v := range r.after {
		stop[v] = true
	}
	for _, x := range xs {
		stop[x] = true
	}
	return stop
}

// path lists the nodes through which the y's depend on the x's, in order, within the region if it is not nil.
func (w *walk) path(ys, xs []*graph.Value, within *region) []step {
	active, stop := map[*graph.Value]bool{}, within.stops(xs)
	for _, x := range xs {
		active[x] = true
	}
	var steps []step
	for _, n := range w.ancestors(ys, stop, within) {
		s := step{node: n, rule: w.rule(n), deps: w.deps(n)}
		s.want = make([]bool, len(s.deps))
		any := false
		for i, d := range s.deps {
			s.want[i] = d != nil && active[d] && (s.rule == nil || s.rule.differentiable(i))
			any = any || s.want[i]
		}
		if !any {
			continue
		}
		for _, o := range n.Outputs() {
			if o != nil && real(o) {
				active[o] = true
			}
		}
		steps = append(steps, s)
	}
	return w.useful(steps, ys, stop)
}

// useful drops the steps that no y depends on, and reports those that have no rule.
func (w *walk) useful(steps []step, ys []*graph.Value, stop map[*graph.Value]bool) []step {
	reach := map[*graph.Value]bool{}
	for _, y := range ys {
		reach[y] = true
	}
	keep := make([]bool, len(steps))
	for k := len(steps) - 1; k >= 0; k-- {
		s := steps[k]
		for _, o := range s.node.Outputs() {
			keep[k] = keep[k] || (o != nil && reach[o] && real(o) && !stop[o])
		}
		if !keep[k] {
			continue
		}
		for i, d := range s.deps {
			if s.want[i] {
				reach[d] = true
			}
		}
		if s.rule == nil {
			w.fail(s.node, "no derivative of this operator is known; take it off the path from the parameters to the loss, "+
				"or export the model with simpler operators (asdlc ops lists those that are known)")
		}
	}
	var kept []step
	for k, s := range steps {
		if keep[k] {
			kept = append(kept, s)
		}
	}
	return kept
}

// ancestors lists the nodes that the y's depend on, each after those that it depends on. It does not go past stop nor out
// of the region.
func (w *walk) ancestors(ys []*graph.Value, stop map[*graph.Value]bool, within *region) []*graph.Node {
	var nodes []*graph.Node
	seen := map[*graph.Node]bool{}
	var visit func(v *graph.Value)
	visit = func(v *graph.Value) {
		if v == nil || stop[v] || v.Def() == nil || seen[v.Def()] || (within != nil && v.Graph() != within.graph) {
			return
		}
		n := v.Def()
		seen[n] = true
		for _, d := range w.deps(n) {
			visit(d)
		}
		nodes = append(nodes, n)
	}
	for _, y := range ys {
		visit(y)
	}
	return nodes
}

// call makes the view of a step that its rule gets.
func (w *walk) call(b *op.Builder, s step, d []*graph.Value) *Call {
	b.Scope = s.node.Scope
	return &Call{Builder: b, N: s.node, D: d, Deps: s.deps, Want: s.want, rule: s.rule, walk: w}
}

// likeOf gives v, a derivative with respect to or of a value like, what is known of like's type.
func likeOf(v, like *graph.Value) {
	if v.Type.Elem == graph.Undefined {
		v.Type.Elem = like.Type.Elem
	}
	if !like.Type.Ranked || v.Def() == nil {
		return
	}
	if !v.Type.Ranked {
		v.Type = like.Type.WithElem(v.Type.Elem)
		return
	}
	if len(v.Type.Dims) != len(like.Type.Dims) {
		panic("BUG: derivative " + v.Name + " " + v.Type.String() + " of " + like.Name + " " + like.Type.String())
	}
	for i, d := range v.Type.Dims {
		if _, known := d.Size(); !known && d != like.Type.Dims[i] && !like.Type.Dims[i].IsUnknown() {
			v.Type = like.Type.WithElem(v.Type.Elem)
			return
		}
	}
}
