package vm

import (
	"slices"

	"github.com/asdlc/asdlc/runtime/kernel"
)

// buffer is memory that one or several slots share.
type buffer struct {
	kind  bufferKind
	size  int
	def   int // step that writes it first
	last  int // last step that reads it; never if after all steps
	off   int // in the arena
	owner *kernel.Tensor
	spare bool // external, and of no use to anybody else after its last reader
}

type bufferKind uint8

const (
	inArena  bufferKind = iota
	external            // the memory of owner: an input, capture, constant, state, or output of the surrounding graph
	heap                // allocated by the run
)

// want asks that a slot end up in memory that exists already.
type want struct {
	slot   int
	target *kernel.Tensor
	// victims are the external buffers that lie in target's memory: whoever reads them must do so before.
	victims []int
	// replace allows that the target change its shape (a state of the machine).
	replace bool
}

// buffers gives every slot a buffer; results share that of the input they are a view of, and such drafts vanish.
func (p *planner) buffers(inputs, captures []*kernel.Tensor) {
	c := p.s.code
	p.slotBuf = make([]int, c.slots)
	p.tensors = make([]*kernel.Tensor, c.slots)
	for i := range p.slotBuf {
		p.slotBuf[i] = -1
	}
	for i, slot := range c.inputs {
		p.external(slot, inputs[i])
	}
	for i, slot := range c.captures {
		p.external(slot, captures[i])
	}
	for slot, f := range p.s.facts {
		if f.value != nil && p.slotBuf[slot] < 0 {
			p.external(slot, f.value)
		}
	}
	kept := p.drafts[:0]
	for i := range p.drafts {
		d := &p.drafts[i]
		if p.view(d) {
			continue
		}
		for _, slot := range d.outs {
			if slot >= 0 {
				p.result(slot)
			}
		}
		kept = append(kept, *d)
	}
	p.drafts = kept
}

func (p *planner) external(slot int, t *kernel.Tensor) {
	p.slotBuf[slot] = len(p.bufs)
	p.bufs = append(p.bufs, buffer{kind: external, size: byteSize(t), def: -1, owner: t})
	p.tensors[slot] = t
}

func (p *planner) result(slot int) {
	f := p.s.facts[slot]
	b := buffer{kind: heap}
	p.tensors[slot] = &kernel.Tensor{Elem: f.elem, Shape: f.shape}
	if f.known {
		b = buffer{kind: inArena, size: f.size()}
	}
	p.slotBuf[slot] = len(p.bufs)
	p.bufs = append(p.bufs, b)
}

// view makes the result of a View kernel share the input's buffer.
func (p *planner) view(d *draft) bool {
	if d.row == nil || !d.row.View || len(d.outs) == 0 || slices.ContainsFunc(d.outs[1:], func(slot int) bool { return slot >= 0 }) {
		return false
	}
	b := p.slotBuf[d.ins[0]]
	in, out := p.s.facts[d.ins[0]], p.s.facts[d.outs[0]]
	if p.bufs[b].kind == heap || in.size() != out.size() {
		return false
	}
	p.slotBuf[d.outs[0]] = b
	p.tensors[d.outs[0]] = &kernel.Tensor{Elem: out.elem, Shape: out.shape}
	return true
}

// lifetimes finds where each buffer is first written and last read.
func (p *planner) lifetimes() {
	never := len(p.drafts)
	for i := range p.drafts {
		d := &p.drafts[i]
		for _, slot := range d.outs {
			if slot >= 0 {
				b := &p.bufs[p.slotBuf[slot]]
				b.def, b.last = i, i
			}
		}
		for _, slot := range d.args {
			p.bufs[p.slotBuf[slot]].last = i
		}
	}
	for _, slot := range p.outputs {
		if slot >= 0 {
			p.bufs[p.slotBuf[slot]].last = never
		}
	}
}

// sourceCopies saves values that are to become next states, or are outputs, but lie in memory that a next state
// overwrites: a copy at the very beginning.
func (p *planner) sourceCopies() {
	doomed := map[int]bool{} // buffers whose contents change
	for _, w := range p.wants {
		if !p.passes(w) {
			for _, v := range w.victims {
				doomed[v] = true
			}
		}
	}
	copies := map[int]int{}
	saved := func(slot int) int {
		if slot < 0 || !doomed[p.slotBuf[slot]] {
			return slot
		}
		if _, ok := copies[slot]; !ok {
			copies[slot] = p.saved(slot)
		}
		return copies[slot]
	}
	for i := range p.wants {
		if w := &p.wants[i]; !p.passes(*w) {
			w.slot = saved(w.slot)
		}
	}
	for i, slot := range p.outputs {
		p.outputs[i] = saved(slot)
	}
}

// saved is a new slot that holds a copy of slot from the beginning of the run.
func (p *planner) saved(slot int) int {
	c := len(p.slotBuf)
	facts := slices.Clip(p.s.facts)
	shaped := *p.s
	shaped.facts = append(facts, factOf(p.tensors[slot]))
	p.s = &shaped
	p.slotBuf, p.tensors = append(p.slotBuf, -1), append(p.tensors, nil)
	p.result(c)
	d := draft{run: copyRun, ins: []int{slot}, args: []int{slot}, outs: []int{c}}
	p.drafts = append([]draft{d}, p.drafts...)
	return c
}

// passes reports whether a wanted value is there already: the victim itself, unchanged.
func (p *planner) passes(w want) bool {
	return slices.Contains(w.victims, p.slotBuf[w.slot]) && p.likeTarget(w)
}

// likeTarget reports whether a wanted value has the type and shape of its target.
func (p *planner) likeTarget(w want) bool {
	t := p.tensors[w.slot]
	return t.Elem == w.target.Elem && equalInts(t.Shape, w.target.Shape)
}

