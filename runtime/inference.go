package runtime

import "github.com/asdlc/asdlc/graph"

// InferenceForm copies m with every Dropout off and every BatchNormalization by its running statistics, in nested graphs
// and functions too. Outputs of BatchNormalization that only training has keep their place where something uses them.
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
			for i := len(n.Outputs()) - 1; i >= 1; i-- {
				v := n.Out(i)
				if v != nil && i <= 2 { // the next running statistics are the present ones
					v.ReplaceUses(n.In(i + 2))
				}
				if v != nil && (v.IsOutput() || len(v.Uses()) > 0) {
					break
				}
				n.DropOutput(i)
			}
			if len(n.Outputs()) == 1 {
				n.RemoveAttr("training_mode")
			}
		}
	}
}

// dropTrainingOutputs repeats what InferenceForm does to BatchNormalization, after graph outputs have been dropped.
func dropTrainingOutputs(m *graph.Model) { inferenceGraph(m.Graph) }
