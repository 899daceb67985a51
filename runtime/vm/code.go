package vm

import (
	"gorgonia.org/gorgonia"

	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// code is a body as a flat program. A slot is a value; slot -1 is a missing one.
type code struct {
	body     *lower.Body
	slots    int
	inputs   []int
	captures []int
	inits    []initializer
	outputs  []int // -1: not wanted
	instrs   []instr
}

type initializer struct {
	slot  int
	value *kernel.Tensor
}

// instr is one operator call.
type instr struct {
	op     *lower.Op
	args   []int   // slots of the node's children in the Gorgonia graph: inputs, then captures of nested graphs
	in     []int   // slots of the IR node's inputs
	out    []int   // slots of its outputs; -1 also for an output that nobody uses
	bodies []*code // of If, Loop, Scan
}

// unchanged is the slot of which slot has the value by Identity alone.
func (c *code) unchanged(slot int) int {
	for i := len(c.instrs) - 1; i >= 0 && slot >= 0; i-- {
		if in := &c.instrs[i]; in.op.Node.Op == "Identity" && in.out[0] == slot {
			slot = in.in[0]
		}
	}
	return slot
}

// newCode flattens b, keeping only what its wanted outputs need; wanted nil is all.
func newCode(b *lower.Body, wanted []bool) *code {
	all := b.Nodes()
	c := &code{body: b, instrs: make([]instr, 0, b.Graph.Len())}
	f := flattener{code: c, first: make([]int, len(all))}
	for _, n := range all {
		f.add(n)
	}
	c.slots = f.slots
	c.inputs, c.captures = f.slotsOf(b.Inputs), f.slotsOf(b.CaptureNodes)
	for _, n := range b.Inits {
		c.inits = append(c.inits, initializer{f.first[n.ID()], n.Value().(lower.Value).T})
	}
	c.outputs = f.slotsOf(b.Outputs)
	for i := range c.outputs {
		if wanted != nil && !wanted[i] {
			c.outputs[i] = -1
		}
	}
	c.prune()
	return c
}

type flattener struct {
	code  *code
	first []int // by node ID: the slot, or for a tuple the number of its instruction
	slots int
}

func (f *flattener) slot() int {
	f.slots++
	return f.slots - 1
}

func (f *flattener) slotsOf(nodes []*gorgonia.Node) []int {
	slots := make([]int, len(nodes))
	for i, n := range nodes {
		slots[i] = f.first[n.ID()]
	}
	return slots
}

func (f *flattener) add(n *gorgonia.Node) {
	children := f.code.body.Children(n)
	switch o := n.Op().(type) {
	case nil:
		f.first[n.ID()] = f.slot()
	case *lower.Select:
		in := &f.code.instrs[f.first[children[0].ID()]]
		in.out[o.Index] = f.slot()
		f.first[n.ID()] = in.out[o.Index]
	case *lower.Op:
		in := instr{op: o, args: f.slotsOf(children), in: make([]int, len(o.Args)), out: make([]int, len(o.Node.Outputs()))}
		for i, a := range o.Args {
			in.in[i] = -1
			if a >= 0 {
				in.in[i] = in.args[a]
			}
		}
		for i := range in.out {
			in.out[i] = -1
		}
		f.first[n.ID()] = len(f.code.instrs)
		if len(in.out) == 1 {
			in.out[0] = f.slot()
			f.first[n.ID()] = in.out[0]
		}
		f.code.instrs = append(f.code.instrs, in)
	}
}

// prune drops instructions that no output needs and outputs that nobody reads, and flattens the nested bodies.
func (c *code) prune() {
	used := make([]bool, c.slots)
	for _, s := range c.outputs {
		if s >= 0 {
			used[s] = true
		}
	}
	keep := make([]bool, len(c.instrs))
	for i := len(c.instrs) - 1; i >= 0; i-- {
		in := &c.instrs[i]
		for k, s := range in.out {
			if s >= 0 && used[s] {
				keep[i] = true
			} else {
				in.out[k] = -1
			}
		}
		if keep[i] {
			for _, s := range in.args {
				used[s] = true
			}
		}
	}
	kept := c.instrs[:0]
	for i := range c.instrs {
		if keep[i] {
			c.instrs[i].flatten()
			kept = append(kept, c.instrs[i])
		}
	}
	c.instrs = kept
}

// flatten makes code of the nested bodies. An If's body computes only the outputs in use; a loop's carried values
// feed each other, so its body computes all but unused scan outputs.
func (in *instr) flatten() {
	for _, b := range in.op.Bodies {
		wanted := make([]bool, len(b.Outputs))
		for i := range wanted {
			switch k := len(wanted) - len(in.out); {
			case i < k: // the condition of a Loop
				wanted[i] = true
			case in.op.Node.Op == "If":
				wanted[i] = in.out[i] >= 0
			default:
				wanted[i] = in.out[i-k] >= 0 || i-k < in.carried()
			}
		}
		in.bodies = append(in.bodies, newCode(b, wanted))
	}
}

// carried is the number of values that a Loop or Scan carries from one turn to the next.
func (in *instr) carried() int {
	if in.op.Node.Op == "Loop" {
		return len(in.in) - 2
	}
	return len(in.in) - int(in.op.Node.Int("num_scan_inputs", 0))
}
