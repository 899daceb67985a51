package kernel

import "github.com/asdlc/asdlc/graph"

// variadic prepares an operator of one or more inputs, broadcast, as a fold by loop; scale multiplies the result.
func variadic[T numeric](loop binaryLoop[T, T, T], finish func(dst []T, inputs int)) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if len(c.In) == 0 {
			return nil, c.Errorf(graph.ErrInvalid, "no inputs")
		}
		if err := c.needs(len(c.In)); err != nil {
			return nil, err
		}
		if err := c.sameElem(0); err != nil {
			return nil, err
		}
		f := fold[T]{walks: make([]walk, len(c.In)), srcs: make([][]T, len(c.In)), loop: loop, finish: finish}
		for i := range c.In {
			if err := c.broadcast(&f.walks[i], i); err != nil {
				return nil, err
			}
		}
		n := c.Out[0].Len()
		body := f.body
		return func(in, out []*Tensor) error {
			for i, t := range in {
				f.srcs[i] = Data[T](t)
			}
			f.dst = Data[T](out[0])
			c.Pool.For(n, grainCheap, body)
			return nil
		}, nil
	}
}

type fold[T numeric] struct {
	walks  []walk
	srcs   [][]T
	dst    []T
	loop   binaryLoop[T, T, T]
	finish func(dst []T, inputs int)
}

// body folds the inputs into the elements lo <= i < hi.
func (f *fold[T]) body(lo, hi int) {
	for k := range f.walks {
		w, src := &f.walks[k], f.srcs[k]
		for at := w.from(lo, hi); at.n > 0; at.next() {
			d, i := f.dst[at.pos:at.pos+at.n], at.off[0]
			repeated := w.inner(0) == 0
			switch {
			case k == 0 && repeated:
				fill(d, src[i])
			case k == 0:
				copy(d, src[i:i+at.n])
			case repeated:
				f.loop.vs(d, d, src[i])
			default:
				f.loop.vv(d, d, src[i:i+at.n])
			}
		}
	}
	if f.finish != nil {
		f.finish(f.dst[lo:hi], len(f.walks))
	}
}

// extremes are Min and Max; a NaN among the inputs gives NaN.
func extremes[T numeric]() []Row {
	return []Row{
		row[T]("Min", variadic(lift(func(a, b T) T { return min(a, b) }), nil)),
		row[T]("Max", variadic(lift(func(a, b T) T { return max(a, b) }), nil)),
	}
}

func sums[T floating]() []Row {
	return []Row{
		row[T]("Sum", variadic(addLoop[T](), nil)),
		row[T]("Mean", variadic(addLoop[T](), func(dst []T, inputs int) {
			for i := range dst {
				dst[i] /= T(inputs)
			}
		})),
	}
}
