package passes

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/legalize"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// FailuresOutput is the output of a solve graph that counts solutions that were not finite, an int64 scalar.
const FailuresOutput = "asdl/failures"

// Delayed is a solve that a host makes beside its steps, an element of the metadata "asdl.solves": on the steps on which
// the clock ticks, after warm-up, it runs the graph on the states that the step has left, and before step k + Delay
// the outputs STATE/next become the states.
type Delayed struct {
	Clock
	Delay int64 `json:"delay"`
}

// delayed takes the solves with a delay out of the tagged step graph t: each becomes a graph of its own in r.Solves. What
// remains of it in t are the steps up to warm-up, whose directions have nothing else to use.
func delayed(c *pass.Ctx, t *graph.Model, r *Result) error {
	var solves []Delayed
	for _, n := range pass.Tags(t.Graph, graph.TagEvery) {
		if d := n.Int("delay", 0); d > 0 {
			solves = append(solves, Delayed{clockOf(n), d})
		}
	}
	if len(solves) == 0 {
		return noDelay(t)
	}
	if c.Options.Split {
		return &pass.OptionError{Option: "split", Value: "true", Want: "no solve.delay: delayed solves have graphs of their own already"}
	}
	for _, d := range solves {
		m, err := solveGraph(c, t, d)
		if err != nil {
			return err
		}
		r.Solves = append(r.Solves, Variant{d.Name, m})
	}
	text, err := json.Marshal(solves)
	if err != nil {
		return err
	}
	t.Metadata["asdl.solves"] = string(text)
	for _, n := range pass.Tags(t.Graph, graph.TagEvery) {
		if n.Int("delay", 0) > 0 {
			n.SetAttr(graph.S("schedule", string(slices.Repeat([]byte("1"), int(n.Int("warmup", 0))+1))))
		}
	}
	return nil
}

// noDelay refuses records that ask for a delay where nothing is solved at intervals.
func noDelay(t *graph.Model) error {
	mix, err := method.ReadMix(t.Metadata)
	if err != nil {
		return err
	}
	for _, rec := range mix.Records() {
		if rec.Solve.Delay > 0 {
			return &pass.OptionError{Option: "solve.delay", Value: fmt.Sprint(rec.Solve.Delay), Want: "0: " + rec.Name + " solves nothing at intervals in this model"}
		}
	}
	return nil
}

// solveGraph is the graph of one delayed solve: its inputs are states and hyper-parameters as a step leaves them, its outputs
// the next values of the states that the solve makes.
func solveGraph(c *pass.Ctx, t *graph.Model, d Delayed) (*graph.Model, error) {
	m := graph.Clone(t)
	next := nextOf(m.Graph)
	var outs []*graph.Value
	for _, tag := range pass.Tags(m.Graph, graph.TagEvery) {
		if tag.Str("clock", "") != d.Name {
			continue
		}
		for _, u := range slices.Clone(tag.Out(0).Uses()) {
			vs, err := solved(m, u.Node, next)
			if err != nil {
				return nil, err
			}
			outs = append(outs, vs...)
		}
	}
	m.Graph.SetOutputs(outs...)
	legalize.FixClocks(m, map[string]bool{d.Name: true})
	if err := pass.RunTable(c, m, []pass.Pass{cleanup.Pass}); err != nil {
		return nil, err
	}
	if err := onlyStates(m, d); err != nil {
		return nil, err
	}
	if err := export(c, m); err != nil {
		return nil, err
	}
	for _, key := range []string{"asdl.contract", "asdl.inputs", "asdl.outputs", "asdl.state"} {
		delete(m.Metadata, key)
	}
	m.Metadata["asdl.solve"] = d.Name
	return m, nil
}

// nextOf maps each state that a tag declares to its next value.
func nextOf(g *graph.Graph) map[*graph.Value]*graph.Value {
	outputs := map[string]*graph.Value{}
	for _, v := range g.Outputs() {
		outputs[v.Name] = v
	}
	next := map[*graph.Value]*graph.Value{}
	for _, n := range pass.Tags(g, graph.TagState) {
		if v := outputs[n.Str("name", "")+"/next"]; v != nil {
			next[n.Out(0)] = pass.Source(v)
		}
	}
	return next
}

// solved lists what the If of a delayed solve gives, under the names of the next states, and makes it read the other states as they
// are given.
func solved(m *graph.Model, n *graph.Node, next map[*graph.Value]*graph.Value) ([]*graph.Value, error) {
	then, _ := n.Attr("then_branch")
	other, _ := n.Attr("else_branch")
	if !n.Is("", "If") || then.G == nil || other.G == nil {
		return nil, fmt.Errorf("BUG: the clock of a delayed solve is read by %s", n)
	}
	own := map[*graph.Value]bool{}
	var outs []*graph.Value
	for i, v := range n.Outputs() {
		if v == nil {
			continue
		}
		state := pass.Source(other.G.Outputs()[i])
		name := FailuresOutput
		if after, ok := next[state]; ok {
			if after != v {
				return nil, fmt.Errorf("%w: solve.delay: state %s changes on the steps between two solves, so that a later solution would undo it; this method solves on the step itself",
					graph.ErrUnsupported, state)
			}
			own[state] = true
			name = state.Name + "/next"
		} else if state.Type.Elem != graph.Int64 {
			return nil, fmt.Errorf("%w: solve.delay: the solve changes %s, which is no state: statistics that are damped where they are kept", graph.ErrUnsupported, v)
		}
		outs = append(outs, named(m.Graph, v, name))
	}
	for state, v := range next {
		if own[state] {
			continue
		}
		for _, u := range slices.Clone(v.Uses()) {
			if within(u.Node.Graph(), then.G) {
				u.Node.SetInput(u.Index, state)
			}
		}
	}
	return outs, nil
}

// named is v under another name, which a value of the graph may have had.
func named(g *graph.Graph, v *graph.Value, name string) *graph.Value {
	if old := g.Find(name); old != nil && old != v {
		old.Rename(name + "~")
	}
	v.Rename(name)
	return v
}

// within reports whether g is of, or nested in it.
func within(g, of *graph.Graph) bool {
	for ; g != nil; g = g.Parent() {
		if g == of {
			return true
		}
	}
	return false
}

// onlyStates makes sure that a solve graph needs nothing of the step's batch, and no random numbers, which are those of a step.
func onlyStates(m *graph.Model, d Delayed) error {
	if draws := pass.Tags(m.Graph, graph.TagNoise); len(draws) > 0 {
		return fmt.Errorf("%w: solve.delay: %s draws random numbers (%s), which belong to a step; this method solves on the step itself", graph.ErrUnsupported, d.Name, draws[0].Str("name", ""))
	}
	for _, in := range slices.Clone(m.Graph.Inputs()) {
		if len(in.Uses()) > 0 {
			return fmt.Errorf("%w: solve.delay: %s reads %s of the step's batch, which is gone later; this method solves on the step itself", graph.ErrUnsupported, d.Name, in)
		}
		m.Graph.RemoveValue(in)
	}
	return nil
}
