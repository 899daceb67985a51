package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// rowNorm normalises rows of X: (x - mean) / sqrt(var + epsilon), or x / sqrt(mean of squares + epsilon) with rms, then
// scales and shifts. It serves LayerNormalization, RMSNormalization, InstanceNormalization and GroupNormalization,
// which differ in what a row is and in how scale and bias are indexed.
type rowNorm[T amd64.Float] struct {
	rows, width int
	epsilon     float64
	rms         bool
	// Scale and bias of element i of row r are at [(r%period)*perRow + index(i)], where index(i) is i/block when block is
	// positive, else scaleAt[i] and biasAt[i].
	period, perRow, block int
	scaleAt, biasAt       []int

	x, y, scale, bias []T
	mean, inv         *Tensor
	moments           *momentLoops[T]
	kernels           *amd64.Kernels
	body              func(lo, hi int)
}

func (r *rowNorm[T]) prepare(c *Call) {
	r.body, r.moments, r.kernels = r.span, momentLoopsOf[T](c.Pool), c.Pool.Kernels()
}

func (r *rowNorm[T]) run(pool *Pool, in, out []*Tensor) {
	r.x, r.y = Data[T](in[0]), optional[T](out, 0)
	r.scale, r.bias = Data[T](in[1]), optional[T](in, 2)
	pool.For(r.rows, grainFor(4*r.width), r.body)
}

func (r *rowNorm[T]) span(lo, hi int) {
	for row := lo; row < hi; row++ {
		x := r.x[row*r.width : (row+1)*r.width]
		mean := 0.0
		if !r.rms {
			mean = r.moments.sum(x) / float64(r.width)
		}
		inv := 1 / math.Sqrt(r.moments.squares(x, mean)/float64(r.width)+r.epsilon)
		putFloat(r.mean, row, mean)
		putFloat(r.inv, row, inv)
		if r.y == nil { // the moments alone are asked for
			continue
		}
		if y := r.y[row*r.width : (row+1)*r.width]; r.block > 0 {
			r.byBlock(y, x, mean, inv, (row%r.period)*r.perRow)
		} else {
			r.byElement(y, x, T(mean), T(inv))
		}
	}
}

func (r *rowNorm[T]) byBlock(y, x []T, mean, inv float64, at int) {
	for b := 0; b*r.block < len(x); b++ {
		lo, hi := b*r.block, (b+1)*r.block
		m, scale, shift := T(mean), T(inv*float64(r.scale[at+b])), T(0)
		if r.bias != nil {
			shift = r.bias[at+b]
		}
		r.moments.center(y[lo:hi], x[lo:hi], m, scale, shift)
	}
}

func (r *rowNorm[T]) byElement(y, x []T, mean, inv T) {
	switch {
	case r.scaleAt != nil:
		for i, v := range x {
			y[i] = (v - mean) * inv * r.scale[r.scaleAt[i]]
			if r.bias != nil {
				y[i] += r.bias[r.biasAt[i]]
			}
		}
	case r.byVectors(y, x, mean, inv):
	case r.bias != nil:
		scale, bias := r.scale[:len(x)], r.bias[:len(x)]
		for i, v := range x {
			y[i] = (v-mean)*inv*scale[i] + bias[i]
		}
	default:
		scale := r.scale[:len(x)]
		for i, v := range x {
			y[i] = (v - mean) * inv * scale[i]
		}
	}
}

// byVectors is byElement for float32 on vector kernels, with scale and bias as wide as the row; false if it cannot be used.
func (r *rowNorm[T]) byVectors(y, x []T, mean, inv T) bool {
	dst, ok := any(y).([]float32)
	if !ok || !r.kernels.Assembler() {
		return false
	}
	r.moments.center(y, x, mean, inv, 0)
	r.kernels.Mul(dst, dst, any(r.scale[:len(x)]).([]float32))
	if r.bias != nil {
		r.kernels.Add(dst, dst, any(r.bias[:len(x)]).([]float32))
	}
	return true
}

// putFloat writes v at index i of an optional float tensor.
func putFloat(t *Tensor, i int, v float64) {
	switch {
	case t == nil:
	case t.Elem == graph.Float64:
		Data[float64](t)[i] = v
	default:
		Data[float32](t)[i] = float32(v)
	}
}

