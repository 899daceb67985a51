package models

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
)

// resnet18 is four stages of two basic blocks. With the stem for small images (a 3x3 convolution, no pooling) and 10
// classes it has 11,173,962 parameters; with that for ImageNet and 1000 classes 11,689,512.
func resnet18(n *net, o Options) *graph.Value {
	var x *graph.Value
	if o.ImageNet {
		x = n.conv("conv1", n.input(3, 224, 224), 64, window{kernel: 7, stride: 2, pad: 3}, false)
		x = n.relu("relu", n.batchNorm("bn1", x))
		x = n.maxPool("maxpool", x, window{kernel: 3, stride: 2, pad: 1})
	} else {
		x = n.conv("conv1", n.input(3, 32, 32), 64, window{kernel: 3, stride: 1, pad: 1}, false)
		x = n.relu("relu", n.batchNorm("bn1", x))
	}
	for stage := range 4 {
		for block := range 2 {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			x = n.basicBlock(fmt.Sprintf("layer%d.%d", stage+1, block), x, 64<<stage, stride)
		}
	}
	x = n.op("avgpool", "GlobalAveragePool", batch(size(x, 1), 1, 1), []*graph.Value{x})
	classes := 10
	if o.ImageNet {
		classes = 1000
	}
	return n.linear("fc", n.flatten(x), o.classes(classes))
}

// basicBlock is two 3x3 convolutions beside a shortcut: the identity, or a 1x1 convolution where the shape changes.
func (n *net) basicBlock(path string, x *graph.Value, out, stride int) *graph.Value {
	y := n.conv(path+".conv1", x, out, window{kernel: 3, stride: stride, pad: 1}, false)
	y = n.relu(path+".relu", n.batchNorm(path+".bn1", y))
	y = n.conv(path+".conv2", y, out, window{kernel: 3, stride: 1, pad: 1}, false)
	y = n.batchNorm(path+".bn2", y)
	shortcut := x
	if stride != 1 || size(x, 1) != out {
		shortcut = n.conv(path+".downsample.0", x, out, window{kernel: 1, stride: stride}, false)
		shortcut = n.batchNorm(path+".downsample.1", shortcut)
	}
	sum := n.op(path, "Add", y.Type, []*graph.Value{y, shortcut})
	return n.relu(path+".relu_1", sum) // the exporter numbers the calls of a module
}
