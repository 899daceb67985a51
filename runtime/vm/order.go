package vm

import (
	"cmp"
	"slices"
)

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

// advance moves steps to right behind what they read, where memory becomes free by that: those that leave less in the arena
// than they are the last to read, and those whose results are next to nothing, which others may wait for. Without it the
// guards at the end of a solve would keep the solutions of all layers until then.
func (p *planner) advance() {
	spans := p.spans()
	kept := p.keptBuffers()
	after := make([]int, len(p.drafts)) // by step: the one that it comes behind, or itself
	for i := range p.drafts {
		d := &p.drafts[i]
		after[i] = i
		if d.row == nil || d.mode != planned {
			continue
		}
		behind, freed := -1, 0
		for k, slot := range d.args {
			b := p.slotBuf[slot]
			if def := spans[b].def; def >= 0 {
				behind = max(behind, after[def])
			}
			again := slices.ContainsFunc(d.args[:k], func(s int) bool { return p.slotBuf[s] == b })
			if buf := &p.bufs[b]; buf.kind == inArena && spans[b].last == i && !kept[b] && !again {
				freed += roundUp(buf.size)
			}
		}
		made, behind := p.leaves(i, behind, after)
		if behind >= 0 && (made <= align*len(d.outs) || freed > made) {
			after[i] = behind
		}
	}
	order := make([]int, len(p.drafts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(after[a], after[b]) })
	drafts := make([]draft, len(order))
	for k, i := range order {
		drafts[k] = p.drafts[i]
	}
	p.drafts = drafts
}

// keptBuffers are those that are in use after all steps.
func (p *planner) keptBuffers() []bool {
	kept := make([]bool, len(p.bufs))
	for _, slot := range p.outputs {
		if slot >= 0 {
			kept[p.slotBuf[slot]] = true
		}
	}
	for _, w := range p.wants {
		kept[p.slotBuf[w.slot]] = true
	}
	return kept
}

// leaves is what step i adds to the arena, in bytes. A wanted result adds nothing if the step comes behind those that read
// the memory that it is to lie in: behind is moved there, or is -1 where that is later.
func (p *planner) leaves(i, behind int, after []int) (made, place int) {
	for _, slot := range p.drafts[i].outs {
		if slot < 0 {
			continue
		}
		at := slices.IndexFunc(p.wants, func(w want) bool { return w.slot == slot && p.likeTarget(w) })
		if at < 0 {
			made += roundUp(p.bufs[p.slotBuf[slot]].size)
			continue
		}
		for k := range p.drafts {
			reads := slices.ContainsFunc(p.wants[at].victims, func(v int) bool { return p.touches(p.drafts[k].args, v) })
			switch {
			case reads && k > i:
				return made, -1
			case reads && k < i:
				behind = max(behind, after[k])
			}
		}
	}
	return made, behind
}
