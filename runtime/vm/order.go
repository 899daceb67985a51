package vm

import "slices"

// maxDelayed bounds the steps that are moved, as each move walks the plan.
const maxDelayed = 200

// delay moves the step that makes a next state behind the last reader of the old one, where nobody in between needs
// the new: then it can be written over the old.
func (p *planner) delay() {
	spans := p.spans()
	moved := 0
	for _, w := range p.wants {
		if p.passes(w) || moved >= maxDelayed {
			continue
		}
		from, to := spans[p.slotBuf[w.slot]].def, -1
		for _, v := range w.victims {
			to = max(to, spans[v].last)
		}
		if from < 0 || to <= from || !p.mayDelay(w, from, to) {
			continue
		}
		d := p.drafts[from]
		copy(p.drafts[from:to], p.drafts[from+1:to+1])
		p.drafts[to] = d
		moved++
		spans = p.spans()
	}
}

// span is where a buffer is written and last read by a step; -1: nowhere.
type span struct{ def, last int }

func (p *planner) spans() []span {
	spans := make([]span, len(p.bufs))
	for i := range spans {
		spans[i] = span{-1, -1}
	}
	for i := range p.drafts {
		for _, slot := range p.drafts[i].outs {
			if slot >= 0 {
				spans[p.slotBuf[slot]].def = i
			}
		}
		for _, slot := range p.drafts[i].args {
			spans[p.slotBuf[slot]].last = i
		}
	}
	return spans
}

// mayDelay reports whether step from can come after step to: none in between reads its results, and it reads no
// memory that another next state is to overwrite.
func (p *planner) mayDelay(w want, from, to int) bool {
	d := &p.drafts[from]
	for i := from + 1; i <= to; i++ {
		for _, slot := range d.outs {
			if slot >= 0 && p.touches(p.drafts[i].args, p.slotBuf[slot]) {
				return false
			}
		}
	}
	for _, other := range p.wants {
		if other.slot == w.slot {
			continue
		}
		for _, v := range other.victims {
			if p.touches(d.args, v) {
				return false
			}
		}
	}
	return true
}

func (p *planner) touches(slots []int, buf int) bool {
	return slices.ContainsFunc(slots, func(slot int) bool { return slot >= 0 && p.slotBuf[slot] == buf })
}
