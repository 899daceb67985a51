package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// followProducts moves the second moments of sources hvp and ggnvp: estimates of the curvature's diagonal in the present bases,
// from its products Hv turned into them (ESGD's and AdaHessian's estimates, Dauphin et al. 2015 and Yao et al. 2021, in the bases
// of SOAP). It runs on the clock of the statistics, so that the sum of the weights is kept for debiasing.
func (t *basisTensor) followProducts(b *op.Builder, sols []*graph.Value) []*graph.Value {
	row, next := t.elementStatistic(), append([]*graph.Value{}, sols...)
	draws := t.quantities[quantity{t.param.Name(), row.What}]
	sums := make([]*graph.Value, len(t.tiles))
	for _, d := range draws {
		products, probes := t.split(b, d[0], t.shape, t.view, t.cuts), t.split(b, d[1], t.shape, t.view, t.cuts)
		for i, tile := range t.tiles {
			bases := tile.bases(sols)
			sums[i] = plus(b, sums[i], row.Of(t.engine, b, nil, tile.into(b, products[i], bases), tile.into(b, probes[i], bases)))
		}
	}
	beta := t.rec.Accumulate.Beta
	for i, tile := range t.tiles {
		next[tile.square] = t.moving(b, sols[tile.square], b.Scale(sums[i], 1/float64(len(draws))), beta)
		next[tile.weight] = t.moving(b, sols[tile.weight], b.Float(t.elem, 1), beta)
	}
	return next
}

// dividedInBasis is m over the estimate v, debiased by its weight; before the first estimate m itself.
func (t *basisTensor) dividedInBasis(b *op.Builder, m, v, weight *graph.Value) *graph.Value {
	known := b.Compare("Greater", weight, b.Float(t.elem, 0))
	v = b.Where(known, b.Div(v, weight), b.Float(t.elem, 1))
	return t.divided(b, m, v, t.elementStatistic().Squared)
}
