package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolCoversRangeOnce(t *testing.T) {
	for _, size := range []int{1, 2, 3, 8} {
		p := NewPool(size)
		for _, n := range []int{0, 1, 2, 7, 100, 1001} {
			for _, grain := range []int{0, 1, 3, 50, 2000} {
				hits := make([]atomic.Int32, n)
				p.For(n, grain, func(lo, hi int) {
					if hi-lo < min(grain, n) {
						t.Errorf("size %d n %d grain %d: chunk [%d,%d)", size, n, grain, lo, hi)
					}
					for i := lo; i < hi; i++ {
						hits[i].Add(1)
					}
				})
				for i := range hits {
					if c := hits[i].Load(); c != 1 {
						t.Fatalf("size %d n %d grain %d: index %d done %d times", size, n, grain, i, c)
					}
				}
			}
		}
		p.Close()
	}
}

func TestNilPool(t *testing.T) {
	var p *Pool
	calls := 0
	p.For(10, 1, func(lo, hi int) { calls += hi - lo })
	if calls != 10 || p.Size() != 1 || p.Kernels() == nil {
		t.Fatalf("calls %d, size %d", calls, p.Size())
	}
	p.Close()
}

// TestPoolUsesWorkers: two bodies that wait for each other end only when two goroutines run them.
func TestPoolUsesWorkers(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for range 100 {
		var meet sync.WaitGroup
		meet.Add(2)
		p.For(2, 1, func(lo, hi int) {
			for range hi - lo {
				meet.Done()
			}
			meet.Wait()
		})
	}
}

func TestPoolNested(t *testing.T) {
	p := NewPool(4)
	defer p.Close()
	var sum atomic.Int64
	p.For(8, 1, func(lo, hi int) {
		for range hi - lo {
			p.For(10, 1, func(lo, hi int) { sum.Add(int64(hi - lo)) })
		}
	})
	if sum.Load() != 80 {
		t.Fatalf("sum %d, want 80", sum.Load())
	}
}

// TestPoolConcurrentCallers: loops started by many goroutines all complete.
func TestPoolConcurrentCallers(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	var callers sync.WaitGroup
	var sum atomic.Int64
	for range 8 {
		callers.Go(func() {
			for range 500 {
				p.For(20, 1, func(lo, hi int) { sum.Add(int64(hi - lo)) })
			}
		})
	}
	callers.Wait()
	if sum.Load() != 8*500*20 {
		t.Fatalf("sum %d", sum.Load())
	}
}

func TestPoolPanic(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	for bad := range 12 {
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Fatalf("recovered %v, want boom", r)
				}
			}()
			p.For(12, 1, func(lo, hi int) {
				if lo <= bad && bad < hi {
					panic("boom")
				}
			})
			t.Fatalf("index %d: no panic", bad)
		}()
		done := 0
		var mu sync.Mutex
		p.For(12, 1, func(lo, hi int) { mu.Lock(); done += hi - lo; mu.Unlock() })
		if done != 12 {
			t.Fatalf("after a panic: %d of 12 done", done)
		}
	}
}

// TestPoolWakesSleepers: loops after a pause, when the workers sleep, use them again.
func TestPoolWakesSleepers(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for range 5 {
		deadline := time.Now().Add(5 * time.Second)
		for !p.workers[0].parked.Load() {
			if time.Now().After(deadline) {
				t.Fatal("the idle worker does not sleep")
			}
			time.Sleep(time.Millisecond)
		}
		var meet sync.WaitGroup
		meet.Add(2)
		p.For(2, 1, func(int, int) { meet.Done(); meet.Wait() })
	}
}

func TestPoolCloseEndsWorkers(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 50 {
		p := NewPool(4)
		p.For(100, 1, func(int, int) {})
		p.Close()
		p.Close()
		n := 0
		p.For(4, 1, func(lo, hi int) { n += hi - lo })
		if n != 4 {
			t.Fatalf("closed pool: %d of 4 done", n)
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Fatalf("%d goroutines before, %d after", before, after)
	}
}

func TestPoolAllocatesNothing(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	var sum atomic.Int64
	body := func(lo, hi int) { sum.Add(int64(hi - lo)) }
	if allocs := testing.AllocsPerRun(100, func() { p.For(64, 1, body) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// BenchmarkPoolFor is the cost of an empty loop.
func BenchmarkPoolFor(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	body := func(int, int) {}
	for b.Loop() {
		p.For(2, 1, body)
	}
}
