package kernel

import "github.com/asdlc/asdlc/graph"

// nnTable holds the neural-network operators in portable Go on top of Gemm.
var nnTable = []Row{
	{Op: "MatMul", Elems: floats, Note: "portable", Make: byFloat(makeMatMul[float32], makeMatMul[float64])},
	{Op: "Gemm", Elems: floats, Note: "portable", InPlace: []int{2}, Make: byFloat(makeGemm[float32], makeGemm[float64])},
	{Op: "Gemm", Elems: floats, Rank: 5, Note: "one triangle of A^T A", InPlace: []int{2}, Make: byFloat(makeSyrk[float32], makeSyrk[float64])},

	{Op: "Conv", Elems: floats, Note: "portable", Make: byFloat(makeConv[float32], makeConv[float64])},
	{Op: "ConvTranspose", Elems: floats, Note: "portable", Make: byFloat(makeConvTranspose[float32], makeConvTranspose[float64])},
	{Op: "MaxPool", Elems: floats, Note: "portable", Make: byFloat(makeMaxPool[float32], makeMaxPool[float64])},
	{Op: "MaxPool", Elems: floats, Rank: 1, Note: "planes", Make: byFloat(makePlaneMax[float32], makePlaneMax[float64])},
	{Op: "MaxPool", Elems: []graph.Elem{graph.Uint8}, Note: "portable", Make: makeMaxPool[uint8]},
	{Op: "MaxPool", Elems: []graph.Elem{graph.Int8}, Note: "portable", Make: makeMaxPool[int8]},
	{Op: "AveragePool", Elems: floats, Note: "portable", Make: byFloat(makeAveragePool[float32], makeAveragePool[float64])},
	{Op: "AveragePool", Elems: floats, Rank: 1, Note: "planes", Make: byFloat(makePlaneMean[float32], makePlaneMean[float64])},
	{Op: "LpPool", Elems: floats, Note: "portable", Make: byFloat(makeLpPool[float32], makeLpPool[float64])},
	{Op: "GlobalAveragePool", Elems: floats, Note: "portable", Make: byFloat(makeGlobalPool(meanOf[float32]), makeGlobalPool(meanOf[float64]))},
	{Op: "GlobalAveragePool", Elems: []graph.Elem{graph.Float32}, Rank: 1, Note: "vector", Make: makeGlobalMean},
	{Op: "GlobalMaxPool", Elems: floats, Note: "portable", Make: byFloat(makeGlobalPool(maxOf[float32]), makeGlobalPool(maxOf[float64]))},
	{Op: "GlobalLpPool", Elems: floats, Note: "portable", Make: byFloat(makeGlobalLpPool[float32], makeGlobalLpPool[float64])},

	{Op: "BatchNormalization", Elems: floats, Note: "portable", Make: byFloat(makeBatchNorm[float32], makeBatchNorm[float64])},
	{Op: "LayerNormalization", Elems: floats, Note: "portable", Make: byFloat(makeLayerNorm[float32](false), makeLayerNorm[float64](false))},
	{Op: "RMSNormalization", Elems: floats, Note: "portable", Make: byFloat(makeLayerNorm[float32](true), makeLayerNorm[float64](true))},
	{Op: "InstanceNormalization", Elems: floats, Note: "portable", Make: byFloat(makeInstanceNorm[float32], makeInstanceNorm[float64])},
	{Op: "GroupNormalization", Elems: floats, Note: "portable", Make: byFloat(makeGroupNorm[float32], makeGroupNorm[float64])},

	{Op: "Softmax", Elems: floats, Note: "portable", Make: byFloat(makeSoftmax[float32](false), makeSoftmax[float64](false))},
	{Op: "LogSoftmax", Elems: floats, Note: "portable", Make: byFloat(makeSoftmax[float32](true), makeSoftmax[float64](true))},

	{Op: "Dropout", Elems: floats, Note: "portable", Make: byFloat(makeDropout[float32], makeDropout[float64])},
	{Op: "SoftmaxCrossEntropyLoss", Elems: floats, Note: "portable", Make: byFloat(makeClassLoss[float32](true), makeClassLoss[float64](true))},
	{Op: "NegativeLogLikelihoodLoss", Elems: floats, Note: "portable", Make: byFloat(makeClassLoss[float32](false), makeClassLoss[float64](false))},

	{Op: "RNN", Elems: floats, Note: "portable", Make: byFloat(makeRNN[float32], makeRNN[float64])},
	{Op: "GRU", Elems: floats, Note: "portable", Make: byFloat(makeGRU[float32], makeGRU[float64])},
	{Op: "LSTM", Elems: floats, Note: "portable", Make: byFloat(makeLSTM[float32], makeLSTM[float64])},

	bySize("Resize", 0, makeNearest[uint8], makeNearest[uint16], makeNearest[uint32], makeNearest[uint64]),
	bySize("Upsample", 0, makeNearest[uint8], makeNearest[uint16], makeNearest[uint32], makeNearest[uint64]),
	{Op: "Resize", Elems: floats, Rank: 5, Note: "interpolation", Make: byFloat(makeInterpolation[float32], makeInterpolation[float64])},
	{Op: "Upsample", Elems: floats, Rank: 5, Note: "interpolation", Make: byFloat(makeInterpolation[float32], makeInterpolation[float64])},

	{Op: "GridSample", Elems: floats, Note: "portable", Make: byFloat(makeGridSample[float32], makeGridSample[float64])},
	{Op: "AffineGrid", Elems: floats, Note: "portable", Make: byFloat(makeAffineGrid[float32], makeAffineGrid[float64])},
	{Op: "Attention", Elems: floats, Note: "portable", Make: byFloat(makeAttention[float32], makeAttention[float64])},
	{Op: "LinearAttention", Elems: floats, Note: "portable", Make: byFloat(makeLinearAttention[float32], makeLinearAttention[float64])},
	{Op: "CausalConvWithState", Elems: floats, Note: "portable", Make: byFloat(makeCausalConv[float32], makeCausalConv[float64])},
	{Op: "RotaryEmbedding", Elems: floats, Note: "portable", Make: byFloat(makeRotary[float32], makeRotary[float64])},
	{Op: "LpNormalization", Elems: floats, Note: "portable", Make: byFloat(makeLpNorm[float32], makeLpNorm[float64])},
	{Op: "LRN", Elems: floats, Note: "portable", Make: byFloat(makeLRN[float32], makeLRN[float64])},
	{Op: "MeanVarianceNormalization", Elems: floats, Note: "portable", Make: byFloat(makeMeanVariance[float32], makeMeanVariance[float64])},
	{Op: "Hardmax", Elems: floats, Note: "portable", Make: byFloat(makeHardmax[float32], makeHardmax[float64])},

	{Op: "Einsum", Elems: floats, Note: "portable", Make: byFloat(makeEinsum[float32], makeEinsum[float64])},
	{Op: "Col2Im", Elems: floats, Note: "portable", Make: byFloat(makeCol2Im[float32], makeCol2Im[float64])},
	{Op: "Det", Elems: floats, Note: "portable", Make: byFloat(makeDet[float32], makeDet[float64])},
}
