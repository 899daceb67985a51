package legalize

import (
	"encoding/json"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// stateEntry is an element of the metadata "asdl.state".
type stateEntry struct {
	In   string `json:"in"`
	Out  string `json:"out"`
	Kind string `json:"kind"`
	Of   string `json:"of,omitempty"`
}

// inputEntry is an element of the metadata "asdl.inputs".
type inputEntry struct {
	Name string `json:"name"`
	Role string `json:"role"` // model, target, param, buffer, state, counter, hyper, seed, noise
	Type string `json:"type"`
	// Classes bounds integer labels: 0 <= label < classes, or equal to ignore.
	Classes int64  `json:"classes,omitempty"`
	Ignore  *int64 `json:"ignore,omitempty"`
	// Threshold is the value of a model's single output above which class 1 of 0 and 1 is predicted.
	Threshold *float64 `json:"threshold,omitempty"`
}

// outputEntry is an element of the metadata "asdl.outputs".
type outputEntry struct {
	Name string `json:"name"`
	Role string `json:"role"` // model, loss, next, grad, precond
}

// metadata writes the contract. Nothing in it varies from run to run.
func (l *lowering) metadata() {
	var kept []stateEntry
	outputs := map[string]bool{}
	for _, v := range l.m.Graph.Outputs() {
		outputs[v.Name] = true
	}
	next := map[string]bool{}
	for _, s := range l.entries {
		if outputs[s.Out] {
			kept = append(kept, s)
			next[s.Out] = true
		}
	}
	meta := l.m.Metadata
	meta["asdl.contract"] = "1"
	meta["asdl.state"] = encode(kept)
	meta["asdl.inputs"] = encode(l.inputEntries())
	meta["asdl.outputs"] = encode(l.outputEntries(next))
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(data)
}

func (l *lowering) inputEntries() []inputEntry {
	roles := map[*graph.Value]string{l.step: "counter", l.seed: "seed"}
	for role, vs := range map[string][]*graph.Value{"param": l.params, "buffer": l.buffers, "state": l.state, "hyper": l.hyper, "noise": l.rand} {
		for _, v := range vs {
			roles[v] = role
		}
	}
	var entries []inputEntry
	for _, v := range l.m.Graph.Inputs() {
		e := inputEntry{Name: v.Name, Role: roles[v], Type: v.Type.String()}
		if e.Role == "" {
			e.Role = "model"
			if v.Name == l.target.name {
				e.Role, e.Classes, e.Ignore, e.Threshold = "target", l.target.classes, l.target.ignore, l.target.threshold
			}
		}
		entries = append(entries, e)
	}
	return entries
}

func (l *lowering) outputEntries(next map[string]bool) []outputEntry {
	var entries []outputEntry
	for _, v := range l.m.Graph.Outputs() {
		role := "model"
		switch {
		case next[v.Name]:
			role = "next"
		case l.extra[v.Name] != "":
			role = l.extra[v.Name]
		}
		entries = append(entries, outputEntry{v.Name, role})
	}
	return entries
}

// targetInfo is what the Loss tag says of the target input.
type targetInfo struct {
	name    string
	classes int64
	ignore  *int64
	// threshold, where there is one output, whose targets are 0 and 1
	threshold *float64
}

// survey reads what the metadata needs from the tags before they go.
func (l *lowering) survey() error {
	g := l.m.Graph
	l.extra = map[string]string{}
	for _, n := range pass.Tags(g, graph.TagLoss) {
		l.extra[n.Out(0).Name] = "loss"
		logits, target := n.In(1), n.In(2)
		if target == nil || n.Int("axis", 1) < 0 { // the model's own loss, whose operand is no target
			continue
		}
		l.target.name = target.Name
		if target.Type.Elem.IsInt() {
			l.target.classes, _ = logits.Type.Dims[n.Int("axis", 1)].Size()
		}
		if a, ok := n.Attr("threshold"); ok && logits.Type.Dims[n.Int("axis", 1)] == graph.Known(1) {
			v := graph.Data[float64](a.T)[0]
			l.target.threshold = &v
		}
		if a, ok := n.Attr("ignore_index"); ok {
			v := a.I
			l.target.ignore = &v
		}
	}
	for tag, role := range map[string]string{graph.TagGrad: "grad", graph.TagPrecond: "precond"} {
		for _, n := range pass.Tags(g, tag) {
			if n.Out(0).IsOutput() {
				l.extra[n.Out(0).Name] = role
			}
		}
	}
	return nil
}
