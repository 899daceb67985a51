package vm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// plan is code made ready for concrete shapes.
type plan struct {
	machine *VM
	steps   []step
	commits []commit
	pc      int // the step being run

	outputs  []*kernel.Tensor       // nil: not wanted
	owned    map[int]*kernel.Tensor // outputs in memory of their own
	placed   []placement
	scratch  []scratchPlace
	aliases  []alias
	children []region
	size     int // bytes of arena
	peak     int // what the buffers need at the same time at most: the lower bound of size
}

// step is one kernel call.
type step struct {
	run     kernel.Run
	in, out []*kernel.Tensor
	instr   *instr // nil for copies
}

// commit copies a value into memory that outlives the plan's run.
type commit struct {
	src, dst *kernel.Tensor
	replace  bool // dst may change its shape
}

type placement struct {
	t         *kernel.Tensor
	off, size int
}

type scratchPlace struct {
	s   *kernel.Scratch
	off int
}

// alias is a tensor whose bytes are those of another.
type alias struct{ t, owner *kernel.Tensor }

// region is the part of the arena that a nested plan works in.
type region struct {
	plan *plan
	off  int
}

// rebase puts everything that the plan has in the arena into mem.
func (p *plan) rebase(mem []byte) {
	for _, x := range p.placed {
		x.t.Raw = mem[x.off : x.off+x.size : x.off+x.size]
	}
	for _, x := range p.scratch {
		x.s.Raw = mem[x.off : x.off+x.s.Size : x.off+x.s.Size]
	}
	for _, x := range p.children {
		x.plan.rebase(mem[x.off : x.off+x.plan.size : x.off+x.plan.size])
	}
}

// detach lets go of the arena.
func (p *plan) detach() {
	for _, x := range p.placed {
		x.t.Raw = nil
	}
	for _, x := range p.scratch {
		x.s.Raw = nil
	}
	for _, x := range p.aliases {
		x.t.Raw = nil
	}
	for _, x := range p.children {
		x.plan.detach()
	}
}

// furnish gives owned outputs that have none their memory.
func (p *plan) furnish() {
	for _, t := range p.owned {
		if t.Raw == nil {
			t.Raw = kernel.Aligned(byteSize(t))
		}
	}
}

// unfurnished is the memory in bytes that furnish takes.
func (p *plan) unfurnished() int {
	n := 0
	for _, t := range p.owned {
		if t.Raw == nil {
			n += byteSize(t)
		}
	}
	return n
}

// relink follows owners that have moved.
func (p *plan) relink() {
	for _, x := range p.aliases {
		n := byteSize(x.t)
		x.t.Raw = x.owner.Raw[:n:n]
	}
	for _, x := range p.children {
		x.plan.relink()
	}
}

// exec runs the steps.
func (p *plan) exec() error {
	outer := p.machine.now
	p.machine.now = p
	for i := range p.steps {
		p.pc = i
		s := &p.steps[i]
		if err := s.run(s.in, s.out); err != nil {
			return s.fail(err)
		}
	}
	for i := range p.commits {
		if err := p.commits[i].do(); err != nil {
			return err
		}
	}
	p.machine.now = outer
	return nil
}

// fail makes sure that an error names its node.
func (s *step) fail(err error) error {
	if s.instr == nil || errors.As(err, new(*graph.NodeError)) {
		return err
	}
	return fmt.Errorf("%w: %w", s.instr.op.Node.Errorf(graph.ErrInvalid, "failed at run time"), err)
}

func (c *commit) do() error {
	if c.src.Elem != c.dst.Elem || !equalInts(c.src.Shape, c.dst.Shape) {
		if !c.replace {
			return fmt.Errorf("%w: a value of a nested graph or state has type %v where %v was expected", graph.ErrInvalid, c.src, c.dst)
		}
		c.dst.Elem = c.src.Elem
		c.dst.Shape = append([]int{}, c.src.Shape...)
		c.dst.Raw = kernel.Aligned(len(c.src.Raw))
	}
	if len(c.src.Raw) > 0 && &c.src.Raw[0] != &c.dst.Raw[0] {
		copy(c.dst.Raw, c.src.Raw)
	}
	return nil
}

