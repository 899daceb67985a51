package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// basisTolerance and basisTrips are the defaults of trackBasis: a basis is good enough when what is off the diagonal of
// Q^T A Q is a hundredth of A in the Frobenius norm. A statistic of training that moves on takes one or two trips; from
// the identity it takes ten to twenty (docs/testing.md has the measurement).
const (
	basisTolerance = 0.01
	basisTrips     = 40
)

// trackBasis brings the orthonormal basis q closer to the eigenvectors of the symmetric matrix m. The columns of next keep
// their order, so that what is stored in the basis stays where it is; w is the diagonal of next^T m next. It takes
// solve.iterations trips at most, until what is off the diagonal falls to solve.tolerance times m. A block that calls it
// lists basisFunctions in its texts. Where m is not finite, next is q and w NaN.
func (e *engine) trackBasis(b *op.Builder, m, q *graph.Value) (next, w *graph.Value) {
	trips, tol := e.rec.Solve.Iterations, e.rec.Solve.Tolerance
	if trips == 0 {
		trips = basisTrips
	}
	if tol == 0 {
		tol = basisTolerance
	}
	out := b.Call("EigenBasis", 2, []*graph.Value{m, q}, graph.I("iterations", int64(trips)), graph.F("tol", float32(tol)))
	return out[0], out[1]
}

// basisFunctions is the text of the function that trackBasis calls.
func basisFunctions() string { return section("eigen basis") }
