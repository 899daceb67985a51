package models

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
)

// block is a residual block of a stage with the given number of channels.
type block func(n *net, path string, x *graph.Value, channels, stride int) *graph.Value

// resnet is a stem, four stages of residual blocks and a linear layer, in torchvision's form (the stride of a bottleneck
// in its 3x3 convolution). The stem for small images is a 3x3 convolution without pooling.
func resnet(b block, blocks [4]int) func(*net, Options) *graph.Value {
	return func(n *net, o Options) *graph.Value {
		n.scheme = he
		stem := window{kernel: 3, stride: 1, pad: 1}
		if o.ImageNet {
			stem = window{kernel: 7, stride: 2, pad: 3}
		}
		x := n.relu("relu", n.convNorm("", "1", n.input(3, o.Image, o.Image), o.Width, stem))
		if o.ImageNet {
			x = n.maxPool("maxpool", x, window{kernel: 3, stride: 2, pad: 1})
		}
		for stage, count := range blocks {
			for i := range count {
				stride := 1
				if stage > 0 && i == 0 {
					stride = 2
				}
				x = b(n, fmt.Sprintf("layer%d.%d", stage+1, i), x, o.Width<<stage, stride)
			}
		}
		return n.linear("fc", n.pooled(x), o.Classes)
	}
}

// basicBlock is two 3x3 convolutions beside a shortcut.
func basicBlock(n *net, path string, x *graph.Value, channels, stride int) *graph.Value {
	y := n.convNorm(path+".", "1", x, channels, window{kernel: 3, stride: stride, pad: 1})
	y = n.relu(path+".relu", y)
	y = n.convNorm(path+".", "2", y, channels, window{kernel: 3, stride: 1, pad: 1})
	return n.addShortcut(path, x, y, stride)
}

// bottleneck is a 1x1 convolution to the channels, a 3x3 one, and a 1x1 one to four times as many, beside a shortcut.
func bottleneck(n *net, path string, x *graph.Value, channels, stride int) *graph.Value {
	point := window{kernel: 1, stride: 1}
	y := n.relu(path+".relu", n.convNorm(path+".", "1", x, channels, point))
	y = n.relu(path+".relu", n.convNorm(path+".", "2", y, channels, window{kernel: 3, stride: stride, pad: 1}))
	y = n.convNorm(path+".", "3", y, 4*channels, point)
	return n.addShortcut(path, x, y, stride)
}

// convNorm is convolution PREFIXconvNUMBER and normalisation PREFIXbnNUMBER.
func (n *net) convNorm(prefix, number string, x *graph.Value, out int, w window) *graph.Value {
	return n.batchNorm(prefix+"bn"+number, n.conv(prefix+"conv"+number, x, out, w, false))
}

// addShortcut adds x to y: itself, or a normalised 1x1 convolution of it where the shapes differ.
func (n *net) addShortcut(path string, x, y *graph.Value, stride int) *graph.Value {
	shortcut := x
	if out := size(y, 1); stride != 1 || size(x, 1) != out {
		shortcut = n.conv(path+".downsample.0", x, out, window{kernel: 1, stride: stride}, false)
		shortcut = n.batchNorm(path+".downsample.1", shortcut)
	}
	return n.relu(path+".relu", n.binary(path, "Add", y, shortcut))
}
