package models

import (
	"strconv"

	"github.com/asdlc/asdlc/graph"
)

// mlp is fc1, ReLU, fc2, ReLU, ...: the widths are those of the input, of the hidden layers and of the output.
func mlp(n *net, o Options) *graph.Value {
	x := n.input(o.Widths[0])
	for i, width := range o.Widths[1:] {
		if i > 0 {
			x = n.relu("relu"+strconv.Itoa(i), x)
		}
		x = n.linear("fc"+strconv.Itoa(i+1), x, width)
	}
	return x
}
