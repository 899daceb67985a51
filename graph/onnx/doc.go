// Package onnx reads and writes ONNX files. It is the only package that sees the file format's protobuf messages.
//
// Reading gives a model that [graph.Verify] accepts, or one error that names the file, the node or tensor, and the cure.
// It wraps [graph.ErrInvalid], [graph.ErrUnsupported] or the file system's error. Input is taken as hostile: sizes are
// checked before memory is allocated, nesting is limited, and external data must lie in the model's own folder.
//
// # What the file has and the graph has not
//
// Read resolves these, and Write puts back what other runtimes need:
//
//   - Names may repeat in sibling nested graphs; in the graph they are unique, so later ones get a suffix.
//   - Nodes out of order are sorted; files in order stay as they are.
//   - An initializer that is listed as an input too is an input with a default. Files of IR version 3 and older must list
//     every initializer as an input; there it says nothing, and the initializer stays one.
//   - Functions with an overload name NAME:OVERLOAD become functions of the name NAME__OVERLOAD.
//   - Model version and domain, training_info, quantization annotations, device placement, metadata and doc strings of values
//     and attributes are dropped.
//   - A graph output that is no node's output (an input, an initializer, or in a nested graph an outer value), or that is
//     listed twice, is written through an Identity, since onnxruntime refuses it otherwise. A main-graph output that is an
//     initializer keeps its name, and the initializer gets the suffix "_value".
//   - Initializers inside functions are written as Constant nodes.
//   - The scope of a node is kept in its metadata under "asdlc.scope".
package onnx
