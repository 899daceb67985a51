// Package op knows the operators: what they are called, which inputs, outputs and attributes each opset version of
// them has, and what type and (for shape-like tensors) content their outputs get.
//
// Operators are rows of tables, one table a family (table_*.go). [Lookup] finds the row for an opset version; [Infer]
// types one node, [InferGraph] a model, [InferCall] a call that the runtime is about to make. [Builder] emits nodes.
//
// The rows' functions stand beside their tables or, where they are long, in files of their own: conv, reshape, slice,
// concat, resize, einsum. infer.go walks graphs, function.go enters functions, table_control.go nested graphs; check.go
// compares calls with rows, context.go is what rows see of a call; content.go computes with the contents of shape-like
// tensors.
//
// # What inference promises
//
// Dimensions are known, symbolic (expressions over the names of the model's input dimensions) or unknown. Inference
// never guesses a number, but it reads a model as its author meant it: a symbol is a size of at least 1, and a symbolic
// bound of a Slice lies within its axis. Small integer tensors (rank 0 or 1, at most 64 elements) carry
// their content as such expressions, which is how Shape, Gather, Concat, Reshape chains resolve.
package op
