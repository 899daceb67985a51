package lower

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Op is one node of the model as a Gorgonia operator.
type Op struct {
	Node  *graph.Node // the IR node, after inlining
	Opset int         // version of the node's domain
	// Args gives, for each input of Node, the index of the child that feeds it; -1 is a missing input.
	Args []int
	// Bodies are the nested graphs, in attribute order.
	Bodies []*Body

	prog   *Program
	id     uint32
	typ    hm.Type
	arity  int
	result graph.Type // of the single output; unused for tuples
}

var _ gorgonia.Op = (*Op)(nil)

// Program is the program that the operator belongs to.
func (o *Op) Program() *Program { return o.prog }

// Arity is the number of children: present inputs without repetition of outer values, then captured outer values.
func (o *Op) Arity() int { return o.arity }

// Type implements gorgonia.Op: the function type from the children's types to the result's.
func (o *Op) Type() hm.Type { return o.typ }

// InferShape gives the shape of the result; for static arguments it is computed, else the node's own is given.
func (o *Op) InferShape(dims ...gorgonia.DimSizer) (tensor.Shape, error) {
	if len(dims) != o.arity {
		return nil, o.Node.Errorf(graph.ErrInvalid, "has %d arguments, want %d", len(dims), o.arity)
	}
	if o.tuple() {
		return tensor.ScalarShape(), nil
	}
	return nodeShape(o.result), nil
}

// Do computes the result on fresh memory: a Value, or a Tuple if the node has several outputs.
func (o *Op) Do(args ...gorgonia.Value) (gorgonia.Value, error) {
	in := make([]*kernel.Tensor, len(args))
	for i, a := range args {
		v, ok := a.(Value)
		if !ok {
			return nil, o.Node.Errorf(graph.ErrInvalid, "argument %d is a %T, want a lower.Value; wrap tensors with runtime.FromDense", i, a)
		}
		in[i] = v.T
	}
	out, err := o.Eval(in)
	if err != nil {
		return nil, err
	}
	if o.tuple() {
		return Tuple(out), nil
	}
	return Value{out[0]}, nil
}

func (o *Op) tuple() bool { return len(o.Node.Outputs()) != 1 }

// ReturnsPtr implements gorgonia.Op.
func (o *Op) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (o *Op) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op: in-place execution is the plan's business.
func (o *Op) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op; it is different for each instance, so that Gorgonia merges no two nodes.
func (o *Op) WriteHash(h hash.Hash) { writeHash(h, "op", o.id) }

// Hashcode implements gorgonia.Op.
func (o *Op) Hashcode() uint32 { return hashcode(o) }

// String is the operator's name, with its domain if that is not the standard one.
func (o *Op) String() string {
	if o.Node.Domain == "" {
		return o.Node.Op
	}
	return o.Node.Domain + "." + o.Node.Op
}

// Select takes one value out of a Tuple.
type Select struct {
	Index int

	id  uint32
	typ graph.Type
}

var _ gorgonia.Op = (*Select)(nil)

// Arity implements gorgonia.Op.
func (s *Select) Arity() int { return 1 }

// Type implements gorgonia.Op.
func (s *Select) Type() hm.Type { return hm.NewFnType(tupleType, nodeType(s.typ)) }

// InferShape implements gorgonia.Op.
func (s *Select) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return nodeShape(s.typ), nil }

// Do implements gorgonia.Op.
func (s *Select) Do(args ...gorgonia.Value) (gorgonia.Value, error) {
	t, ok := args[0].(Tuple)
	if !ok || s.Index >= len(t) || t[s.Index] == nil {
		return nil, fmt.Errorf("select %d of %v: no such output", s.Index, args[0])
	}
	return Value{t[s.Index]}, nil
}

// ReturnsPtr implements gorgonia.Op.
func (s *Select) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (s *Select) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (s *Select) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (s *Select) WriteHash(h hash.Hash) { writeHash(h, "select", s.id) }

// Hashcode implements gorgonia.Op.
func (s *Select) Hashcode() uint32 { return hashcode(s) }

// String implements fmt.Stringer.
func (s *Select) String() string { return fmt.Sprintf("output %d", s.Index) }

func writeHash(h hash.Hash, kind string, id uint32) {
	var buf [16]byte
	b := append(buf[:0], kind...)
	h.Write(binary.LittleEndian.AppendUint32(b, id))
}

func hashcode(o gorgonia.Op) uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}
