package runtime

import "github.com/asdlc/asdlc/graph"

// InferenceForm copies m in the form that is evaluated: Dropout off and BatchNormalization by its running statistics, in
// nested graphs and functions too. The next running statistics, where m returns them, are the present ones.
func InferenceForm(m *graph.Model) *graph.Model {
	c := graph.Clone(m)
	inferenceGraph(c.Graph)
	for _, f := range c.Functions {
		inferenceGraph(f.Body)
	}
	return c
}

func inferenceGraph(g *graph.Graph) {
	for n := range g.All() {
		switch {
		case n.Is("", "Dropout") && len(n.Inputs()) > 2: // the third input is training_mode
			n.SetInputs(n.Inputs()[:2]...)
		case n.Is("", "BatchNormalization"):
			freezeStatistics(n)
		}
	}
}

// freezeStatistics puts a BatchNormalization into inference form. Outputs 1 and 2 are the next running statistics; before
// opset 14 outputs 3 and 4 are those of the batch, which have no inference form: where they are used, n stays.
func freezeStatistics(n *graph.Node) {
	for i := len(n.Outputs()) - 1; i >= 1; i-- {
		v := n.Out(i)
		if v == nil {
			continue
		}
		if i <= 2 {
			keepStatistics(n, v, n.In(i+2))
		}
		if v.IsOutput() || len(v.Uses()) > 0 {
			return
		}
		n.DropOutput(i)
	}
	n.RemoveAttr("training_mode")
}

// keepStatistics makes present stand for next. A graph output keeps its name.
func keepStatistics(n *graph.Node, next, present *graph.Value) {
	if next.IsOutput() {
		name := next.Name
		next.Rename(name + "/next")
		id := n.Graph().InsertNode(n.Next(), "", "Identity", []*graph.Value{present}, []string{name})
		id.Out(0).Type = next.Type
		present = id.Out(0)
	}
	next.ReplaceUses(present)
}
