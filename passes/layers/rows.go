package layers

import "github.com/asdlc/asdlc/graph"

// rows is the table of layers. The rows of an operator are tried in order.
var rows = []row{
	{"Gemm", graph.LayerLinear, gemm},
	{"MatMul", graph.LayerLinear, matMul},
	{"Conv", graph.LayerConv, conv},
	{"ConvTranspose", graph.LayerConvT, conv},
	{"BatchNormalization", graph.LayerBatchNorm, batchNorm},
	{"LayerNormalization", graph.LayerLayerNorm, layerNorm},
	{"InstanceNormalization", graph.LayerGroupNorm, groupNorm},
	{"GroupNormalization", graph.LayerGroupNorm, groupNorm},
	{"RMSNormalization", graph.LayerRMSNorm, layerNorm},
	{"Gather", graph.LayerEmbedding, embedding},
	{"Mul", graph.LayerScale, bare},
	{"Add", graph.LayerBias, bare},
}
