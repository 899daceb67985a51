// Package runtime runs ONNX models in Go: a [Session] executes a model, and carries the state of a training-step graph
// from one run to the next.
//
// A model is lowered to a gorgonia.ExprGraph (package lower), planned once for each set of input shapes and executed by
// a gorgonia.VM of our own (package vm), with kernels from a registry (package kernel). After the first step with given
// shapes a step allocates nothing.
//
// A [Trainer] drives a step graph over a labelled data set (package data): it feeds batches, hyper-parameters by a [Schedule]
// and the seed, measures the model with an [Evaluator] after each epoch, and writes checkpoints, from which a training goes
// on bit for bit. [ExportWeights] puts the result back into the original file.
package runtime