// draft is a step being planned.
type draft struct {
	instr     *instr // nil for copies
	nested    []*shaped
	mode      mode
	row       *kernel.Row
	run       kernel.Run
	scratches []*kernel.Scratch
	args      []int // slots that it reads
	ins, outs []int
	regions   []*plan // nested plans, which work in turn
	extra     int     // bytes of the arena before the nested plans' region
	place     func(off int, out *plan)
}

type slotPair struct{ in, out int }

// inPlace lists which result may take over which input.
func (d *draft) inPlace() []slotPair {
	var pairs []slotPair
	if d.row != nil {
		if d.row.AnyInPlace {
			for _, out := range d.outs {
				for _, in := range d.ins {
					pairs = append(pairs, slotPair{in, out})
				}
			}
		}
		for _, i := range d.row.InPlace {
			if i < len(d.ins) && d.ins[i] >= 0 {
				pairs = append(pairs, slotPair{d.ins[i], d.outs[0]})
			}
		}
		return pairs
	}
	if d.instr == nil || d.instr.op.Node.Op == "If" || d.mode == dynamic {
		return nil
	}
	skip := 0
	if d.instr.op.Node.Op == "Loop" {
		skip = 2
	}
	for k := range min(d.instr.carried(), len(d.outs)) {
		pairs = append(pairs, slotPair{d.ins[skip+k], d.outs[k]})
	}
	return pairs
}

// planner turns shaped code into a plan.
type planner struct {
	machine     *VM
	s           *shaped
	drafts      []draft
	bufs        []buffer
	slotBuf     []int   // by slot; -1: none
	members     [][]int // slots by buffer
	tensors     []*kernel.Tensor
	wants       []want
	overwritten []overwrite
	commits     []commit
	outputs     []int                  // slots
	owned       map[int]*kernel.Tensor // outputs that get memory of their own
}

// newPlan plans shaped code. Inputs and captures are the tensors that will hold these values; wants tells which outputs
// are to end up where.
func newPlan(m *VM, s *shaped, inputs, captures []*kernel.Tensor, wants func(*planner) []want) (*plan, error) {
	p := &planner{machine: m, s: s, outputs: slices.Clone(s.code.outputs), owned: map[int]*kernel.Tensor{}}
	if err := p.draft(); err != nil {
		return nil, err
	}
	p.buffers(inputs, captures)
	if wants != nil {
		p.wants = wants(p)
		p.sourceCopies()
	}
	p.postpone()
	p.advance()
	p.delay()
	p.lifetimes()
	p.settle()
	out := &plan{machine: m, commits: p.commits}
	for i := range p.drafts {
		if err := p.nest(&p.drafts[i], i); err != nil {
			return nil, err
		}
	}
	p.inPlace()
	p.reuse()
	p.allocate(out)
	p.finish(out)
	return out, nil
}

// draft makes the kernels of what is to run, in order.
func (p *planner) draft() error {
	for i := range p.s.code.instrs {
		in := &p.s.code.instrs[i]
		mode := p.s.modes[i]
		if mode == folded {
			continue
		}
		d := draft{instr: in, mode: mode, nested: p.s.nested[i], args: in.args, ins: in.in, outs: in.out}
		if mode == planned && len(in.bodies) == 0 {
			if err := p.kernel(&d); err != nil {
				return err
			}
		}
		p.drafts = append(p.drafts, d)
	}
	p.prune()
	return nil
}

// prune drops what is computed for its type and shape alone, which are known by now.
func (p *planner) prune() {
	used := make([]bool, p.s.code.slots)
	for _, slot := range p.outputs {
		if slot >= 0 {
			used[slot] = true
		}
	}
	kept := len(p.drafts)
	for i := len(p.drafts) - 1; i >= 0; i-- {
		d := &p.drafts[i]
		if !slices.ContainsFunc(d.outs, func(slot int) bool { return slot >= 0 && used[slot] }) {
			continue
		}
		if d.row != nil && d.row.Unread {
			d.ins = append([]int{-1}, d.ins[1:]...)
			d.args = slices.DeleteFunc(slices.Clone(d.ins), func(slot int) bool { return slot < 0 })
		}
		for _, slot := range d.args {
			used[slot] = true
		}
		kept--
		p.drafts[kept] = *d
	}
	p.drafts = p.drafts[kept:]
}

