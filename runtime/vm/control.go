package vm

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// nest plans the bodies of control step number at. Its result buffers are settled by now, so that the bodies can write to them.
func (p *planner) nest(d *draft, at int) error {
	if d.instr == nil || len(d.instr.bodies) == 0 || d.mode == dynamic {
		return nil
	}
	switch d.instr.op.Node.Op {
	case "If":
		return p.nestIf(d, at)
	case "Loop":
		return p.nestLoop(d)
	}
	return p.nestScan(d)
}

// captured are the parent's tensors of a body's captures.
func (p *planner) captured(d *draft, c *code) []*kernel.Tensor {
	ts := make([]*kernel.Tensor, len(c.captures))
	for k, arg := range c.body.CaptureArgs {
		ts[k] = p.tensors[d.args[arg]]
	}
	return ts
}

// wantOutputs asks that the outputs of a body from first on go to the results of d.
func (p *planner) wantOutputs(d *draft, inner *planner, first int) []want {
	c := inner.s.code
	var wants []want
	for k, slot := range d.outs {
		if slot < 0 || c.outputs[first+k] < 0 {
			continue
		}
		w := want{slot: c.outputs[first+k], target: p.tensors[slot]}
		for _, o := range p.overwritten {
			if o.buf == p.slotBuf[slot] {
				w.victims = append(w.victims, p.capturesIn(d, inner, o.victim)...)
			}
		}
		wants = append(wants, w)
	}
	return wants
}

// capturesIn lists the inner buffers of captures that lie in the parent's buffer b.
func (p *planner) capturesIn(d *draft, inner *planner, b int) []int {
	var in []int
	c := inner.s.code
	for k, arg := range c.body.CaptureArgs {
		if p.slotBuf[d.args[arg]] == b {
			in = append(in, inner.slotBuf[c.captures[k]])
		}
	}
	return in
}

// ifStep runs one of two branches.
type ifStep struct {
	op              *lower.Op
	then, otherwise *plan
}

func (p *planner) nestIf(d *draft, at int) error {
	s := &ifStep{op: d.instr.op}
	then, otherwise := s.op.Branches()
	for b, shaped := range d.nested {
		if shaped == nil {
			continue
		}
		wants := func(inner *planner) []want {
			p.lend(d, at, inner)
			return p.wantOutputs(d, inner, 0)
		}
		branch, err := newPlan(p.machine, shaped, nil, p.captured(d, shaped.code), wants)
		if err != nil {
			return err
		}
		d.regions = append(d.regions, branch)
		switch b {
		case then:
			s.then = branch
		case otherwise:
			s.otherwise = branch
		}
	}
	d.run = s.run
	return nil
}

func (s *ifStep) run(in, _ []*kernel.Tensor) error {
	cond, err := s.op.Truth(in[0])
	switch {
	case err != nil:
		return err
	case cond:
		return s.then.exec()
	}
	return s.otherwise.exec()
}

// turns is what Loop and Scan have in common: values carried from turn to turn in fixed memory, and results stacked.
type turns struct {
	op      *lower.Op
	body    *plan
	init    []*kernel.Tensor // initial values of the carried ones
	carried []*kernel.Tensor // their memory: the results of the step
	slices  []stacking       // of scan inputs
	stacks  []stacking       // of scan outputs
}

// stacking connects a value of the body with slices of a whole.
type stacking struct {
	part, whole *kernel.Tensor
	axis        int
	back        bool
}

// at is the index of the slice of turn i.
func (s *stacking) at(i int) int {
	if s.back {
		return s.whole.Shape[s.axis] - 1 - i
	}
	return i
}

// start puts the initial values in place.
func (t *turns) start() {
	for k, init := range t.init {
		copy(t.carried[k].Raw, init.Raw)
	}
}

// turn runs the body once.
func (t *turns) turn(i int) error {
	for k := range t.slices {
		s := &t.slices[k]
		lower.TakeSlice(s.whole, s.axis, s.at(i), s.part.Raw)
	}
	if err := t.body.exec(); err != nil {
		return err
	}
	for k := range t.stacks {
		s := &t.stacks[k]
		lower.PutSlice(s.whole, s.axis, s.at(i), s.part.Raw)
	}
	return nil
}

