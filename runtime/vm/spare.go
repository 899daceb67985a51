package vm

import "slices"

// lend marks the captures of a branch whose memory nobody reads after it: d is their last reader, and they are buffers of the arena
// that no other capture shares.
func (p *planner) lend(d *draft, at int, inner *planner) {
	args := inner.s.code.body.CaptureArgs
	shared := map[int]int{}
	for _, arg := range args {
		shared[p.slotBuf[d.args[arg]]]++
	}
	for k, arg := range args {
		b := p.slotBuf[d.args[arg]]
		if buf := &p.bufs[b]; (buf.kind == inArena || buf.spare) && buf.last == at && shared[b] == 1 {
			inner.bufs[inner.slotBuf[inner.s.code.captures[k]]].spare = true
		}
	}
}

// reuse puts buffers into spare captures that have been read for the last time: a branch is planned by itself, and would have memory
// of its own for all that it makes, beside what it has been given and is done with.
func (p *planner) reuse() {
	var spare, born []int
	for b := range p.bufs {
		switch buf := &p.bufs[b]; {
		case buf.spare && buf.size > 0:
			spare = append(spare, b)
		case buf.kind == inArena && buf.size > 0 && buf.def >= 0:
			born = append(born, b)
		}
	}
	slices.SortStableFunc(born, func(a, b int) int { return p.bufs[a].def - p.bufs[b].def })
	for _, b := range born {
		buf, best := &p.bufs[b], -1
		for _, s := range spare {
			fits := p.bufs[s].size >= buf.size && p.bufs[s].size <= 2*buf.size && p.bufs[s].last < buf.def
			if fits && (best < 0 || p.bufs[s].size < p.bufs[best].size) {
				best = s
			}
		}
		if best >= 0 {
			buf.kind, buf.owner = external, p.bufs[best].owner
			p.bufs[best].last = buf.last
		}
	}
}
