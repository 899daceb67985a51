package onnx

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx/internal/pb"
)

// fileError says what is wrong in a file; kind is graph.ErrInvalid or graph.ErrUnsupported.
type fileError struct {
	kind error
	msg  string
}

func (e *fileError) Error() string { return e.msg }
func (e *fileError) Unwrap() error { return e.kind }

func invalid(format string, args ...any) error {
	return &fileError{graph.ErrInvalid, fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &fileError{graph.ErrUnsupported, fmt.Sprintf(format, args...)}
}

// at puts the place before the message and keeps the kind.
func at(place string, err error) error { return fmt.Errorf("%s: %w", place, err) }

// nodeLabel names a node for messages, as graph.Node.String does.
func nodeLabel(p *pb.NodeProto) string {
	kind := p.GetOpType()
	if p.GetDomain() != "" {
		kind = p.GetDomain() + "." + kind
	}
	if p.GetName() != "" {
		return p.GetName() + " (" + kind + ")"
	}
	for _, o := range p.GetOutput() {
		if o != "" {
			return kind + " -> " + o
		}
	}
	return kind
}

func nodeError(p *pb.NodeProto, kind error, format string, args ...any) error {
	return &graph.NodeError{Kind: kind, Node: nodeLabel(p), Op: p.GetOpType(), Msg: fmt.Sprintf(format, args...)}
}
