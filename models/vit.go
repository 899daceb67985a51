package models

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
)

// epsilonViT is that of the normalisations of ViT and MLP-Mixer.
const epsilonViT = 1e-6

// vit is the Vision Transformer in timm's form: a class token, learned positions, blocks with normalisation first, and
// the class token's features to a linear layer. Its feed-forward layers are four times as wide.
func vit(n *net, o Options) *graph.Value {
	n.scheme = func(l layer) (weight, bias distribution) {
		if l.op == "Conv" {
			return standard(l)
		}
		return normal(0.02), constant(0)
	}
	image := n.input(3, o.Image, o.Image)
	token := n.param("cls_token", normal(1e-6), 1, 1, o.Width)
	x := n.patches("patch_embed", image, o)
	tokens := size(x, 1) + 1
	position := n.param("pos_embed", normal(0.02), 1, tokens, o.Width)

	each := n.op("", "Expand", batch(1, o.Width), []*graph.Value{token, n.batchByOnes(image)})
	x = n.op("", "Concat", batch(tokens, o.Width), []*graph.Value{each, x}, graph.I("axis", 1))
	x = n.binary("", "Add", x, position)
	for i := range o.Depth {
		path := fmt.Sprintf("blocks.%d", i)
		y := n.fusedAttention(path+".attn", "qkv", "proj", n.layerNorm(path+".norm1", x, epsilonViT), nil, o.Heads)
		x = n.binary(path, "Add", x, y)
		y = n.feedForward(path+".mlp", n.layerNorm(path+".norm2", x, epsilonViT), 4*o.Width)
		x = n.binary(path, "Add", x, y)
	}
	x = n.layerNorm("norm", x, epsilonViT)
	return n.linear("head", n.at("", x, 1, 0), o.Classes)
}

// patches makes a sequence of the image's patches: PATH.proj is a convolution without overlap, float[N,patches,width].
func (n *net) patches(path string, image *graph.Value, o Options) *graph.Value {
	x := n.conv(path+".proj", image, o.Width, window{kernel: o.Patch, stride: o.Patch}, true)
	x = n.reshape(path, x, batch(o.Width, size(x, 2)*size(x, 3)), 0, int64(o.Width), -1)
	return n.transpose(path, x, 0, 2, 1)
}

// batchByOnes is the shape [N,1,1].
func (n *net) batchByOnes(x *graph.Value) *graph.Value {
	length := n.op("", "Shape", graph.StaticType(graph.Int64, 1), []*graph.Value{x}, graph.I("start", 0), graph.I("end", 1))
	ones := n.constant("", graph.Ints(1, 1))
	return n.op("", "Concat", graph.StaticType(graph.Int64, 3), []*graph.Value{length, ones}, graph.I("axis", 0))
}

// feedForward is PATH.fc1 to the hidden width, GELU, and PATH.fc2 back.
func (n *net) feedForward(path string, x *graph.Value, hidden int) *graph.Value {
	y := n.gelu(path+".act", n.linear(path+".fc1", x, hidden))
	return n.linear(path+".fc2", y, size(x, -1))
}
