package models

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
)

// wideResNet is WRN-d-k: a 3x3 convolution, three stages of (d-4)/6 residual blocks with 16k, 32k and 64k channels, and a
// linear layer. Normalisation and ReLU come before the convolutions.
func wideResNet(n *net, o Options) *graph.Value {
	n.scheme = func(l layer) (weight, bias distribution) {
		if l.op == "Conv" {
			return normal(math.Sqrt(2 / float64(l.fanOut))), nil
		}
		weight, _ = standard(l)
		return weight, constant(0)
	}
	x := n.conv("conv1", n.input(3, o.Image, o.Image), 16, window{kernel: 3, stride: 1, pad: 1}, false)
	for stage := range 3 {
		for i := range (o.Depth - 4) / 6 {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = n.wideBlock(fmt.Sprintf("block%d.layer.%d", stage+1, i), x, 16*o.Widen<<stage, stride)
		}
	}
	x = n.relu("relu", n.batchNorm("bn1", x))
	return n.linear("fc", n.pooled(x), o.Classes)
}

// wideBlock is normalisation, ReLU and a 3x3 convolution, twice, beside a shortcut: the identity, or a 1x1 convolution of
// what is normalised already where the number of channels changes.
func (n *net) wideBlock(path string, x *graph.Value, channels, stride int) *graph.Value {
	y := n.relu(path+".relu1", n.batchNorm(path+".bn1", x))
	shortcut := x
	if size(x, 1) != channels || stride != 1 {
		shortcut = n.conv(path+".convShortcut", y, channels, window{kernel: 1, stride: stride}, false)
	}
	y = n.conv(path+".conv1", y, channels, window{kernel: 3, stride: stride, pad: 1}, false)
	y = n.relu(path+".relu2", n.batchNorm(path+".bn2", y))
	y = n.conv(path+".conv2", y, channels, window{kernel: 3, stride: 1, pad: 1}, false)
	return n.binary(path, "Add", y, shortcut)
}
