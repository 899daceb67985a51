// Package autodiff expands the requests asdl.Gradient and asdl.Tangent into standard operators.
//
// Reverse mode ([Expand] of a Gradient) walks the nodes between the x's and the y's backward and asks the operator's
// rule for its vector-Jacobian product; forward mode (of a Tangent) walks them forward and asks for the
// Jacobian-vector product. The walks hold no operator names: what they know of an operator is its row in the table
// of [Rules]. Every operator that a rule emits has a row itself, so that requests may be stacked to any order.
//
// A nil cotangent or tangent means zero and is not computed with.
package autodiff
