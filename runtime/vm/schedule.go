package vm

import (
	"cmp"
	"slices"
)

// worthMoving is the memory in bytes that it pays to move a step for.
const worthMoving = 64 << 10

// tiny reports whether values that take so much of the arena are next to nothing each.
func tiny(bytes int, slots []int) bool { return bytes <= align*len(slots) }

// uses tells who writes and who reads each buffer, by number of step, in order.
type uses struct {
	maker   []int // -1: none
	readers [][]int
	kept    []bool // in use after all steps
}

func (p *planner) uses() uses {
	u := uses{maker: make([]int, len(p.bufs)), readers: make([][]int, len(p.bufs)), kept: make([]bool, len(p.bufs))}
	for b := range u.maker {
		u.maker[b] = -1
	}
	for i := range p.drafts {
		for _, slot := range p.drafts[i].outs {
			if slot >= 0 {
				u.maker[p.slotBuf[slot]] = i
			}
		}
		for _, slot := range p.drafts[i].args {
			if b := p.slotBuf[slot]; len(u.readers[b]) == 0 || u.readers[b][len(u.readers[b])-1] != i {
				u.readers[b] = append(u.readers[b], i)
			}
		}
	}
	for _, slot := range p.outputs {
		if slot >= 0 {
			u.kept[p.slotBuf[slot]] = true
		}
	}
	for _, w := range p.wants {
		u.kept[p.slotBuf[w.slot]] = true
	}
	return u
}

// lateness is how far each step can be postponed.
type lateness struct {
	*planner
	uses
	limits map[int]int // the memory of a state, and the step that makes the next one, which may overwrite it
	before []int       // by step: the one that it comes before, or itself
}

// postpone moves steps to right before the first that reads their results, where their results are more than what they read
// and would have to be kept for them. Without it what waits for a guard over all gradients, as the statistics of all layers
// do, would be there together.
func (p *planner) postpone() {
	l := lateness{p, p.uses(), map[int]int{}, make([]int, len(p.drafts))}
	for _, w := range p.wants {
		for _, v := range w.victims {
			if maker := l.maker[p.slotBuf[w.slot]]; maker >= 0 {
				l.limits[v] = maker
			}
		}
	}
	for i := len(p.drafts) - 1; i >= 0; i-- {
		l.before[i] = i
		to, made := l.latest(i)
		if to <= i {
			continue
		}
		l.before[i] = to
		if held := l.held(i, to, true); made-held < worthMoving && !(tiny(made, p.drafts[i].outs) && tiny(held, p.drafts[i].args)) {
			l.before[i] = i
		}
	}
	p.reorder(l.before)
}

// latest is the step before which step i has to come, and the memory in bytes that its results take; 0 for what cannot move,
// or works on much more memory than it leaves, which may not be there later.
func (l *lateness) latest(i int) (to, made int) {
	d := &l.drafts[i]
	if !d.movable() {
		return 0, 0
	}
	to = len(l.drafts)
	for _, slot := range d.outs {
		if slot < 0 {
			continue
		}
		b := l.slotBuf[slot]
		if l.kept[b] {
			return 0, 0
		}
		for _, r := range l.readers[b] {
			to = min(to, l.before[r])
		}
	}
	made = l.made(i)
	for _, b := range l.buffersOf(d.args) {
		if limit, ok := l.limits[b]; ok && limit > i {
			to = min(to, l.before[limit])
		}
	}
	if to == len(l.drafts) || d.working() > max(made, worthMoving) {
		return 0, 0
	}
	return to, made
}

// held is the memory of what step i reads that is kept for it alone until step to, in bytes. What is made by a step that
// would better come late as well, if i did, is none: with together it is asked for.
func (l *lateness) held(i, to int, together bool) int {
	held := 0
	for _, b := range l.buffersOf(l.drafts[i].args) {
		later := func(r int) bool { return r > i && l.before[r] >= to }
		if l.bufs[b].kind != inArena || l.kept[b] || slices.ContainsFunc(l.readers[b], later) {
			continue
		}
		if together && l.follows(l.maker[b], to, i) {
			continue
		}
		held += roundUp(l.bufs[b].size)
	}
	return held
}

