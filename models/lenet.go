package models

import "github.com/asdlc/asdlc/graph"

// lenet is LeNet-5 in today's form: ReLU for tanh, maxima for averages, a linear output layer.
func lenet(n *net, o Options) *graph.Value {
	half := window{kernel: 2, stride: 2}
	x := n.input(1, 28, 28)
	x = n.relu("relu1", n.conv("conv1", x, 6, window{kernel: 5, stride: 1, pad: 2}, true))
	x = n.maxPool("pool1", x, half)
	x = n.relu("relu2", n.conv("conv2", x, 16, window{kernel: 5, stride: 1}, true))
	x = n.maxPool("pool2", x, half)
	x = n.relu("relu3", n.linear("fc1", n.flatten(x), 120))
	x = n.relu("relu4", n.linear("fc2", x, 84))
	return n.linear("fc3", x, o.Classes)
}
