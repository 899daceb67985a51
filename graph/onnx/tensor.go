package onnx

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// DecodeTensor reads a tensor from the bytes of a TensorProto, as the files of ONNX backend tests hold them. External data
// is refused. The tensor may be a view of data, which must not be changed afterwards.
func DecodeTensor(data []byte) (*graph.Tensor, error) {
	p := &pb.TensorProto{}
	if err := checkWire(data, p); err != nil {
		return nil, err
	}
	if err := (proto.UnmarshalOptions{RecursionLimit: maxMessageDepth}).Unmarshal(data, p); err != nil {
		return nil, invalid("not a serialized tensor, or a damaged one (%v)", err)
	}
	d := &decoder{}
	return d.tensor(p)
}

// EncodeTensor writes t as a TensorProto of that name.
func EncodeTensor(name string, t *graph.Tensor) ([]byte, error) {
	p, err := (&encoder{}).tensor(t)
	if err != nil {
		return nil, err
	}
	p.Name = &name
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode tensor %s: %w", name, err)
	}
	return data, nil
}
