package vm

import (
	"unsafe"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// dynamicRun makes a step that infers shapes from the tensors it meets and allocates its results. A result of known
// shape is copied to its place.
func dynamicRun(in *instr, args []*kernel.Tensor, known []fact) kernel.Run {
	return func(_, out []*kernel.Tensor) error {
		results, err := in.op.Eval(args)
		if err != nil {
			return err
		}
		for k, t := range out {
			if t == nil {
				continue
			}
			r := results[k]
			if known[k].known {
				if !equalInts(r.Shape, t.Shape) || r.Elem != t.Elem {
					return in.op.Node.Errorf(graph.ErrInvalid, "output %d is %v, declared as %v", k, r, t)
				}
				copy(t.Raw, r.Raw)
				continue
			}
			if shared(r, args) {
				r = lower.Copy(r)
			}
			*t = *r
		}
		return nil
	}
}

// shared reports whether r's memory is that of an argument, which may be reused after the step.
func shared(r *kernel.Tensor, args []*kernel.Tensor) bool {
	if len(r.Raw) == 0 {
		return false
	}
	for _, a := range args {
		if unsafe.SliceData(a.Raw) == unsafe.SliceData(r.Raw) {
			return true
		}
	}
	return false
}
