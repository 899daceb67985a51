package legalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// FixClocks replaces the Every tags by constants: whether the clock of that name ticks; those that are not in the map do not.
// Clocks that tick at random stay.
func FixClocks(m *graph.Model, ticking map[string]bool) {
	b := op.NewBuilder(m, m.Graph)
	for _, n := range pass.Clocks(m.Graph) {
		v := b.Const("tick", graph.Scalar(ticking[n.Str("clock", "")]))
		n.Out(0).ReplaceUses(v)
		n.Remove()
	}
}

// DropUnchanged removes next-value outputs that are the state itself: a host keeps what is not returned.
func DropUnchanged(m *graph.Model) {
	var kept []*graph.Value
	for _, v := range m.Graph.Outputs() {
		if d := pass.Source(v).Def(); d != nil && d.Is(graph.Asdl, graph.TagState) && v.Name == d.Str("name", "")+"/next" {
			continue
		}
		kept = append(kept, v)
	}
	m.Graph.SetOutputs(kept...)
}

// InlineFunctions expands every call of a model-local function, in nested graphs too, and removes the functions.
func InlineFunctions(m *graph.Model) error {
	for changed := true; changed; {
		changed = false
		for n := range m.Graph.All() {
			f := m.Function(n.Domain, n.Op)
			if f == nil {
				continue
			}
			b := op.NewBuilder(m, n.Graph())
			b.At, b.Prefix, b.Scope = n, n.Op+"/", n.Scope
			outs, err := graph.Inline(b.Builder, f, n)
			if err != nil {
				return err
			}
			for i, o := range n.Outputs() {
				if o == nil {
					continue
				}
				replaceOutput(n, o, outs[i])
			}
			n.Remove()
			changed = true
		}
	}
	m.Functions = nil
	delete(m.Opsets, graph.Asdl)
	return nil
}

// replaceOutput makes users of old use v; a graph output keeps its name.
func replaceOutput(n *graph.Node, old, v *graph.Value) {
	if old.IsOutput() {
		name := old.Name
		old.Rename(name + "~")
		v.Rename(name)
	}
	old.ReplaceUses(v)
}

// InitialTensors computes what Initial's model would return, by input name.
func InitialTensors(c *pass.Ctx, m *graph.Model) map[string]*graph.Tensor {
	ts := map[string]*graph.Tensor{}
	for _, p := range pass.Params(m.Graph, "") {
		ts[p.Name()] = p.Init.Const()
	}
	for _, n := range pass.Tags(m.Graph, graph.TagState) {
		ts[n.Str("name", "")] = stateTensor(n)
	}
	for range pass.Tags(m.Graph, graph.TagStep) {
		ts["asdl/step"] = graph.Scalar(int64(0))
	}
	for _, n := range pass.Tags(m.Graph, graph.TagHyper) {
		a, _ := n.Attr("default")
		ts[n.Str("name", "")] = op.FloatScalar(graph.Elem(n.Int("dtype", 0)), graph.Data[float64](a.T)[0])
	}
	if c.Options.Noise != "input" {
		ts["asdl/seed"] = graph.Scalar(int64(0))
	}
	return ts
}

func stateTensor(n *graph.Node) *graph.Tensor {
	shape := n.IntList("shape")
	t, err := graph.NewTensor(graph.Elem(n.Int("dtype", 0)), shape...)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	switch n.Str("init", "") {
	case "ones":
		for i := range t.Len() {
			setFloat(t, i, scaleOf(n))
		}
	case "eye":
		side := int(shape[len(shape)-1])
		for i := range t.Len() / side {
			setFloat(t, i*side+i%side, scaleOf(n))
		}
	}
	return t
}

func setFloat(t *graph.Tensor, i int, v float64) {
	if t.Elem == graph.Float64 {
		graph.Data[float64](t)[i] = v
	} else {
		graph.Data[float32](t)[i] = float32(v)
	}
}