// turnsOf plans the body of a Loop or Scan. skip is the number of inputs and outputs before the carried ones; locals
// are the tensors of the body's other inputs, which get memory in front of the body's region.
func (p *planner) turnsOf(d *draft, carried, skipIn, skipOut int, before, after []*kernel.Tensor) (*turns, error) {
	t := &turns{op: d.instr.op}
	locals := append(append([]*kernel.Tensor{}, before...), after...)
	for k := range carried {
		t.init = append(t.init, p.tensors[d.ins[skipIn+k]])
		if slot := outAt(d.instr, k); slot >= 0 {
			t.carried = append(t.carried, p.tensors[slot])
			continue
		}
		f := p.s.facts[d.ins[skipIn+k]]
		own := &kernel.Tensor{Elem: f.elem, Shape: f.shape}
		t.carried = append(t.carried, own)
		locals = append(locals, own)
	}
	inputs := append(append(append([]*kernel.Tensor{}, before...), t.carried...), after...)
	shaped := d.nested[0]
	wants := func(inner *planner) []want {
		var ws []want
		for k := range carried {
			c := inner.s.code
			ws = append(ws, want{
				slot: c.outputs[skipOut+k], target: t.carried[k],
				victims: []int{inner.slotBuf[c.inputs[skipIn+k]]},
			})
		}
		return ws
	}
	var err error
	t.body, err = newPlan(p.machine, shaped, inputs, p.captured(d, shaped.code), wants)
	if err != nil {
		return nil, err
	}
	d.regions = append(d.regions, t.body)
	d.own(locals)
	return t, nil
}

// own gives tensors memory in front of the step's region.
func (d *draft) own(ts []*kernel.Tensor) {
	offs := make([]int, len(ts))
	for i, t := range ts {
		offs[i] = d.extra
		d.extra += roundUp(byteSize(t))
	}
	d.place = func(off int, out *plan) {
		for i, t := range ts {
			out.placed = append(out.placed, placement{t, off + offs[i], byteSize(t)})
		}
	}
}

// loopStep runs a Loop.
type loopStep struct {
	*turns
	counter, cond, next *kernel.Tensor // body inputs i and cond, body output cond
}

func (p *planner) nestLoop(d *draft) error {
	carried := d.instr.carried()
	s := &loopStep{
		counter: &kernel.Tensor{Elem: graph.Int64, Shape: []int{}},
		cond:    &kernel.Tensor{Elem: graph.Bool, Shape: []int{}},
	}
	var err error
	if s.turns, err = p.turnsOf(d, carried, 2, 1, []*kernel.Tensor{s.counter, s.cond}, nil); err != nil {
		return err
	}
	s.next = s.body.outputs[0]
	for k := carried; k < len(d.outs); k++ {
		if slot := d.outs[k]; slot >= 0 {
			s.stacks = append(s.stacks, stacking{part: s.body.outputs[1+k], whole: p.tensors[slot]})
		}
	}
	d.run = s.run
	return nil
}

func (s *loopStep) run(in, _ []*kernel.Tensor) error {
	trips, err := s.op.Trips(in[0])
	if err != nil {
		return err
	}
	goOn := true
	if in[1] != nil {
		if goOn, err = s.op.Truth(in[1]); err != nil {
			return err
		}
	}
	s.start()
	for i := int64(0); i < trips && goOn; i++ {
		kernel.Data[int64](s.counter)[0] = i
		s.cond.Raw[0] = 1
		if err := s.turn(int(i)); err != nil {
			return err
		}
		if goOn, err = s.op.Truth(s.next); err != nil {
			return err
		}
	}
	return nil
}

// scanStep runs a Scan.
type scanStep struct {
	*turns
	length int
}

func (p *planner) nestScan(d *draft) error {
	spec, err := d.instr.op.Scan()
	if err != nil {
		return err
	}
	s := &scanStep{}
	var parts []*kernel.Tensor
	var slices []stacking
	for k, slot := range d.ins[spec.States:] {
		whole := p.tensors[slot]
		axis, length, err := d.instr.op.ScanAxis(whole.Shape, spec.InAxes[k], -1)
		if err != nil {
			return err
		}
		s.length = length
		shape := append(append([]int{}, whole.Shape[:axis]...), whole.Shape[axis+1:]...)
		part := &kernel.Tensor{Elem: whole.Elem, Shape: shape}
		parts = append(parts, part)
		slices = append(slices, stacking{part: part, whole: whole, axis: axis, back: spec.InBack[k]})
	}
	if s.turns, err = p.turnsOf(d, spec.States, 0, 0, nil, parts); err != nil {
		return err
	}
	s.slices = slices
	for k := range spec.Outs {
		if slot := outAt(d.instr, spec.States+k); slot >= 0 {
			whole := p.tensors[slot]
			s.stacks = append(s.stacks, stacking{
				part: s.body.outputs[spec.States+k], whole: whole,
				axis: scanOutAxis(spec, k, len(whole.Shape)), back: spec.OutBack[k],
			})
		}
	}
	d.run = s.run
	return nil
}

func (s *scanStep) run(_, _ []*kernel.Tensor) error {
	s.start()
	for i := range s.length {
		if err := s.turn(i); err != nil {
			return err
		}
	}
	return nil
}