// copyRun copies input 0 to output 0.
func copyRun(in, out []*kernel.Tensor) error {
	copy(out[0].Raw, in[0].Raw)
	return nil
}

// settle puts each wanted value into its target's memory where nobody reads the old contents later; else it is copied
// there after all steps.
func (p *planner) settle() {
	never := len(p.drafts)
	for _, w := range p.wants {
		if p.passes(w) {
			continue
		}
		b := &p.bufs[p.slotBuf[w.slot]]
		if b.last < never {
			b.last = never
		}
		if b.kind == inArena && p.likeTarget(w) && b.size == byteSize(w.target) && p.free(w, b.def, p.slotBuf[w.slot]) {
			p.moveTo(w, p.slotBuf[w.slot])
			continue
		}
		p.commits = append(p.commits, commit{src: p.tensors[w.slot], dst: w.target, replace: w.replace})
	}
}

// moveTo puts buffer buf into w's target, and with it the input that it may take over and that dies there, if that can be
// in the target as well, and so on: what a state goes through on its way to the next one.
func (p *planner) moveTo(w want, buf int) {
	for {
		b := &p.bufs[buf]
		b.kind, b.owner = external, w.target
		for _, v := range w.victims {
			p.overwritten = append(p.overwritten, overwrite{buf: buf, victim: v})
		}
		from := p.diesInto(w, buf)
		if from < 0 {
			return
		}
		p.overwritten = append(p.overwritten, overwrite{buf: buf, victim: from})
		buf = from
	}
}

// diesInto is a buffer of the arena that the step which makes buf may write over, made by a step that may write over w's
// victims; or -1.
func (p *planner) diesInto(w want, buf int) int {
	at := p.bufs[buf].def
	d := &p.drafts[at]
	if d.mode == dynamic {
		return -1
	}
	for _, pair := range append(d.inPlace(), d.passed()...) {
		if pair.in < 0 || pair.out < 0 || p.slotBuf[pair.out] != buf {
			continue
		}
		from := p.slotBuf[pair.in]
		a := &p.bufs[from]
		if a.kind == inArena && a.last == at && a.def >= 0 && a.size == p.bufs[buf].size && p.mayOverwrite(d, from, buf) && p.free(w, a.def, from) {
			return from
		}
	}
	return -1
}

// passed lists the results of an If that a branch takes unchanged from outside.
func (d *draft) passed() []slotPair {
	var pairs []slotPair
	if d.instr == nil || d.instr.op.Node.Op != "If" {
		return nil
	}
	for _, branch := range d.instr.bodies {
		for k, slot := range branch.outputs {
			if at := slices.Index(branch.captures, branch.unchanged(slot)); at >= 0 && k < len(d.outs) {
				pairs = append(pairs, slotPair{d.args[branch.body.CaptureArgs[at]], d.outs[k]})
			}
		}
	}
	return pairs
}

// overwrite says that buffer buf lies in the memory of victim.
type overwrite struct{ buf, victim int }

// free reports whether the step at may write buffer buf over w's victims: nobody reads them later, and the step itself only
// where it can work in place.
func (p *planner) free(w want, at, buf int) bool {
	for _, v := range w.victims {
		switch last := p.bufs[v].last; {
		case last > at:
			return false
		case last == at && !p.mayOverwrite(&p.drafts[at], v, buf):
			return false
		}
	}
	return true
}

// mayOverwrite reports whether d may write its result buffer out over buffer v, which it reads.
func (p *planner) mayOverwrite(d *draft, v, out int) bool {
	if d.mode == dynamic {
		return true // the result is computed elsewhere and copied
	}
	if d.instr != nil && d.instr.op.Node.Op == "If" && len(d.instr.bodies) > 0 {
		return true // the branches see to it
	}
	reads := 0
	for _, slot := range d.args {
		if p.slotBuf[slot] == v {
			reads++
		}
	}
	for _, pair := range d.inPlace() {
		if p.slotBuf[pair.in] == v && pair.out >= 0 && p.slotBuf[pair.out] == out {
			return reads == 1 && p.bufs[v].size == p.bufs[out].size
		}
	}
	return false
}

// inPlace lets results take over the buffers of inputs that die.
func (p *planner) inPlace() {
	for i := range p.drafts {
		d := &p.drafts[i]
		if d.mode == dynamic {
			continue
		}
		for _, pair := range d.inPlace() {
			if pair.out >= 0 {
				p.takeOver(i, d, pair)
			}
		}
	}
}

func (p *planner) takeOver(i int, d *draft, pair slotPair) {
	from, to := p.slotBuf[pair.in], p.slotBuf[pair.out]
	a, b := &p.bufs[from], &p.bufs[to]
	if from == to || a.kind != inArena || b.kind != inArena || a.last != i || a.size != b.size || b.def != i {
		return
	}
	reads := 0
	for _, slot := range d.args {
		if p.slotBuf[slot] == from {
			reads++
		}
	}
	if reads != 1 {
		return
	}
	a.last = b.last
	b.size, b.def, b.last = 0, -1, -1
	for _, slot := range p.slotsIn(to) {
		p.slotBuf[slot] = from
	}
	p.members[from] = append(p.members[from], p.members[to]...)
	p.members[to] = nil
}

// slotsIn lists the slots that share a buffer.
func (p *planner) slotsIn(b int) []int {
	if p.members == nil {
		p.members = make([][]int, len(p.bufs))
		for slot, b := range p.slotBuf {
			if b >= 0 {
				p.members[b] = append(p.members[b], slot)
			}
		}
	}
	return p.members[b]
}