func (p *planner) kernel(d *draft) error {
	in := d.instr
	call := &kernel.Call{
		Node: in.op.Node, Opset: in.op.Opset, Pool: in.op.Program().Pool,
		In: p.s.specs(in.in), Out: make([]kernel.Spec, len(in.out)),
	}
	for k, slot := range in.out {
		if slot >= 0 {
			f := p.s.facts[slot]
			call.Out[k] = kernel.Spec{Present: true, Elem: f.elem, Shape: f.shape}
		}
	}
	p.machine.making = in.op.Node
	var err error
	d.row, d.run, err = in.op.Program().Registry.Make(call)
	d.scratches = call.Scratches
	p.machine.making = nil
	return err
}

// allocate places buffers, scratch and the regions of nested plans in the arena.
func (p *planner) allocate(out *plan) {
	var lives []life
	var bufs []int
	for b := range p.bufs {
		if buf := &p.bufs[b]; buf.kind == inArena && buf.size > 0 && buf.def >= 0 {
			lives = append(lives, life{def: buf.def, last: buf.last, size: roundUp(buf.size)})
			bufs = append(bufs, b)
		}
	}
	for i := range p.drafts {
		for _, size := range p.drafts[i].temporaries() {
			lives = append(lives, life{def: i, last: i, size: roundUp(size)})
		}
	}
	out.size, out.peak = layout(lives, len(p.drafts))
	for i, b := range bufs {
		p.bufs[b].off = lives[i].off
	}
	at := len(bufs)
	for i := range p.drafts {
		d := &p.drafts[i]
		n := len(d.temporaries())
		d.placeTemporaries(out, lives[at:at+n])
		at += n
	}
}

// temporaries are the sizes of the blocks that a step needs while it runs: each scratch, and one for its nested plans,
// of which one works at a time.
func (d *draft) temporaries() []int {
	var sizes []int
	for _, s := range d.scratches {
		sizes = append(sizes, s.Size)
	}
	if len(d.regions) > 0 || d.extra > 0 {
		region := 0
		for _, r := range d.regions {
			region = max(region, r.size)
		}
		sizes = append(sizes, d.extra+region)
	}
	return sizes
}

func (d *draft) placeTemporaries(out *plan, blocks []life) {
	for k, s := range d.scratches {
		out.scratch = append(out.scratch, scratchPlace{s, blocks[k].off})
	}
	if len(d.regions) == 0 && d.extra == 0 {
		return
	}
	off := blocks[len(blocks)-1].off
	if d.place != nil {
		d.place(off, out)
	}
	for _, r := range d.regions {
		out.children = append(out.children, region{r, off + d.extra})
	}
}

// finish makes the steps.
func (p *planner) finish(out *plan) {
	for slot, t := range p.tensors {
		if t == nil {
			continue
		}
		switch b := &p.bufs[p.slotBuf[slot]]; b.kind {
		case inArena:
			out.placed = append(out.placed, placement{t, b.off, p.s.facts[slot].size()})
		case external:
			if t != b.owner {
				out.aliases = append(out.aliases, alias{t, b.owner})
			}
		}
	}
	for i := range p.drafts {
		d := &p.drafts[i]
		s := step{run: d.run, instr: d.instr, in: p.tensorsOf(d.ins), out: p.tensorsOf(d.outs)}
		if d.mode == dynamic {
			s.run = dynamicRun(d.instr, p.tensorsOf(d.args), p.facts(d.outs))
		}
		out.steps = append(out.steps, s)
	}
	out.outputs, out.owned = p.tensorsOf(p.outputs), p.owned
	for i, t := range p.owned {
		out.outputs[i] = t
	}
}

func (p *planner) tensorsOf(slots []int) []*kernel.Tensor {
	ts := make([]*kernel.Tensor, len(slots))
	for i, slot := range slots {
		if slot >= 0 {
			ts[i] = p.tensors[slot]
		}
	}
	return ts
}

func (p *planner) facts(slots []int) []fact {
	fs := make([]fact, len(slots))
	for i, slot := range slots {
		if slot >= 0 {
			fs[i] = p.s.facts[slot]
		}
	}
	return fs
}
