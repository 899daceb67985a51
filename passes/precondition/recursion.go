package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// recursiveFactor is the output factor of a layer by the recursion of KFRA (Botev, Ritter & Barber 2017, equation 20): for the
// layer that makes the logits, the mean over the batch of the loss's Hessian; below a layer of weight W (without its bias)
// and factor G,
//
//	(W^T G W) o mean over the batch of f f^T
//
// for the slopes f of the non-linearity between them. Layers of one step are asked for in order, each layer's factor is
// made once.
func (e *engine) recursiveFactor(b *op.Builder, cap *captured) *graph.Value {
	if s := e.factors[cap]; s != nil {
		return s
	}
	v := e.viewOf(cap.layers[0])
	var s *graph.Value
	if next := e.captures[cap.next]; next != nil {
		above := e.viewOf(next.layers[0])
		w := above.matrix(b, above.l, above.l.W)
		slopes := v.rowsOut(e, b, v.l, cap.g[0][0])
		mean := b.Div(gram(b, slopes), b.CountOf(slopes, e.elem, 0))
		s = b.Mul(b.MatMul(b.Swap(w), b.MatMul(e.recursiveFactor(b, next), w)), mean)
	} else {
		s = e.outputFactor(b, cap, v)
	}
	e.factors[cap] = s
	return s
}
