// Package onnxgo is a backend for github.com/owulveryck/onnx-go on asdlc's runtime. A program that uses onnx-go's
// Gorgonia backend changes one line:
//
//	backend := onnxgo.NewGraph() // was: gorgonnx.NewGraph()
//	model := onnx.NewModel(backend)
//	err := model.UnmarshalBinary(data)
//	...
//	err = backend.Run()
//	out, err := model.GetOutputTensors()
//
// Limits are those of onnx-go's decoder: no nested graphs (If, Loop, Scan), no model-local functions, no operator
// domains, and only the element types that it reads. A step graph exported with `asdlc instrument --inline --split`
// keeps to them. [Unmarshal] is UnmarshalBinary with errors that say so.
//
// onnx-go does not tell a backend the opset version either. It is inferred: the newest version in which every operator
// has the attributes and number of inputs that the file gives it. Set [Graph.Opset] where that guess is not right; only
// Softmax and LogSoftmax without axis on tensors of rank above 2, and BatchNormalization in training, can tell the
// difference.
package onnxgo
