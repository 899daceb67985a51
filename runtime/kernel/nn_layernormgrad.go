package kernel

import (
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// layerNormGrad is asdl.LayerNormGrad(X[R..., W...], G[R..., W...], scale[W...], mean[R..., 1...], inv[R..., 1...]) ->
// (GX[R..., W...], along[W...], sum[W...]), where attribute axis is the first axis of W: the gradients of LayerNormalization in its
// input, scale and bias, for the gradient G of its result, with the mean and 1/sqrt(var + epsilon) of each row as it gives them. With
// xhat = inv (X - mean), t = G scale, and means over rows,
//
//	GX = inv (t - mean(t) - xhat mean(t xhat))
//	along = sum over rows of G xhat   sum = sum over rows of G
//
// Each row is taken through the cache once.
type layerNormGrad[T amd64.Float] struct {
	rows, width    int
	moments        *momentLoops[T]
	mul, add       func(dst, x, y []T)
	tasks          *tasks
	memory         slotScratch // of a task: t, and a row of a sum
	partial        *Scratch    // [tasks][along, sum], sums over shortSum rows
	x, g, scale    []T
	mean, inv      []T
	dx, along, sum []T
	joined         func(lo, hi int)
	pool           *Pool
}

func makeLayerNormGrad[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(5); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	axis, err := c.axis("axis", -1, len(c.In[0].Shape))
	if err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	l := &layerNormGrad[T]{rows: Count(x[:axis]), width: Count(x[axis:]), moments: momentLoopsOf[T](c.Pool), pool: c.Pool}
	if err := c.vector(l.rows*l.width, 1); err != nil {
		return nil, err
	}
	if err := c.vector(l.width, 2); err != nil {
		return nil, err
	}
	if err := c.vector(l.rows, 3, 4); err != nil {
		return nil, err
	}
	loops := pointLoops[T](c.Pool.Kernels())
	l.mul, l.add, l.joined = loops["Mul"].binary.vv, loops["Add"].binary.vv, l.join
	l.tasks = newTasks(c.Pool, ceilDiv(l.rows, shortSum), l.task)
	l.memory = c.slotScratch(l.tasks.slots, sizeOf[T]()*2*l.width)
	if c.hasOut(1) || c.hasOut(2) {
		l.partial = c.Scratch(sizeOf[T]() * 2 * l.width * l.tasks.count)
	}
	return l.run, nil
}

func (l *layerNormGrad[T]) run(in, out []*Tensor) error {
	l.x, l.g, l.scale, l.mean, l.inv = Data[T](in[0]), Data[T](in[1]), Data[T](in[2]), Data[T](in[3]), Data[T](in[4])
	l.dx, l.along, l.sum = optional[T](out, 0), optional[T](out, 1), optional[T](out, 2)
	if l.width > 0 {
		l.tasks.run()
	}
	if l.partial != nil {
		l.pool.For(l.width, grainFor(2*l.tasks.count), l.joined)
	}
	return nil
}

// task goes through shortSum rows.
func (l *layerNormGrad[T]) task(slot, task int) {
	w := l.width
	memory := elems[T](l.memory.at(slot), 2*w)
	t, h := memory[:w], memory[w:]
	var along, sum []T
	if l.partial != nil {
		both := ScratchOf[T](l.partial)[2*w*task:][:2*w]
		clear(both)
		along, sum = both[:w], both[w:]
	}
	for r := task * shortSum; r < min((task+1)*shortSum, l.rows); r++ {
		x, g, mean, inv := l.x[r*w:(r+1)*w], l.g[r*w:(r+1)*w], l.mean[r], l.inv[r]
		if along != nil {
			l.moments.center(h, x, mean, inv, 0)
			l.mul(h, h, g)
			l.add(along, along, h)
			l.add(sum, sum, g)
		}
		if l.dx == nil {
			continue
		}
		l.mul(t, g, l.scale)
		shift := l.moments.sum(t) / float64(w) * float64(inv)
		by := l.moments.along(t, x, float64(mean)) / float64(w) * float64(inv) * float64(inv) * float64(inv)
		l.moments.centerGrad(l.dx[r*w:(r+1)*w], t, x, mean, inv, T(by), T(shift))
	}
}

// join adds up the sums of the tasks, in their order, for columns lo <= j < hi.
func (l *layerNormGrad[T]) join(lo, hi int) {
	partial := ScratchOf[T](l.partial)
	for k, dst := range [][]T{l.along, l.sum} {
		if dst == nil {
			continue
		}
		for j := lo; j < hi; j++ {
			total := 0.0
			for at := k*l.width + j; at < len(partial); at += 2 * l.width {
				total += float64(partial[at])
			}
			dst[j] = T(total)
		}
	}
}
