package graph

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure that callers tell apart with errors.Is; the command line maps them to exit codes.
var (
	// ErrInvalid marks a model that breaks a rule of ONNX or an invariant of the IR.
	ErrInvalid = errors.New("invalid model")
	// ErrUnsupported marks a model that is valid but uses something asdlc does not support.
	ErrUnsupported = errors.New("unsupported")
)

// NodeError tells what is wrong with a node. Kind is ErrInvalid or ErrUnsupported.
type NodeError struct {
	Kind  error
	Node  string // Node.String()
	Op    string
	Opset int // 0 when not known
	Scope string
	Msg   string // what is wrong, and how to mend it
}

// Errorf makes a NodeError about n.
func (n *Node) Errorf(kind error, format string, args ...any) error {
	op := n.Op
	if n.Domain != "" {
		op = n.Domain + "." + n.Op
	}
	return &NodeError{Kind: kind, Node: n.String(), Op: op, Scope: n.Scope, Msg: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (e *NodeError) Error() string {
	var sb strings.Builder
	sb.WriteString("node " + e.Node)
	if e.Opset > 0 {
		fmt.Fprintf(&sb, ", opset %d", e.Opset)
	}
	if e.Scope != "" {
		sb.WriteString(", in " + e.Scope)
	}
	sb.WriteString(": " + e.Msg)
	return sb.String()
}

// Unwrap makes errors.Is work on the kind.
func (e *NodeError) Unwrap() error { return e.Kind }
