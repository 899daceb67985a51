package vm

import (
	"cmp"
	"slices"
	"sort"
)

// align is the alignment of buffers in bytes: a cache line, and a vector register.
const align = 64

func roundUp(n int) int { return (n + align - 1) &^ (align - 1) }

// life is a block of memory that is needed from step def to step last. Sizes are multiples of align.
type life struct{ def, last, size, off int }

// A layout that passes the bound by more than 1/slack is tried again by the slower method, up to so many blocks.
const (
	slack      = 64
	slowBlocks = 6000
)

// layout gives every block an offset, such that blocks that live at the same time do not overlap. Size is the memory
// used in all; bound is the largest sum of sizes at one step, below which no layout can go.
func layout(lives []life, steps int) (size, bound int) {
	size, bound = bestFit(lives, steps)
	if size <= bound+bound/slack || len(lives) > slowBlocks {
		return size, bound
	}
	other := slices.Clone(lives)
	if s := largestFirst(other); s < size {
		copy(lives, other)
		size = s
	}
	return size, bound
}

// bestFit goes through the steps and takes the free block that fits best, as an allocator would.
func bestFit(lives []life, steps int) (size, bound int) {
	var a arena
	live := 0
	born, dying := make([][]int, steps+1), make([][]int, steps+1)
	for i, l := range lives {
		born[l.def] = append(born[l.def], i)
		dying[l.last] = append(dying[l.last], i)
	}
	for step := range born {
		for _, i := range born[step] {
			lives[i].off = a.take(lives[i].size)
			live += lives[i].size
		}
		bound = max(bound, live)
		for _, i := range dying[step] {
			a.give(lives[i].off, lives[i].size)
			live -= lives[i].size
		}
	}
	return a.size, bound
}

// largestFirst places blocks by falling size, each in the smallest gap between those it meets in time (Pisarchyk and
// Lee 2020, arXiv:2001.03288, greedy by size).
func largestFirst(lives []life) (size int) {
	order := make([]int, len(lives))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lives[b].size, lives[a].size) })
	var placed []int // by offset
	for _, i := range order {
		l := &lives[i]
		best, bestGap, end := -1, 0, 0
		for _, k := range placed {
			other := &lives[k]
			if other.last < l.def || other.def > l.last {
				continue
			}
			if gap := other.off - end; gap >= l.size && (best < 0 || gap < bestGap) {
				best, bestGap = end, gap
			}
			end = max(end, other.off+other.size)
		}
		if best < 0 {
			best = end
		}
		l.off = best
		size = max(size, best+l.size)
		at := sort.Search(len(placed), func(k int) bool { return lives[placed[k]].off > best })
		placed = slices.Insert(placed, at, i)
	}
	return size
}

// arena hands out offsets: the free block that fits best, else new space at the end.
type arena struct {
	free []block // by offset, never touching
	size int     // high-water mark
}

type block struct{ off, size int }

// take reserves size bytes and returns their offset.
func (a *arena) take(size int) int {
	if size == 0 {
		return 0
	}
	best := -1
	for i, b := range a.free {
		if b.size >= size && (best < 0 || b.size < a.free[best].size) {
			best = i
		}
	}
	if best < 0 {
		return a.grow(size)
	}
	b := &a.free[best]
	off := b.off
	b.off += size
	b.size -= size
	if b.size == 0 {
		a.free = slices.Delete(a.free, best, best+1)
	}
	return off
}

// grow makes room at the end, with what is free there already.
func (a *arena) grow(size int) int {
	off := a.size
	if n := len(a.free); n > 0 && a.free[n-1].off+a.free[n-1].size == a.size {
		off = a.free[n-1].off
		a.free = a.free[:n-1]
	}
	a.size = off + size
	return off
}

// give returns size bytes at off.
func (a *arena) give(off, size int) {
	if size == 0 {
		return
	}
	i := sort.Search(len(a.free), func(i int) bool { return a.free[i].off > off })
	joinsNext := i < len(a.free) && off+size == a.free[i].off
	joinsPrev := i > 0 && a.free[i-1].off+a.free[i-1].size == off
	switch {
	case joinsPrev && joinsNext:
		a.free[i-1].size += size + a.free[i].size
		a.free = slices.Delete(a.free, i, i+1)
	case joinsPrev:
		a.free[i-1].size += size
	case joinsNext:
		a.free[i].off, a.free[i].size = off, a.free[i].size+size
	default:
		a.free = slices.Insert(a.free, i, block{off, size})
	}
}
