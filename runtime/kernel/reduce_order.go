package kernel

import (
	"cmp"
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// line is an axis of a tensor: outer*inner lines of n elements, inner apart.
type line struct{ outer, n, inner int }

func lineOf(shape []int, axis int) line {
	return line{Count(shape[:axis]), shape[axis], Count(shape[axis+1:])}
}

func (l line) count() int { return l.outer * l.inner }

// start is the offset of line i in a tensor whose lines have n elements.
func (l line) start(i, n int) int { return i/l.inner*n*l.inner + i%l.inner }

// before reports whether a comes before b in the order looked for. NaN counts as the greatest number, as in NumPy.
func before[T numeric](greatest bool) func(a, b T) bool {
	if greatest {
		return func(a, b T) bool { return a > b || a != a && b == b }
	}
	return func(a, b T) bool { return a < b || b != b && a == a }
}

// argExtreme is ArgMax or ArgMin: the place of the first (select_last_index=1: the last) extreme along an axis. A NaN
// is taken for the extreme.
func argExtreme[T numeric](greatest bool) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.needs(1); err != nil {
			return nil, err
		}
		axis, err := c.axis("axis", 0, max(len(c.In[0].Shape), 1))
		if err != nil {
			return nil, err
		}
		l := lineOf(append(slices.Clone(c.In[0].Shape), 1), axis) // a scalar is one line of one element
		if l.n == 0 && l.count() > 0 {
			return nil, c.Errorf(graph.ErrInvalid, "axis %d is empty", axis)
		}
		last := c.Node.Int("select_last_index", 0) == 1
		var dst []int64
		var src []T
		body := func(lo, hi int) {
			for i := lo; i < hi; i++ {
				dst[i] = extremePlace(src[l.start(i, l.n):], l.n, l.inner, greatest, last)
			}
		}
		return func(in, out []*Tensor) error {
			dst, src = Data[int64](out[0]), Data[T](in[0])
			c.Pool.For(l.count(), 1+grainCheap/(l.n+1), body)
			return nil
		}, nil
	}
}

func extremePlace[T numeric](x []T, n, step int, greatest, last bool) int64 {
	best, at := x[0], 0
	for k := 1; k < n; k++ {
		v := x[k*step]
		better := v > best
		if !greatest {
			better = v < best
		}
		if better && best == best || v != v && best == best || last && v == best || last && v != v {
			best, at = v, k
		}
	}
	return int64(at)
}

// accumulate is CumSum or CumProd along the axis that input 1 names.
func accumulate[T, A numeric](unit A, f func(A, A) A) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.needs(2); err != nil {
			return nil, err
		}
		if err := c.indices(1); err != nil {
			return nil, err
		}
		exclusive, reverse := c.Node.Int("exclusive", 0) == 1, c.Node.Int("reverse", 0) == 1
		shape := c.In[0].Shape
		var l line
		var dst, src []T
		body := func(lo, hi int) {
			for i := lo; i < hi; i++ {
				at, step := l.start(i, l.n), l.inner
				if reverse {
					at, step = at+(l.n-1)*l.inner, -l.inner
				}
				acc := unit
				for range l.n {
					v := A(src[at])
					if exclusive {
						dst[at] = T(acc)
						acc = f(acc, v)
					} else {
						acc = f(acc, v)
						dst[at] = T(acc)
					}
					at += step
				}
			}
		}
		return func(in, out []*Tensor) error {
			axis, err := c.wrapAxis(int64(indexAt(in[1], 0)), len(shape))
			if err != nil {
				return err
			}
			l = lineOf(shape, axis)
			dst, src = Data[T](out[0]), Data[T](in[0])
			c.Pool.For(l.count(), 1+grainCheap/(l.n+1), body)
			return nil
		}, nil
	}
}

func accumulations[T, A numeric]() []Row {
	return []Row{
		row[T]("CumSum", accumulate[T](0, plus[A])),
		row[T]("CumProd", accumulate[T](1, func(a, b A) A { return a * b })),
	}
}

