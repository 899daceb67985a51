package layers

import "github.com/asdlc/asdlc/graph"

// Kinds of normalisation that are named but have no statistics of their own.
const (
	kindGroupNorm = "groupnorm"
	kindRMSNorm   = "rmsnorm"
)

// rows is the table of layers. The rows of an operator are tried in order.
var rows = []row{
	{"Gemm", graph.LayerLinear, gemm},
	{"MatMul", graph.LayerLinear, matMul},
	{"Conv", graph.LayerConv, conv},
	{"ConvTranspose", graph.LayerConvT, conv},
	{"BatchNormalization", graph.LayerBatchNorm, batchNorm},
	{"LayerNormalization", graph.LayerLayerNorm, layerNorm},
	{"InstanceNormalization", kindGroupNorm, otherNorm},
	{"GroupNormalization", kindGroupNorm, otherNorm},
	{"RMSNormalization", kindRMSNorm, otherNorm},
	{"Gather", graph.LayerEmbedding, embedding},
	{"Mul", graph.LayerScale, bare},
	{"Add", graph.LayerBias, bare},
}
