package lower

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// evalBatchedScan evaluates the Scan of opset 8, Scan(sequence_lens?, states..., scan inputs...): states are [B, ...], scan
// inputs and outputs [B, length, ...], and each sequence of the batch is scanned by itself, as far as its entry of
// sequence_lens [B] says. Scan outputs are zero behind that.
func (o *Op) evalBatchedScan(args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	s := ScanSpec{Ins: int(o.Node.Int("num_scan_inputs", 0))}
	s.States = len(o.Args) - 1 - s.Ins
	s.Outs = len(o.Bodies[0].Outputs) - s.States
	if s.Ins < 1 || s.States < 0 || s.Outs < 0 || len(o.Bodies[0].Inputs) != s.States+s.Ins {
		return nil, o.Node.Errorf(graph.ErrInvalid, "num_scan_inputs is %d, with %d inputs and a body of %d inputs and %d outputs",
			s.Ins, len(o.Args), len(o.Bodies[0].Inputs), len(o.Bodies[0].Outputs))
	}
	var err error
	if s.InAxes, s.InBack, err = o.scanLists("", "directions", s.Ins); err != nil {
		return nil, err
	}
	s.OutAxes, s.OutBack = make([]int, s.Outs), make([]bool, s.Outs)
	batch, length, err := o.batchOf(s, args)
	if err != nil {
		return nil, err
	}
	results := make([]collector, s.States+s.Outs)
	for b := range batch {
		steps, err := o.sequenceLen(o.arg(args, 0), b, length)
		if err != nil {
			return nil, err
		}
		inputs := make([]*kernel.Tensor, s.States+s.Ins)
		for i := range inputs {
			inputs[i] = slice(o.arg(args, 1+i), 0, b, false)
			if i >= s.States {
				inputs[i] = resized(inputs[i], steps)
			}
		}
		out, err := o.scan(s, inputs, args)
		if err != nil {
			return nil, err
		}
		for i, t := range out {
			if i >= s.States {
				t = resized(t, length)
			}
			if err := results[i].add(o, t); err != nil {
				return nil, err
			}
		}
	}
	out := make([]*kernel.Tensor, len(o.Node.Outputs()))
	for i := range out {
		t := o.Bodies[0].Graph.Outputs()[i].Type
		if i >= s.States && t.Ranked {
			t.Dims = append([]graph.Dim{graph.Known(int64(length))}, t.Dims...)
		}
		if out[i], err = results[i].join(t, 0, false); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// batchOf gives the sizes of the batch and of the sequences, the same for all inputs.
func (o *Op) batchOf(s ScanSpec, args []*kernel.Tensor) (batch, length int, err error) {
	batch, length = -1, -1
	for i := range s.States + s.Ins {
		t := o.arg(args, 1+i)
		want := 1
		if i >= s.States {
			want = 2
		}
		if t == nil || len(t.Shape) < want {
			return 0, 0, o.Node.Errorf(graph.ErrInvalid, "input %d is %v, want at least %d dimensions", 1+i, t, want)
		}
		if batch < 0 {
			batch = t.Shape[0]
		}
		if want == 2 && length < 0 {
			length = t.Shape[1]
		}
		if t.Shape[0] != batch || want == 2 && t.Shape[1] != length {
			return 0, 0, o.Node.Errorf(graph.ErrInvalid, "input %d is %v, want a batch of %d and sequences of %d", 1+i, t, batch, length)
		}
	}
	return batch, length, nil
}

// sequenceLen is the number of steps of sequence b.
func (o *Op) sequenceLen(lens *kernel.Tensor, b, length int) (int, error) {
	if lens == nil {
		return length, nil
	}
	if lens.Elem != graph.Int64 || lens.Len() <= b {
		return 0, o.Node.Errorf(graph.ErrInvalid, "sequence_lens is %v, want an int64 for each sequence", lens)
	}
	n := kernel.Data[int64](lens)[b]
	if n < 0 || n > int64(length) {
		return 0, o.Node.Errorf(graph.ErrInvalid, "sequence_lens holds %d, want 0 to %d", n, length)
	}
	return int(n), nil
}

// resized is t with the first n entries of axis 0; zeros where it has fewer.
func resized(t *kernel.Tensor, n int) *kernel.Tensor {
	if t.Shape[0] == n {
		return t
	}
	r := kernel.New(t.Elem, append([]int{n}, t.Shape[1:]...)...)
	copy(r.Raw, t.Raw)
	return r
}
