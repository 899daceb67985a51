// Package graph is asdlc's intermediate representation: ONNX models as graphs of pointers.
//
// # Entities
//
// A [Model] owns a main [Graph], model-local [Function] definitions and metadata. A Graph owns its input, initializer
// and output [Value] lists and a linked list of [Node]. A Value is defined once: by one output of one node, as a graph
// input, or as an initializer. Attributes may hold nested graphs (If, Loop, Scan), whose nodes may use values of the
// enclosing graphs directly. Identity is the pointer; names are for people and are unique in a model.
//
// What a later pass needs is in the graph, as tag operators of the domain "asdl" (see tags.go): identities on
// their first input, declarations without inputs, or requests that a later pass expands.
//
// Every change goes through the methods of edit.go and build.go, which keep the uses right.
//
// # Invariants
//
// [Verify] checks these; its errors cite the number.
//
//	G1  Names of values are unique within the main graph and everything nested in it; no name is empty.
//	G2  Each value is defined exactly once, and belongs to the graph that defines it.
//	G3  A node uses only values of its own graph or of an enclosing one (or nil for a missing optional input).
//	G4  The use lists are exact: value v lists (n, i) if and only if input i of n is v.
//	G5  Nodes are in an order in which each value is defined before its use, nested graphs counted as uses of their node.
//	G6  Graph outputs are values of that graph (or, in a nested graph, of an enclosing one).
//	G7  An initializer has a constant whose element type and shape agree with the value's type.
//	G8  Known element types are valid, and known dimensions are not negative.
//	G9  Attributes of a node have distinct names, and the payload fits the kind.
//	G10 A function is not recursive, and its body uses only its own values.
//	G11 Every operator domain in use has an opset version in the model (or function).
package graph
