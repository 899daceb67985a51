// Package legalize turns a tagged training graph into a step graph that any ONNX runtime takes: declarations become
// inputs, clocks and random numbers become integer arithmetic, tags vanish, and the contract of the step graph (state,
// inputs, outputs) is written into the model's metadata.
package legalize

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the row of the pass table.
var Pass = pass.Pass{
	Name: "legalize", Doc: "declarations to inputs, clocks and noise to integer arithmetic, tags away, contract into the metadata",
	Needs: []pass.Prop{pass.Updated}, Gives: []pass.Prop{pass.Legal}, Run: Run,
}

// Run legalizes m in place. The model's inputs come first, then target, parameters, buffers, state, the step counter,
// hyper-parameters, the seed and noise.
func Run(c *pass.Ctx, m *graph.Model) error {
	l := &lowering{c: c, m: m, b: op.NewBuilder(m, m.Graph)}
	l.b.Prefix = "noise/"
	steps := []func() error{l.survey, l.parameters, l.states, l.counter, l.hypers, l.noise, l.clocks, l.tags}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	l.order()
	if err := l.b.Err(); err != nil {
		return err
	}
	l.metadata()
	return nil
}

type lowering struct {
	c *pass.Ctx
	m *graph.Model
	b *op.Builder

	params, buffers, state, hyper, rand []*graph.Value
	step, seed                          *graph.Value
	entries                             []stateEntry
	random                              []string // noise inputs in order of use
	target                              targetInfo
	extra                               map[string]string // outputs with a role of their own
}

// declare makes a graph input in place of the declaration n.
func (l *lowering) declare(n *graph.Node, name string, t graph.Type) *graph.Value {
	v := n.Out(0)
	v.Rename(name + "~")
	in := l.m.Graph.AddInput(name, t)
	v.ReplaceUses(in)
	n.Remove()
	return in
}

// parameters turns the initializers behind Param tags into inputs.
func (l *lowering) parameters() error {
	for _, p := range pass.Params(l.m.Graph, "") {
		init := p.Init
		if !init.IsInput() {
			l.m.Graph.MakeInput(init)
		}
		if p.Kind == "buffer" {
			l.buffers = append(l.buffers, init)
		} else {
			l.params = append(l.params, init)
		}
		l.entries = append(l.entries, stateEntry{In: init.Name, Out: init.Name + "/next", Kind: p.Kind, Of: init.Name})
		p.Value.ReplaceUses(init)
		p.Node.Remove()
	}
	return nil
}

func (l *lowering) states() error {
	for _, n := range pass.Tags(l.m.Graph, graph.TagState) {
		name := n.Str("name", "")
		l.entries = append(l.entries, stateEntry{In: name, Out: name + "/next", Kind: n.Str("kind", ""), Of: n.Str("of", "")})
		t := graph.StaticType(graph.Elem(n.Int("dtype", 0)), n.IntList("shape")...)
		l.state = append(l.state, l.declare(n, name, t))
	}
	return nil
}

func (l *lowering) counter() error {
	for _, n := range pass.Tags(l.m.Graph, graph.TagStep) {
		l.entries = append(l.entries, stateEntry{In: "asdl/step", Out: "asdl/step/next", Kind: "counter"})
		l.step = l.declare(n, "asdl/step", graph.StaticType(graph.Int64))
	}
	return nil
}

func (l *lowering) hypers() error {
	for _, n := range pass.Tags(l.m.Graph, graph.TagHyper) {
		l.hyper = append(l.hyper, l.declare(n, n.Str("name", ""), graph.StaticType(graph.Elem(n.Int("dtype", 0)))))
	}
	return nil
}

// tags removes the identities, here and in nested graphs. The name of an output is kept.
func (l *lowering) tags() error {
	var left []string
	for n := range l.m.Graph.All() {
		switch {
		case n.IsTag():
			removeTag(n)
		case n.Domain == graph.Asdl && l.m.Function(graph.Asdl, n.Op) == nil:
			left = append(left, n.Op)
		}
	}
	if left != nil {
		return fmt.Errorf("BUG: tag operators left: %v", left)
	}
	return nil
}

func removeTag(n *graph.Node) {
	v, in := n.Out(0), n.In(0)
	g := n.Graph()
	if v.IsOutput() {
		name := v.Name
		if in.Def() == nil || in.IsOutput() || in.Graph() != g || in.Def().IsTag() {
			id := g.InsertNode(n, "", "Identity", []*graph.Value{in}, []string{name + "~"})
			id.Out(0).Type = in.Type
			in = id.Out(0)
		}
		v.Rename(name + "~~")
		in.Rename(name)
	}
	v.ReplaceUses(in)
	n.Remove()
}

// order sorts the graph inputs, and drops parameters that nothing uses.
func (l *lowering) order() {
	own := map[*graph.Value]bool{}
	groups := [][]*graph.Value{l.params, l.buffers, l.state, {l.step}, l.hyper, {l.seed}, l.rand}
	var tail []*graph.Value
	for _, g := range groups {
		for _, v := range g {
			if v != nil {
				own[v] = true
				tail = append(tail, v)
			}
		}
	}
	var inputs []*graph.Value
	for _, v := range l.m.Graph.Inputs() {
		if !own[v] {
			inputs = append(inputs, v)
		}
	}
	l.m.Graph.SetInputs(append(inputs, tail...)...)
}
