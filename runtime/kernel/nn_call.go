package kernel

import (
	"sync/atomic"
	"unsafe"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// floats are the element types of the neural-network and linear-algebra kernels.
var floats = []graph.Elem{graph.Float32, graph.Float64}

// byFloat makes a call with the kernel of input 0's element type.
func byFloat(f32, f64 func(*Call) (Run, error)) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if c.In[0].Elem == graph.Float64 {
			return f64(c)
		}
		return f32(c)
	}
}

// hasOut reports whether optional output i is wanted.
func (c *Call) hasOut(i int) bool { return i < len(c.Out) && c.Out[i].Present }

// rankAtLeast checks the rank of input i.
func (c *Call) rankAtLeast(i, rank int) error {
	if len(c.In[i].Shape) < rank {
		return c.Errorf(graph.ErrInvalid, "input %d has shape %v, want rank %d or more", i, c.In[i].Shape, rank)
	}
	return nil
}

// vector checks that input i, where given, has n elements.
func (c *Call) vector(n int, inputs ...int) error {
	for _, i := range inputs {
		if c.has(i) && c.In[i].Len() != n {
			return c.Errorf(graph.ErrInvalid, "input %d has shape %v, want %d elements", i, c.In[i].Shape, n)
		}
	}
	return nil
}

// optional views tensor i of a run as elements; nil when it is missing.
func optional[T graph.Number](ts []*Tensor, i int) []T {
	if i >= len(ts) || ts[i] == nil {
		return nil
	}
	return Data[T](ts[i])
}

func sizeOf[T graph.Number]() int {
	var z T
	return int(unsafe.Sizeof(z))
}

// tasks runs numbered tasks on the workers of a pool. A task is told the slot that it runs on, which has it alone, so
// that scratch can be claimed per slot. Tasks are handed out as slots come free: what a task computes must not depend
// on its slot.
type tasks struct {
	pool  *Pool
	inner *Pool // for use inside a task
	slots int
	count int
	next  atomic.Int64
	body  func(slot, task int)
	loop  func(lo, hi int)
}

// newTasks prepares to run body for at most count tasks at a time.
func newTasks(pool *Pool, count int, body func(slot, task int)) *tasks {
	t := &tasks{pool: pool, inner: pool.alone(), slots: max(1, min(pool.Size(), count)), count: count, body: body}
	t.loop = func(lo, hi int) {
		for slot := lo; slot < hi; slot++ {
			for {
				task := int(t.next.Add(1)) - 1
				if task >= t.count {
					break
				}
				t.body(slot, task)
			}
		}
	}
	return t
}

func (t *tasks) run() {
	t.next.Store(0)
	t.pool.For(t.slots, 1, t.loop)
}

// alone is a pool of one worker that uses the kernels of p.
func (p *Pool) alone() *Pool { return NewPool(1, WithKernels(p.Kernels())) }

// slotScratch is scratch of the same size for each slot of a task set.
type slotScratch struct {
	s      *Scratch
	stride int
}

func (c *Call) slotScratch(slots, size int) slotScratch {
	stride := (size + 63) &^ 63
	return slotScratch{s: c.Scratch(stride * slots), stride: stride}
}

func (s slotScratch) at(slot int) []byte {
	return s.s.Raw[slot*s.stride : (slot+1)*s.stride]
}

// elems views the first n elements of a slot's scratch.
func elems[T amd64.Float](raw []byte, n int) []T {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), n)
}

// grainFor is the number of items of the given cost (in elements touched) that make a parallel chunk worth it.
func grainFor(cost int) int {
	const chunk = 1 << 14
	return max(1, chunk/max(1, cost))
}

// setAll writes v to all of x.
func setAll[T amd64.Float](x []T, v T) {
	for i := range x {
		x[i] = v
	}
}
