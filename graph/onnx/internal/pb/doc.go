// Package pb holds the protobuf messages of the ONNX file format, generated from onnx.proto.
package pb

//go:generate protoc -I ../../../.. --go_out=../../../.. --go_opt=paths=source_relative graph/onnx/internal/pb/onnx.proto
