package vm

import "sort"

// align is the alignment of buffers in bytes: a cache line, and a vector register.
const align = 64

func roundUp(n int) int { return (n + align - 1) &^ (align - 1) }

// arena hands out offsets: the free block that fits best, else new space at the end.
type arena struct {
	free []block // by offset, never touching
	size int     // high-water mark
}

type block struct{ off, size int }

// take reserves size bytes and returns their offset.
func (a *arena) take(size int) int {
	size = roundUp(size)
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
		a.free = append(a.free[:best], a.free[best+1:]...)
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
	size = roundUp(size)
	if size == 0 {
		return
	}
	i := sort.Search(len(a.free), func(i int) bool { return a.free[i].off > off })
	joinsNext := i < len(a.free) && off+size == a.free[i].off
	joinsPrev := i > 0 && a.free[i-1].off+a.free[i-1].size == off
	switch {
	case joinsPrev && joinsNext:
		a.free[i-1].size += size + a.free[i].size
		a.free = append(a.free[:i], a.free[i+1:]...)
	case joinsPrev:
		a.free[i-1].size += size
	case joinsNext:
		a.free[i].off, a.free[i].size = off, a.free[i].size+size
	default:
		a.free = append(a.free, block{})
		copy(a.free[i+1:], a.free[i:])
		a.free[i] = block{off, size}
	}
}
