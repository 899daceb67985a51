package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// runtimeTable holds, in portable Go, the operators that the runtime puts in the place of patterns.
func runtimeTable() []Row {
	rows := inPlace([]int{0, 1},
		runtimeRow(row[float32]("ReluGrad", makeReluGrad[float32])),
		runtimeRow(row[float64]("ReluGrad", makeReluGrad[float64])),
	)
	grad := runtimeRow(Row{Op: "BatchNormGrad", Elems: floats, Note: "portable", Make: byFloat(makeBatchNormGrad[float32], makeBatchNormGrad[float64])})
	grad.InPlace = []int{0, 1}
	layer := runtimeRow(Row{Op: "LayerNormGrad", Elems: floats, Note: "portable", Make: byFloat(makeLayerNormGrad[float32], makeLayerNormGrad[float64])})
	layer.InPlace = []int{0, 1}
	chain := runtimeRow(Row{Op: "Pointwise", Elems: floats, Note: "portable", Make: byFloat(makePointwise[float32], makePointwise[float64])})
	chain.AnyInPlace = true
	solve := runtimeRow(Row{Op: "UpperSolve", Elems: floats, Note: "portable", Make: byFloat(makeUpperSolve[float32], makeUpperSolve[float64])})
	solve.InPlace = []int{1}
	return append(rows, grad, layer, chain, solve,
		runtimeRow(Row{Op: "ConvWeightGrad", Elems: floats, Note: "portable", Make: byFloat(makeConvWeightGrad[float32], makeConvWeightGrad[float64])}),
		runtimeRow(Row{Op: "MatMul", Elems: floats, Note: "portable", Make: byFloat(makeMatMul[float32], makeMatMul[float64])}),
		runtimeRow(Row{Op: "MaxAbs", Elems: floats, Note: "portable", Make: byFloat(makeMaxAbs[float32], makeMaxAbs[float64])}),
		runtimeRow(Row{Op: "PatchColumns", Elems: floats, Note: "portable", Make: byFloat(makePatchColumns[float32], makePatchColumns[float64])}),
		runtimeRow(Row{Op: "MaxPoolGrad", Elems: floats, Note: "portable", Make: byFloat(makeMaxPoolGrad[float32], makeMaxPoolGrad[float64])}),
		runtimeRow(Row{Op: "PatchGram", Elems: floats, Note: "portable", Make: byFloat(makePatchGram[float32], makePatchGram[float64])}),
		runtimeRow(Row{Op: "PatchSum", Elems: floats, Note: "portable", Make: byFloat(makePatchSum[float32], makePatchSum[float64])}),
	)
}

func runtimeRow(r Row) Row {
	r.Domain = graph.Asdl
	return r
}

// makeReluGrad is asdl.ReluGrad: G where Y > 0, else 0.
func makeReluGrad[T amd64.Float](c *Call) (Run, error) {
	return reluGrad(c, func(dst, g, y []T) {
		for i, v := range y {
			d := T(0)
			if v > 0 {
				d = g[i]
			}
			dst[i] = d
		}
	})
}

func reluGrad[T amd64.Float](c *Call, f func(dst, g, y []T)) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	if c.In[0].Len() != c.In[1].Len() {
		return nil, c.Errorf(graph.ErrInvalid, "gradient of shape %v and activation of shape %v", c.In[0].Shape, c.In[1].Shape)
	}
	var g, y, dst []T
	body := func(lo, hi int) { f(dst[lo:hi], g[lo:hi], y[lo:hi]) }
	return func(in, out []*Tensor) error {
		g, y, dst = Data[T](in[0]), Data[T](in[1]), Data[T](out[0])
		c.Pool.For(len(dst), grainCheap, body)
		return nil
	}, nil
}
