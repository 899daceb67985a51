package update

import (
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// guard makes a step as a whole or not at all: where a gradient is not finite, every state keeps its value, running
// statistics and the step counter too, directions that are put out are zero, and the failure is counted. Parameters, momenta
// and moving averages of gradients are held by their scalars; for others the old value is chosen.
type guard struct {
	m      *graph.Model
	finite *graph.Value
	ands   map[condition]*graph.Value
}

// condition is one of a choice in a graph.
type condition struct {
	g *graph.Graph
	c *graph.Value
}

// settle holds the states on steps that do not count, and puts in the place of the Finite tag what it stands for.
func settle(m *graph.Model, b *op.Builder) error {
	g := &guard{m: m, finite: pass.Finite(b), ands: map[condition]*graph.Value{}}
	olds := map[string]*graph.Value{}
	for _, n := range pass.Tags(m.Graph, graph.TagState) {
		if n.Int("held", 0) == 0 && n.Str("kind", "") != "counter" {
			olds[n.Str("name", "")] = n.Out(0)
		}
	}
	for _, p := range pass.Params(m.Graph, "buffer") {
		olds[p.Name()] = p.Value
		spare(b, p.Value)
	}
	for _, v := range slices.Clone(m.Graph.Outputs()) {
		name, next := strings.CutSuffix(v.Name, "/next")
		if old := olds[name]; next && old != nil {
			if w := g.hold(m.Graph, v, old); w != v {
				pass.Instead(v, w)
			}
		}
	}
	for _, n := range pass.Tags(m.Graph, graph.TagPrecond) {
		if v := n.Out(0); v.IsOutput() {
			pass.Instead(v, b.Where(g.finite, v, b.Float(v.Type.Elem, 0)))
		}
	}
	pass.Count(b, b.Cast(b.Unary("Not", g.finite), graph.Int64))
	tag := g.finite.Def()
	g.finite.ReplaceUses(verdict(m.Graph, b))
	tag.Remove()
	if err := b.Err(); err != nil {
		return err
	}
	return graph.Sort(m.Graph)
}

// hold is v of graph in, or old on a step that does not count. What an If computes is chosen in its branch, and where the old
// value may be chosen already there is one more reason.
func (g *guard) hold(in *graph.Graph, v, old *graph.Value) *graph.Value {
	d := v.Def()
	switch {
	case v == old:
		return v
	case d.Is("", "Identity"):
		d.SetInput(0, g.hold(d.Graph(), d.In(0), old))
		return v
	case d.Is("", "Where") && d.In(2) == old:
		key := condition{d.Graph(), d.In(0)}
		if g.ands[key] == nil {
			g.ands[key] = g.at(d.Graph()).Op("And", []*graph.Value{key.c, g.finite})
		}
		d.SetInput(0, g.ands[key])
		return v
	case d.Is("", "If"):
		if tick := d.In(0).Def(); tick != nil && tick.Int("delay", 0) > 0 {
			return v // a solve beside the steps knows of their states alone, which are held
		}
		i := slices.Index(d.Outputs(), v)
		for _, branch := range d.Graphs() {
			branch.SetOutput(i, g.hold(branch, branch.Outputs()[i], old))
		}
		return v
	}
	return g.at(in).Where(g.finite, v, old)
}

// at emits into a graph of the model.
func (g *guard) at(in *graph.Graph) *op.Builder {
	b := op.NewBuilder(g.m, in)
	b.Prefix = "update/"
	return b
}

// spare gives batch normalisations a copy of the running statistic that they read: onnxruntime writes the next one over it,
// and the old one is still needed. An operator that is an identity by its name would be removed.
func spare(b *op.Builder, running *graph.Value) {
	for _, u := range slices.Clone(running.Uses()) {
		if u.Node.Is("", "BatchNormalization") && u.Node.Int("training_mode", 0) == 1 {
			u.Node.SetInput(u.Index, b.Op("Max", []*graph.Value{running, running}))
		}
	}
}

// verdict is whether all gradients that the step uses are finite; those that a method squares, whether their squares are.
// Where the gradient of a weight is not computed, because the method makes its direction of the rows that it is a product of, it is
// whether these are. A sum is not finite if one of its terms is not, and times 0 it is NaN then.
func verdict(g *graph.Graph, b *op.Builder) *graph.Value {
	squared := map[*graph.Value]bool{}
	for _, n := range pass.Tags(g, graph.TagPrecond) {
		squared[n.In(1)] = n.Int("squared", 0) == 1
	}
	var total *graph.Value
	seen := map[*graph.Value]bool{}
	add := func(v *graph.Value, reduction string) {
		if seen[v] {
			return
		}
		seen[v] = true
		s := b.Reduce(reduction, v, false)
		if total != nil {
			s = b.Add(total, s)
		}
		total = s
	}
	rows := rowsOf(g)
	for _, n := range pass.Tags(g, graph.TagGrad) {
		factors := rows[n.In(1)]
		switch used := len(n.Out(0).Uses()) > 0 || n.Out(0).IsOutput(); {
		case !used && len(factors) > 0:
			for _, v := range factors {
				add(v, "ReduceSum")
			}
		case squared[n.In(1)]:
			add(n.In(0), "ReduceSumSquare")
		default:
			add(n.In(0), "ReduceSum")
		}
	}
	if total == nil { // nothing is trained
		return b.Const("finite", graph.Scalar(true))
	}
	zero := b.Mul(total, b.Float(total.Type.Elem, 0))
	return b.Compare("Equal", zero, zero)
}

// rowsOf lists for each parameter the inputs of its layers and the output gradients that the step uses of them: those in training or,
// where there are none, those of the statistics.
func rowsOf(g *graph.Graph) map[*graph.Value][]*graph.Value {
	layers := map[string]pass.Layer{}
	for _, l := range pass.LayersOf(g) {
		layers[l.Name] = l
	}
	rows := map[*graph.Value][]*graph.Value{}
	for _, what := range []string{graph.CaptureTrain, graph.CaptureOut} {
		found := map[*graph.Value][]*graph.Value{}
		for _, n := range pass.Tags(g, graph.TagCapture) {
			l, ok := layers[n.Str("layer", "")]
			if !ok || n.Str("what", "") != what || len(n.Out(0).Uses()) == 0 {
				continue
			}
			for _, p := range l.Params() {
				found[p.Value] = append(found[p.Value], n.In(0))
				if l.X.Type.Elem.IsFloat() { // not indices
					found[p.Value] = append(found[p.Value], l.X)
				}
			}
		}
		for p, vs := range found {
			if rows[p] == nil {
				rows[p] = vs
			}
		}
	}
	return rows
}
