package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// sequenceOps are the operators on sequences of tensors that exporters write for lists: of torch.split, chunk, unbind and stack.
var sequenceOps = []string{
	"SplitToSequence", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt", "SequenceLength", "ConcatFromSequence",
}

func isSequenceOp(n *graph.Node) bool { return n.Domain == "" && slices.Contains(sequenceOps, n.Op) }

// sequences resolves lists of tensors whose length and places are known: what reads a sequence reads its elements instead,
// and SplitToSequence becomes Split. Sequences that are left are refused, for there are no values of that type here.
func sequences(_ *pass.Ctx, m *graph.Model) error {
	has := func() []*graph.Node {
		return slices.DeleteFunc(slices.Collect(m.Graph.All()), func(n *graph.Node) bool { return !isSequenceOp(n) })
	}
	for left := has(); len(left) > 0; left = has() {
		// Types as far as they go: behind sequences that are left there are none.
		_ = op.InferGraph(m)
		resolved := false
		r := &lists{m: m, parts: map[*graph.Node][]*graph.Value{}}
		for _, n := range left {
			resolved = r.read(n) || resolved
		}
		for _, n := range slices.Backward(left) {
			if n.Graph() != nil && len(n.Out(0).Uses()) == 0 && !n.Out(0).IsOutput() {
				n.Remove()
				resolved = true
			}
		}
		if !resolved {
			n := left[0]
			return n.Errorf(graph.ErrUnsupported, "a sequence of tensors whose length or places are not known when the model is compiled; export it with fixed sizes, "+
				"or with lists that are taken apart at fixed places")
		}
	}
	return nil
}

// lists finds the elements of sequences.
type lists struct {
	m     *graph.Model
	parts map[*graph.Node][]*graph.Value // of SplitToSequence nodes
}

// read replaces a node that makes a tensor of a sequence, and reports whether it did.
func (r *lists) read(n *graph.Node) bool {
	if !slices.Contains([]string{"SequenceAt", "SequenceLength", "ConcatFromSequence"}, n.Op) {
		return false
	}
	elements, ok := r.elements(n.In(0))
	if !ok {
		return false
	}
	b := r.builder(n)
	var v *graph.Value
	switch n.Op {
	case "SequenceAt":
		i, ok := place(n.In(1), len(elements))
		if !ok {
			return false
		}
		v = elements[i]
	case "SequenceLength":
		v = b.Int(int64(len(elements)))
	default:
		axis := n.Int("axis", 0)
		if n.Int("new_axis", 0) != 0 {
			for i, e := range elements {
				elements[i] = b.Unsqueeze(e, axis)
			}
		}
		if len(elements) == 0 {
			return false
		}
		v = b.Concat(axis, elements...)
	}
	if b.Err() != nil {
		return false
	}
	if n.Out(0).IsOutput() {
		v = b.Identity(v)
	}
	pass.Replace(n.Out(0), v)
	n.Remove()
	return true
}

func (r *lists) builder(n *graph.Node) *op.Builder {
	b := op.NewBuilder(r.m, n.Graph())
	b.At, b.Scope = n, n.Scope
	return b
}

// place is a constant index into n places, from their end if negative.
func place(v *graph.Value, n int) (int, bool) {
	if v == nil || v.Const() == nil {
		return 0, false
	}
	i, ok := v.Const().Int64s()
	if !ok || len(i) != 1 {
		return 0, false
	}
	at := i[0]
	if at < 0 {
		at += int64(n)
	}
	return int(at), at >= 0 && at < int64(n)
}

// elements lists the tensors of a sequence.
func (r *lists) elements(v *graph.Value) ([]*graph.Value, bool) {
	n := v.Def()
	if n == nil || n.Domain != "" {
		return nil, false
	}
	switch n.Op {
	case "Identity":
		return r.elements(n.In(0))
	case "SequenceEmpty":
		return nil, true
	case "SequenceConstruct":
		return slices.Clone(n.Inputs()), true
	case "SequenceInsert":
		list, ok := r.elements(n.In(0))
		if !ok {
			return nil, false
		}
		at := len(list)
		if n.In(2) != nil {
			if at, ok = place(n.In(2), len(list)+1); !ok {
				return nil, false
			}
		}
		return slices.Insert(list, at, n.In(1)), true
	case "SequenceErase":
		list, ok := r.elements(n.In(0))
		at := len(list) - 1
		if n.In(1) != nil && ok {
			at, ok = place(n.In(1), len(list))
		}
		if !ok || at < 0 {
			return nil, false
		}
		return slices.Delete(list, at, at+1), true
	case "SplitToSequence":
		return r.split(n)
	}
	return nil, false
}

// split makes a Split of a SplitToSequence.
func (r *lists) split(n *graph.Node) ([]*graph.Value, bool) {
	if parts, ok := r.parts[n]; ok {
		return slices.Clone(parts), true
	}
	x := n.In(0)
	axis, rank := n.Int("axis", 0), int64(x.Type.Rank())
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank {
		return nil, false
	}
	size, known := x.Type.Dims[axis].Size()
	sizes, ok := chunks(n.In(1), size, known)
	if !ok {
		return nil, false
	}
	b := r.builder(n)
	parts := slices.Clone(b.Split(x, axis, sizes...))
	if n.In(1) == nil && n.Int("keepdims", 1) == 0 {
		for i, p := range parts {
			parts[i] = b.Squeeze(p, axis)
		}
	}
	if b.Err() != nil {
		return nil, false
	}
	r.parts[n] = parts
	return slices.Clone(parts), true
}

// chunks are the sizes of the parts of an axis: 1 each, of a constant size, the last maybe smaller, or a list of sizes.
func chunks(split *graph.Value, size int64, known bool) ([]int64, bool) {
	part := int64(1)
	if split != nil {
		if split.Const() == nil {
			return nil, false
		}
		list, ok := split.Const().Int64s()
		if !ok || len(split.Const().Shape) == 1 {
			return list, ok && len(list) > 0
		}
		part = list[0]
	}
	if !known || part < 1 || size < 1 || size/part > 1<<12 {
		return nil, false
	}
	var sizes []int64
	for ; size > part; size -= part {
		sizes = append(sizes, part)
	}
	return append(sizes, size), true
}
