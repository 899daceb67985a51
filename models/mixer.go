package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// mixer is MLP-Mixer in timm's form: blocks of an MLP over the patches, half as wide as the features, and one over the
// features, four times as wide.
func mixer(n *net, o Options) *graph.Value {
	n.scheme = mixerScheme
	x := n.patches("stem", n.input(3, o.Image, o.Image), o)
	for i := range o.Depth {
		path := fmt.Sprintf("blocks.%d", i)
		y := n.transpose(path, n.layerNorm(path+".norm1", x, epsilonViT), 0, 2, 1)
		y = n.transpose(path, n.feedForward(path+".mlp_tokens", y, o.Width/2), 0, 2, 1)
		x = n.binary(path, "Add", x, y)
		y = n.feedForward(path+".mlp_channels", n.layerNorm(path+".norm2", x, epsilonViT), 4*o.Width)
		x = n.binary(path, "Add", x, y)
	}
	x = n.layerNorm("norm", x, epsilonViT)
	x = n.op("", "ReduceMean", batch(o.Width), []*graph.Value{x}, graph.Is("axes", 1), graph.I("keepdims", 0))
	return n.linear("head", x, o.Classes)
}

// mixerScheme is the reference's: Glorot's uniform weights (Glorot & Bengio 2010, eq. 16) with biases near zero, and a
// last layer of zeros.
func mixerScheme(l layer) (weight, bias distribution) {
	switch {
	case l.op == "Conv":
		return lecun(l.fanIn), constant(0)
	case strings.HasPrefix(l.path, "head"):
		return constant(0), constant(0)
	}
	return uniform(math.Sqrt(6 / float64(l.fanIn+l.fanOut))), normal(1e-6)
}
