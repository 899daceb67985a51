package onnx

// Limits on the structure of a file. No sensible model comes near them.
const (
	maxMessageDepth = 400 // protobuf messages within one another
	maxGraphDepth   = 100 // graphs nested in graphs; each is three messages deep
)

func checkWire([]byte) error { return nil }