// makeLayerNorm is LayerNormalization (17) and, with rms, RMSNormalization (23): rows are X's dimensions from axis on.
// Moments are computed in float64 whatever stash_type says.
func makeLayerNorm[T amd64.Float](rms bool) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.sameElem(0); err != nil {
			return nil, err
		}
		axis, err := c.axis("axis", -1, len(c.In[0].Shape))
		if err != nil {
			return nil, err
		}
		x := c.In[0].Shape
		r := &rowNorm[T]{
			rows: Count(x[:axis]), width: Count(x[axis:]), rms: rms,
			epsilon: float64(c.Node.Float("epsilon", 1e-5)),
		}
		if r.scaleAt, err = c.normIndex(1, x[axis:]); err != nil {
			return nil, err
		}
		if r.biasAt, err = c.normIndex(2, x[axis:]); err != nil {
			return nil, err
		}
		if r.scaleAt != nil || r.biasAt != nil {
			r.scaleAt, r.biasAt = r.explicit(r.scaleAt), r.explicit(r.biasAt)
		}
		for i := 1; i <= 2; i++ {
			if c.hasOut(i) && c.Out[i].Elem != graph.Float32 && c.Out[i].Elem != graph.Float64 {
				return nil, c.Errorf(graph.ErrUnsupported, "output %d of type %s", i, c.Out[i].Elem)
			}
		}
		r.prepare(c)
		pool := c.Pool
		return func(in, out []*Tensor) error {
			r.mean, r.inv = input(out, 1), input(out, 2)
			r.run(pool, in, out)
			return nil
		}, nil
	}
}

// normIndex maps the elements of a normalised row to those of a broadcast scale or bias; nil is the identity.
func (c *Call) normIndex(i int, row []int) ([]int, error) {
	if !c.has(i) {
		return nil, nil
	}
	shape := c.In[i].Shape
	for len(shape) > len(row) && shape[0] == 1 {
		shape = shape[1:]
	}
	if len(shape) > len(row) {
		return nil, c.Errorf(graph.ErrUnsupported, "input %d of shape %v varies over rows of shape %v; multiply outside",
			i, c.In[i].Shape, row)
	}
	for d := 1; d <= len(shape); d++ {
		if s := shape[len(shape)-d]; s != 1 && s != row[len(row)-d] {
			return nil, c.Errorf(graph.ErrInvalid, "input %d of shape %v does not broadcast to %v", i, c.In[i].Shape, row)
		}
	}
	if Count(shape) == Count(row) {
		return nil, nil
	}
	return batchOffsets(row, shape, 1), nil
}

// explicit is an index map written out.
func (r *rowNorm[T]) explicit(at []int) []int {
	if at == nil {
		at = batchOffsets([]int{r.width}, []int{r.width}, 1)
	}
	return at
}

// makeInstanceNorm is InstanceNormalization: rows are the planes of X[N, C, S...], scale and bias have C elements.
func makeInstanceNorm[T amd64.Float](c *Call) (Run, error) {
	if err := c.rankAtLeast(0, 2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	if err := c.vector(x[1], 1, 2); err != nil {
		return nil, err
	}
	r := &rowNorm[T]{
		rows: x[0] * x[1], width: Count(x[2:]), epsilon: float64(c.Node.Float("epsilon", 1e-5)),
		period: x[1], perRow: 1, block: Count(x[2:]),
	}
	return r.rowsOnly(c)
}

// makeGroupNorm is GroupNormalization: rows are groups of channels of X[N, C, S...]; scale and bias have one element
// per group before opset 21 and one per channel since.
func makeGroupNorm[T amd64.Float](c *Call) (Run, error) {
	if err := c.rankAtLeast(0, 2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x, groups := c.In[0].Shape, int(c.Node.Int("num_groups", 0))
	if groups <= 0 || x[1]%groups != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "num_groups=%d does not divide %d channels", groups, x[1])
	}
	space, per := Count(x[2:]), x[1]/groups
	r := &rowNorm[T]{
		rows: x[0] * groups, width: per * space, epsilon: float64(c.Node.Float("epsilon", 1e-5)),
		period: groups, perRow: per, block: space,
	}
	want := x[1]
	if c.Opset < 21 {
		r.perRow, r.block, want = 1, per*space, groups
	}
	if err := c.vector(want, 1, 2); err != nil {
		return nil, err
	}
	return r.rowsOnly(c)
}

func (r *rowNorm[T]) rowsOnly(c *Call) (Run, error) {
	if r.width == 0 {
		r.rows = 0
	}
	r.prepare(c)
	pool := c.Pool
	return func(in, out []*Tensor) error {
		r.run(pool, in, out)
		return nil
	}, nil
}
