package normalize

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// batchNorm gives every BatchNormalization the mode that Options.BN asks for: "train" (the default) uses batch statistics
// and has the next running statistics as outputs 1 and 2; "frozen" uses the running statistics. Inside of nested graphs,
// which cannot give next states, statistics are always frozen. The running variance is updated as the operator defines it, with the
// population variance of the batch; PyTorch takes the unbiased one, which is N/(N-1) times that for N elements in a channel.
func batchNorm(c *pass.Ctx, m *graph.Model) error {
	switch c.Options.BN {
	case "", "train", "frozen":
	default:
		return fmt.Errorf("%w: BatchNormalization mode %q; choose train or frozen", graph.ErrInvalid, c.Options.BN)
	}
	switched := 0
	for n := range m.Graph.All() {
		if !n.Is("", "BatchNormalization") {
			continue
		}
		training := n.Int("training_mode", 0) != 0
		nested := n.Graph() != m.Graph
		if c.Options.BN == "frozen" || nested {
			if err := freeze(n); err != nil {
				return err
			}
			if nested && training && c.Options.BN != "frozen" {
				c.Note(fmt.Sprintf("%s is inside of a nested graph: its running statistics stay as they are", n))
			}
			continue
		}
		if !training {
			switched++
			n.SetAttr(graph.I("training_mode", 1))
		}
		for _, what := range []string{"mean", "var"}[max(0, len(n.Outputs())-1):] {
			n.AddOutput(n.Out(0).Name + "/running_" + what)
		}
	}
	if switched > 0 {
		c.Note(fmt.Sprintf("%d BatchNormalization nodes in evaluation mode now use batch statistics, and their running variance follows ONNX, by the population variance of the batch (PyTorch: the unbiased one); keep the running statistics with --bn frozen", switched))
	}
	return nil
}

// freeze puts n into evaluation mode; the outputs of running statistics become the running statistics themselves.
func freeze(n *graph.Node) error {
	n.RemoveAttr("training_mode")
	for i := len(n.Outputs()) - 1; i >= 1; i-- {
		v := n.Out(i)
		if v == nil {
			continue
		}
		pass.Replace(v, n.In(i+2))
		n.DropOutput(i)
	}
	return nil
}
