package models

import (
	"strconv"

	"github.com/asdlc/asdlc/graph"
)

// mlp is fc1, ReLU, fc2, ReLU, ...: the widths are those of the input, of the hidden layers and of the output.
func mlp(n *net, o Options) *graph.Value {
	widths := o.Widths
	if widths == nil {
		widths = []int{784, 512, 512, o.classes(10)}
	}
	x := n.input(widths[0])
	for i, width := range widths[1:] {
		if i > 0 {
			x = n.relu("relu"+strconv.Itoa(i), x)
		}
		x = n.linear("fc"+strconv.Itoa(i+1), x, width)
	}
	return x
}
