package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// Pool runs parallel loops on persistent workers. The goroutine that calls For is one of them, so a pool of size n
// keeps n-1 goroutines. A nil *Pool is a pool of size 1. A pool serves one parallel loop at a time: loops started
// meanwhile, from inside a body or from other goroutines, run on their caller alone.
type Pool struct {
	size    int
	kernels *amd64.Kernels
	workers []worker
	running sync.WaitGroup // workers that have not exited

	busy   atomic.Bool // a parallel loop is being served
	closed atomic.Bool
	state  atomic.Uint64 // see epochShift
	loop   loop
	waits  atomic.Bool   // the caller sleeps until the last worker leaves
	left   chan struct{} // tells it so

	gemm32 freeList[gemmJob[float32]]
	gemm64 freeList[gemmJob[float64]]
	bytes  freeList[[]byte]
}

// loop is the parallel loop being served.
type loop struct {
	n, chunks int
	body      func(lo, hi int)
	next      atomic.Int64 // the first chunk that nobody has taken
	failure   atomic.Pointer[failure]
}

// failure is the value of a panic in a body.
type failure struct{ value any }

type worker struct {
	parked atomic.Bool
	wake   chan struct{}
	_      [40]byte // keeps the flags of two workers on different cache lines
}

// Pool.state counts the workers inside the loop in its low half; above it is a bit that says whether more may join;
// above that the number of the loop, so that nobody joins one loop twice or an old one.
const (
	openBit    = 1 << 32
	epochShift = 33
	joinedMask = openBit - 1
)

// spinTime is how long an idle worker looks for work before it sleeps: longer than the serial stretches between the
// kernels of a training step, and short enough not to matter when the pool is idle.
const spinTime = 50 * time.Microsecond

// chunksPerWorker bounds the pieces of a loop: enough to balance workers of unequal speed.
const chunksPerWorker = 4

// PoolOption sets a property of a new pool.
type PoolOption func(*Pool)

// WithKernels makes the pool's loops use the given kernels in place of the fastest ones of this processor.
func WithKernels(k *amd64.Kernels) PoolOption { return func(p *Pool) { p.kernels = k } }

// NewPool starts a pool of n workers, the caller of For included; n < 1 means one per usable processor (GOMAXPROCS).
// Close ends it.
func NewPool(n int, options ...PoolOption) *Pool {
	if n < 1 {
		n = runtime.GOMAXPROCS(0)
	}
	p := &Pool{size: n, kernels: amd64.Best(), workers: make([]worker, n-1), left: make(chan struct{}, 1)}
	for _, set := range options {
		set(p)
	}
	for i := range p.workers {
		w := &p.workers[i]
		w.wake = make(chan struct{}, 1)
		p.running.Go(func() { p.serve(w) })
	}
	return p
}

// Size is the number of workers; 1 for a nil pool.
func (p *Pool) Size() int {
	if p == nil {
		return 1
	}
	return p.size
}

// Kernels is the set of kernels that loops on this pool use.
func (p *Pool) Kernels() *amd64.Kernels {
	if p == nil {
		return amd64.Best()
	}
	return p.kernels
}

// Close ends the workers and returns when they have exited. No loop may be running. For still works on a closed pool,
// on its caller alone.
func (p *Pool) Close() {
	if p == nil || p.closed.Swap(true) {
		return
	}
	for i := range p.workers {
		p.workers[i].rouse()
	}
	p.running.Wait()
}

// For calls body on ranges [lo, hi) that together cover [0, n) once, each of at least grain indices (n when n is
// less), on all workers, and returns when they are done. How [0, n) is cut depends on Size: a body must not let its
// result depend on it. A panic in body ends the loop early and is raised again in the caller. For itself allocates
// nothing.
func (p *Pool) For(n, grain int, body func(lo, hi int)) {
	if n <= 0 {
		return
	}
	chunks := n / max(grain, 1)
	if chunks <= 1 || p.Size() == 1 || !p.busy.CompareAndSwap(false, true) {
		body(0, n)
		return
	}
	l := &p.loop
	l.n, l.body, l.chunks = n, body, min(chunks, chunksPerWorker*p.size)
	l.next.Store(0)
	epoch := p.state.Load()>>epochShift + 1
	p.state.Store(epoch<<epochShift | openBit)
	for i := range p.workers[:min(len(p.workers), l.chunks-1)] {
		p.workers[i].rouse()
	}
	l.run()
	p.state.And(^uint64(openBit))
	p.awaitWorkers()
	failed := l.failure.Swap(nil)
	l.body = nil
	p.busy.Store(false)
	if failed != nil {
		panic(failed.value)
	}
}

// run takes chunks until none is left. A panic of the body is kept in failure.
func (l *loop) run() {
	defer func() {
		if r := recover(); r != nil {
			l.failure.CompareAndSwap(nil, &failure{r})
			l.next.Store(int64(l.chunks))
		}
	}()
	for {
		i := int(l.next.Add(1)) - 1
		if i >= l.chunks {
			return
		}
		l.body(i*l.n/l.chunks, (i+1)*l.n/l.chunks)
	}
}

// awaitWorkers returns when no worker is inside the closed loop.
func (p *Pool) awaitWorkers() {
	var begin time.Time
	for i := 0; i%16 != 1 || time.Since(begin) < spinTime; i++ {
		if p.state.Load()&joinedMask == 0 {
			return
		}
		if i == 0 {
			begin = time.Now()
		}
		amd64.Pause(4)
	}
	p.waits.Store(true)
	if p.state.Load()&joinedMask == 0 && p.waits.CompareAndSwap(true, false) {
		return // the last worker left without noticing that the caller waits
	}
	<-p.left
}

// serve is the life of a worker.
func (p *Pool) serve(w *worker) {
	seen := uint64(0)
	for {
		s, ok := p.awaitLoop(w, seen)
		if !ok {
			return
		}
		if !p.state.CompareAndSwap(s, s+1) {
			continue
		}
		seen = s >> epochShift
		p.loop.run()
		s = p.state.Add(^uint64(0))
		if s&(openBit|joinedMask) == 0 && p.waits.CompareAndSwap(true, false) {
			p.left <- struct{}{}
		}
	}
}

// awaitLoop returns the state when it shows an open loop other than seen; false when the pool is closed. It looks for
// spinTime and then sleeps.
func (p *Pool) awaitLoop(w *worker, seen uint64) (uint64, bool) {
	for {
		for begin, i := time.Now(), 0; i%16 != 0 || time.Since(begin) < spinTime; i++ {
			if s, ready := p.look(seen); ready {
				return s, !p.closed.Load()
			}
			amd64.Pause(4)
		}
		w.parked.Store(true)
		if _, ready := p.look(seen); ready && w.parked.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

// look reports whether there is something to do: a loop to join, or the end.
func (p *Pool) look(seen uint64) (uint64, bool) {
	s := p.state.Load()
	return s, s&openBit != 0 && s>>epochShift != seen || p.closed.Load()
}

// rouse wakes the worker if it sleeps.
func (w *worker) rouse() {
	if w.parked.Load() && w.parked.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

// freeList keeps values for reuse. Its zero value is empty and ready.
type freeList[T any] struct {
	mu   sync.Mutex
	free []*T
}

// get takes a value from the list, or makes a zero one.
func (l *freeList[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		v := l.free[n-1]
		l.free = l.free[:n-1]
		return v
	}
	return new(T)
}

// put gives a value back.
func (l *freeList[T]) put(v *T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, v)
}
