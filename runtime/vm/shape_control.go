package vm

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/lower"
)

// control finds the shapes of an If, Loop or Scan through its bodies. What does not come out the same on every way
// through is left to the run.
func (s *shaped) control(i int) error {
	in := &s.code.instrs[i]
	var ok bool
	var err error
	switch in.op.Node.Op {
	case "If":
		ok, err = s.shapeIf(i, in)
	case "Loop":
		ok, err = s.shapeLoop(i, in)
	case "Scan":
		ok, err = s.shapeScan(i, in)
	}
	if err == nil && !ok {
		s.nested[i] = nil
		s.dynamic(i)
	}
	return err
}

// body shapes nested body b of an instruction.
func (s *shaped) body(in *instr, b int, inputs []fact) (*shaped, error) {
	c := in.bodies[b]
	captures := make([]fact, len(c.captures))
	for k, arg := range c.body.CaptureArgs {
		captures[k] = s.facts[in.args[arg]]
	}
	return c.shape(inputs, captures)
}

func (s *shaped) shapeIf(i int, in *instr) (bool, error) {
	then, otherwise := in.op.Branches()
	s.nested[i] = make([]*shaped, 2)
	branches := []int{then, otherwise}
	if cond := s.facts[in.in[0]].value; cond != nil { // only one branch is ever taken
		taken, err := in.op.Truth(cond)
		if err != nil {
			return false, err
		}
		branches = []int{otherwise}
		if taken {
			branches = []int{then}
		}
	}
	for _, b := range branches {
		var err error
		if s.nested[i][b], err = s.body(in, b, nil); err != nil {
			return false, err
		}
	}
	for k, slot := range in.out {
		if slot < 0 {
			continue
		}
		f := s.nested[i][branches[0]].output(k)
		for _, b := range branches[1:] {
			if !f.same(s.nested[i][b].output(k)) {
				return false, nil
			}
		}
		f.value = nil
		s.facts[slot] = f
		if !f.known {
			return false, nil
		}
	}
	return true, nil
}

// output is the fact of output k of the shaped code.
func (s *shaped) output(k int) fact { return s.facts[s.code.outputs[k]] }

func (s *shaped) shapeLoop(i int, in *instr) (bool, error) {
	carried := in.carried()
	b := in.bodies[0]
	if carried < 0 || len(b.inputs) != carried+2 || len(b.outputs) < carried+1 || len(in.out) > len(b.outputs)-1 {
		return false, in.op.Node.Errorf(graph.ErrInvalid, "the body has %d inputs and %d outputs, which does not fit %d carried values and %d outputs",
			len(b.inputs), len(b.outputs), carried, len(in.out))
	}
	inputs := []fact{{elem: graph.Int64, shape: []int{}, known: true}, {elem: graph.Bool, shape: []int{}, known: true}}
	for _, slot := range in.in[2:] {
		if slot < 0 {
			return false, in.op.Node.Errorf(graph.ErrInvalid, "a carried value has no initial value")
		}
		f := s.facts[slot]
		f.value = nil
		inputs = append(inputs, f)
	}
	body, err := s.body(in, 0, inputs)
	if err != nil {
		return false, err
	}
	s.nested[i] = []*shaped{body}
	if !s.fixpoint(in, body, 1, inputs[2:]) {
		return false, nil
	}
	return s.stacked(in, body, 1+carried, s.trips(in, body)), nil
}

// fixpoint reports whether the carried values keep their shapes, and gives them to the results. Body output at+k is
// carried value k.
func (s *shaped) fixpoint(in *instr, body *shaped, at int, carried []fact) bool {
	for k, f := range carried {
		if !f.same(body.output(at + k)) {
			return false
		}
		if k < len(in.out) && in.out[k] >= 0 {
			s.facts[in.out[k]] = f
		}
	}
	return true
}

// stacked gives the scan outputs their shapes: length slices each along axis 0 (a Scan corrects the axis). It fails if
// a length or slice is not known.
func (s *shaped) stacked(in *instr, body *shaped, first, length int) bool {
	skip := first - in.carried() // a Loop's body gives its condition first
	for k := first; k-skip < len(in.out); k++ {
		slot := in.out[k-skip]
		if slot < 0 {
			continue
		}
		f := body.output(k)
		if length < 0 || !f.known {
			return false
		}
		s.facts[slot] = fact{elem: f.elem, shape: append([]int{length}, f.shape...), known: true}
	}
	return true
}

// trips is the number of turns of a Loop if it is known: a constant count, and a condition that stays true. Else -1.
func (s *shaped) trips(in *instr, body *shaped) int {
	if in.in[0] < 0 || s.facts[in.in[0]].value == nil {
		return -1
	}
	if in.in[1] >= 0 {
		cond := s.facts[in.in[1]].value
		if cond == nil || cond.Raw[0] == 0 {
			return -1
		}
	}
	b := body.code
	goOn := body.output(0).value
	if b.outputs[0] != b.inputs[1] && !passes(b, b.outputs[0]) && (goOn == nil || goOn.Raw[0] == 0) {
		return -1
	}
	n, err := in.op.Trips(s.facts[in.in[0]].value)
	if err != nil || n > 1<<31 {
		return -1
	}
	return int(max(n, 0))
}

// passes reports whether slot is the body's condition, handed on by Identity.
func passes(b *code, slot int) bool {
	for i := len(b.instrs) - 1; i >= 0; i-- {
		in := &b.instrs[i]
		if len(in.out) == 1 && in.out[0] == slot && in.op.Node.Is("", "Identity") {
			return in.in[0] == b.inputs[1] || passes(b, in.in[0])
		}
	}
	return false
}

func (s *shaped) shapeScan(i int, in *instr) (bool, error) {
	if in.op.Opset < 9 { // the form with a batch is evaluated without a plan
		return false, nil
	}
	spec, err := in.op.Scan()
	if err != nil {
		return false, err
	}
	var inputs []fact
	for _, slot := range in.in[:spec.States] {
		f := s.facts[slot]
		f.value = nil
		inputs = append(inputs, f)
	}
	length := -1
	for k, slot := range in.in[spec.States:] {
		f := s.facts[slot]
		var axis int
		if axis, length, err = in.op.ScanAxis(f.shape, spec.InAxes[k], length); err != nil {
			return false, err
		}
		shape := append(append([]int{}, f.shape[:axis]...), f.shape[axis+1:]...)
		inputs = append(inputs, fact{elem: f.elem, shape: shape, known: true})
	}
	body, err := s.body(in, 0, inputs)
	if err != nil {
		return false, err
	}
	s.nested[i] = []*shaped{body}
	if !s.fixpoint(in, body, 0, inputs[:spec.States]) || !s.stacked(in, body, spec.States, length) {
		return false, nil
	}
	for k := range spec.Outs {
		if slot := outAt(in, spec.States+k); slot >= 0 {
			f := &s.facts[slot]
			axis := scanOutAxis(spec, k, len(f.shape))
			if axis < 0 || axis >= len(f.shape) {
				return false, in.op.Node.Errorf(graph.ErrInvalid, "scan output axis %d of an output of rank %d", spec.OutAxes[k], len(f.shape))
			}
			f.shape = append(append(append([]int{}, f.shape[1:axis+1]...), length), f.shape[axis+1:]...)
		}
	}
	return true, nil
}

func outAt(in *instr, k int) int {
	if k < len(in.out) {
		return in.out[k]
	}
	return -1
}

func scanOutAxis(spec lower.ScanSpec, k, rank int) int {
	axis := spec.OutAxes[k]
	if axis < 0 {
		axis += rank
	}
	return axis
}