// follows reports whether step m will be postponed up to step to, if step i, the latest that is decided on, is.
func (l *lateness) follows(m, to, i int) bool {
	if m < 0 || !l.drafts[m].movable() || !l.readLate(m, to, i, 0) {
		return false
	}
	made := l.made(m)
	for _, b := range l.buffersOf(l.drafts[m].args) {
		if limit, ok := l.limits[b]; ok && limit > m && l.before[limit] < to {
			return false
		}
	}
	return l.drafts[m].working() <= max(made, worthMoving) && made-l.held(m, to, false) >= worthMoving
}

// readLate reports whether what step m makes is read from step to on alone, or before that only by steps that will be
// postponed as well: their results are read late in turn, and are next to nothing or enough to move them for. Those up to
// step i are not decided on yet.
func (l *lateness) readLate(m, to, i, depth int) bool {
	for _, slot := range l.drafts[m].outs {
		if slot < 0 {
			continue
		}
		b := l.slotBuf[slot]
		if l.kept[b] {
			return false
		}
		for _, r := range l.readers[b] {
			if r >= i && l.before[r] >= to {
				continue
			}
			if r >= i || depth == maxChain || !l.drafts[r].movable() || !l.readLate(r, to, i, depth+1) {
				return false
			}
			if made := l.made(r); !tiny(made, l.drafts[r].outs) && made-l.held(r, to, false)+roundUp(l.bufs[b].size) < worthMoving {
				return false
			}
		}
	}
	return true
}

// maxChain bounds the steps from a matrix to the scalar that a guard waits for.
const maxChain = 8

// made is the memory in bytes that a step's results take.
func (l *lateness) made(i int) int {
	made := 0
	for _, slot := range l.drafts[i].outs {
		if slot >= 0 {
			made += roundUp(l.bufs[l.slotBuf[slot]].size)
		}
	}
	return made
}

// advance moves steps to right behind what they read, where that frees memory: those that leave less in the arena than they
// are the last to read, and those whose results are next to nothing, which others may wait for. Without it the guards at the
// end of a solve would keep the solutions of all layers until then.
func (p *planner) advance() {
	u := p.uses()
	after := make([]int, len(p.drafts)) // by step: the one that it comes behind, or itself
	for i := range p.drafts {
		after[i] = i
		d := &p.drafts[i]
		if !d.movable() {
			continue
		}
		behind, freed := -1, 0
		for _, b := range p.buffersOf(d.args) {
			if maker := u.maker[b]; maker >= 0 {
				behind = max(behind, after[maker])
			}
			if readers := u.readers[b]; p.bufs[b].kind == inArena && !u.kept[b] && readers[len(readers)-1] == i {
				freed += roundUp(p.bufs[b].size)
			}
		}
		made, behind := p.leaves(i, behind, after, u)
		if behind >= 0 && (tiny(made, p.drafts[i].outs) || freed > made) {
			after[i] = behind
		}
	}
	p.reorder(after)
}

// leaves is what step i adds to the arena, in bytes. A wanted result adds nothing if the step comes behind those that read
// the memory that it is to lie in: behind is moved there, or is -1 where that is later.
func (p *planner) leaves(i, behind int, after []int, u uses) (made, place int) {
	for _, slot := range p.drafts[i].outs {
		if slot < 0 {
			continue
		}
		at := slices.IndexFunc(p.wants, func(w want) bool { return w.slot == slot && p.likeTarget(w) })
		if at < 0 {
			made += roundUp(p.bufs[p.slotBuf[slot]].size)
			continue
		}
		for _, v := range p.wants[at].victims {
			for _, r := range u.readers[v] {
				switch {
				case r > i:
					return made, -1
				case r < i:
					behind = max(behind, after[r])
				}
			}
		}
	}
	return made, behind
}

// working is the memory in bytes that a step works on beside what it reads and writes.
func (d *draft) working() int {
	n := 0
	for _, s := range d.scratches {
		n += s.Size
	}
	return n
}

// movable reports whether a step is a call of a kernel of known shapes.
func (d *draft) movable() bool { return d.row != nil && d.mode == planned }

// buffersOf lists the buffers of slots, each once.
func (p *planner) buffersOf(slots []int) []int {
	var bufs []int
	for _, slot := range slots {
		if b := p.slotBuf[slot]; !slices.Contains(bufs, b) {
			bufs = append(bufs, b)
		}
	}
	return bufs
}

// reorder puts the steps beside those that places says; steps in the same place keep their order.
func (p *planner) reorder(places []int) {
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(places[a], places[b]) })
	drafts := make([]draft, len(order))
	for k, i := range order {
		drafts[k] = p.drafts[i]
	}
	p.drafts = drafts
}
