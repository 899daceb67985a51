package vm

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sort"
)

// align is the alignment of buffers in bytes: a cache line, and a vector register.
const align = 64

func roundUp(n int) int { return (n + align - 1) &^ (align - 1) }

// life is a block of memory that is needed from step def to step last. Sizes are multiples of align.
type life struct{ def, last, size, off int }

// A layout that passes the bound by more than 1/slack is searched for a better one. The search tries so many orders
// and looks at so many pairs of blocks at most.
const (
	slack       = 64
	searchTries = 80
	searchPairs = 40 << 20
)

// layout gives every block an offset, such that blocks that live at the same time do not overlap. Size is the memory
// used in all; bound is the largest sum of sizes at one step, below which no layout can go.
func layout(lives []life, steps int) (size, bound int) {
	size, bound = bestFit(lives, steps)
	good := bound + bound/slack
	tries := min(searchTries, searchPairs/(1+len(lives)*len(lives)))
	if size <= good || tries == 0 {
		return size, bound
	}
	other := slices.Clone(lives)
	order := largestFirst(lives)
	rng := rand.New(rand.NewPCG(uint64(len(lives)), uint64(bound)))
	for range tries {
		top := place(other, order)
		if s := other[top].off + other[top].size; s < size {
			copy(lives, other)
			size = s
		}
		if size <= good {
			break
		}
		// What ended on top goes earlier.
		at := slices.Index(order, top)
		order = slices.Insert(slices.Delete(order, at, at+1), rng.IntN(at+1), top)
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

// largestFirst orders blocks by falling size.
func largestFirst(lives []life) []int {
	order := make([]int, len(lives))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lives[b].size, lives[a].size) })
	return order
}

// place puts blocks, in the given order, each at the lowest offset that is free while it lives (greedy by size of
// Pisarchyk and Lee 2020, arXiv:2001.03288, if the largest come first). It returns the block that reaches highest.
func place(lives []life, order []int) (top int) {
	placed := make([]int, 0, len(order)) // by offset
	size := -1
	for _, i := range order {
		l := &lives[i]
		end := 0
		for _, k := range placed {
			other := &lives[k]
			if other.last < l.def || other.def > l.last {
				continue
			}
			if other.off-end >= l.size {
				break
			}
			end = max(end, other.off+other.size)
		}
		l.off = end
		if end+l.size > size {
			size, top = end+l.size, i
		}
		at := sort.Search(len(placed), func(k int) bool { return lives[placed[k]].off > end })
		placed = slices.Insert(placed, at, i)
	}
	return top
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