// topTasks is the number of tasks of TopK, each of which has a list of places to sort.
const topTasks = 16

// topK gives the K greatest or least elements along an axis and their places; equal ones by rising place. K is the
// size of the outputs.
func topK[T numeric](c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	shape := c.In[0].Shape
	axis, err := c.axis("axis", -1, len(shape))
	if err != nil {
		return nil, err
	}
	t := &top[T]{line: lineOf(shape, axis), first: before[T](c.Node.Int("largest", 1) == 1)}
	for i := range c.Out {
		if c.Out[i].Present {
			t.k = c.Out[i].Shape[axis]
		}
	}
	if t.k > t.n {
		return nil, c.Errorf(graph.ErrInvalid, "K is %d, axis %d has %d elements", t.k, axis, t.n)
	}
	t.tasks = min(topTasks, t.count())
	scratch := c.Scratch(8 * t.tasks * t.n)
	body := t.body
	return func(in, out []*Tensor) error {
		t.src, t.places = Data[T](in[0]), ScratchOf[int64](scratch)
		t.values, t.index = nil, nil
		if out[0] != nil {
			t.values = Data[T](out[0])
		}
		if len(out) > 1 && out[1] != nil {
			t.index = Data[int64](out[1])
		}
		if t.k > 0 {
			c.Pool.For(t.tasks, 1, body)
		}
		return nil
	}, nil
}

type top[T numeric] struct {
	line
	k, tasks int
	first    func(a, b T) bool
	src      []T
	places   []int64
	values   []T
	index    []int64
}

func (t *top[T]) body(lo, hi int) {
	for task := lo; task < hi; task++ {
		places := t.places[task*t.n:][:t.n]
		for i := t.count() * task / t.tasks; i < t.count()*(task+1)/t.tasks; i++ {
			t.sort(places, t.start(i, t.n))
			to := t.start(i, t.k)
			for k, p := range places[:t.k] {
				if t.values != nil {
					t.values[to+k*t.inner] = t.src[t.start(i, t.n)+int(p)*t.inner]
				}
				if t.index != nil {
					t.index[to+k*t.inner] = p
				}
			}
		}
	}
}

// sort puts the places of the first k elements of the line at offset base first. Few of them are kept in order while
// the line is read once; else all places are sorted.
func (t *top[T]) sort(places []int64, base int) {
	if t.k > 32 {
		for p := range places {
			places[p] = int64(p)
		}
		slices.SortFunc(places, func(a, b int64) int {
			x, y := t.src[base+int(a)*t.inner], t.src[base+int(b)*t.inner]
			switch {
			case t.first(x, y):
				return -1
			case t.first(y, x):
				return 1
			}
			return cmp.Compare(a, b)
		})
		return
	}
	kept := 0
	for p := range t.n {
		v := t.src[base+p*t.inner]
		at := kept
		for at > 0 && t.first(v, t.src[base+int(places[at-1])*t.inner]) {
			at--
		}
		if at == t.k {
			continue
		}
		kept = min(kept+1, t.k)
		copy(places[at+1:kept], places[at:kept-1])
		places[at] = int64(p)
	}
}

func orderings[T numeric]() []Row {
	return []Row{
		row[T]("ArgMax", argExtreme[T](true)),
		row[T]("ArgMin", argExtreme[T](false)),
		row[T]("TopK", topK[T]),
	}
}

// orderTable are the operators that look for or order elements along an axis.
func orderTable() []Row {
	return slices.Concat(
		orderings[float32](), orderings[float64](),
		orderings[int8](), orderings[int16](), orderings[int32](), orderings[int64](),
		orderings[uint8](), orderings[uint16](), orderings[uint32](), orderings[uint64](),
		accumulations[float32, float64](), accumulations[float64, float64](),
		accumulations[int32, int32](), accumulations[int64, int64](),
		accumulations[uint32, uint32](), accumulations[uint64, uint64](),
	)
}
