package kernel

import "github.com/asdlc/asdlc/graph"

// linalgTable holds the matrix functions of the domain asdl.
var linalgTable = []Row{
	{Domain: graph.Asdl, Op: "CholeskyInverse", Elems: floats, Note: "portable", Make: byFloat(makeCholeskyInverse[float32], makeCholeskyInverse[float64])},
	{Domain: graph.Asdl, Op: "BatchInverse", Elems: floats, Note: "portable", Make: byFloat(makeBatchInverse[float32], makeBatchInverse[float64])},
	{Domain: graph.Asdl, Op: "BatchEigen", Elems: floats, Note: "portable", Make: byFloat(makeBatchEigen[float32], makeBatchEigen[float64])},
	{Domain: graph.Asdl, Op: "InverseRoot", Elems: floats, Note: "portable", Make: byFloat(makeInverseRoot[float32], makeInverseRoot[float64])},
	{Domain: graph.Asdl, Op: "SymmetricEigen", Elems: floats, Note: "portable", Make: byFloat(makeSymmetricEigen[float32], makeSymmetricEigen[float64])},
	{Domain: graph.Asdl, Op: "Polar", Elems: floats, Note: "portable", Make: byFloat(makePolar[float32], makePolar[float64])},
	{Domain: graph.Asdl, Op: "EigenBasis", Elems: floats, Note: "portable", Make: byFloat(makeEigenBasis[float32], makeEigenBasis[float64])},
	{Domain: graph.Asdl, Op: "BFGS", Elems: floats, Note: "portable", InPlace: []int{0}, Make: byFloat(makeBFGS[float32], makeBFGS[float64])},
	{Domain: graph.Asdl, Op: "UpperInverse", Elems: floats, Note: "portable", Make: byFloat(makeUpperInverse[float32], makeUpperInverse[float64])},
	{Domain: graph.Asdl, Op: "LieStep", Elems: floats, Note: "portable", Make: byFloat(makeLieStep[float32], makeLieStep[float64])},
	{Domain: graph.Asdl, Op: "InverseFreeStep", Elems: floats, Note: "portable", Make: byFloat(makeInverseFree[float32], makeInverseFree[float64])},
	{Domain: graph.Asdl, Op: "PowerIteration", Elems: floats, Note: "portable", Make: byFloat(makePowerIteration[float32], makePowerIteration[float64])},
}
