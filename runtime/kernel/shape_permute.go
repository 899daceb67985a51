package kernel

import "github.com/asdlc/asdlc/graph"

// transposition permutes the axes; without perm it reverses them.
func transposition[T graph.Number](c *Call) (Run, error) {
	shape := c.In[0].Shape
	perm := c.Node.IntList("perm")
	if _, given := c.Node.Attr("perm"); !given {
		for i := len(shape) - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != len(shape) {
		return nil, c.Errorf(graph.ErrInvalid, "perm %v for rank %d", perm, len(shape))
	}
	axes, err := c.wrapAxes(perm, len(shape))
	if err != nil {
		return nil, err
	}
	return permuted[T](c, shape, axes)
}

// permuted reads input 0 as a tensor of the given shape and permutes its axes.
func permuted[T graph.Number](c *Call, shape, axes []int) (Run, error) {
	if err := c.smallRank(shape); err != nil {
		return nil, err
	}
	from := strides(shape)
	to, step := make([]int, len(axes)), make([]int, len(axes))
	for i, a := range axes {
		to[i], step[i] = shape[a], from[a]
	}
	if Count(to) != c.Out[0].Len() {
		return nil, c.Errorf(graph.ErrInvalid, "shape %v permuted to %v", shape, c.Out[0].Shape)
	}
	s := &strided[T]{}
	s.plan(to, step, 0)
	return s.run(c.Pool), nil
}

// depthToSpace moves blocks of channels into blocks of pixels: [N, b*b*C, H, W] to [N, C, H*b, W*b]. In mode DCR the
// channel is (row, column, c), in mode CRD (c, row, column).
func depthToSpace[T graph.Number](c *Call) (Run, error) {
	x := c.In[0].Shape
	b := int(c.Node.Int("blocksize", 0))
	if len(x) != 4 || b < 1 || x[1]%(b*b) != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "blocksize %d does not divide the channels of shape %v", b, x)
	}
	depth := x[1] / (b * b)
	switch mode := c.Node.Str("mode", "DCR"); mode {
	case "DCR":
		return permuted[T](c, []int{x[0], b, b, depth, x[2], x[3]}, []int{0, 3, 4, 1, 5, 2})
	case "CRD":
		return permuted[T](c, []int{x[0], depth, b, b, x[2], x[3]}, []int{0, 1, 4, 2, 5, 3})
	default:
		return nil, c.Errorf(graph.ErrInvalid, "mode is %q, want DCR or CRD", mode)
	}
}

// spaceToDepth is the inverse of depthToSpace in mode DCR.
func spaceToDepth[T graph.Number](c *Call) (Run, error) {
	x := c.In[0].Shape
	b := int(c.Node.Int("blocksize", 0))
	if len(x) != 4 || b < 1 || x[2]%b != 0 || x[3]%b != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "blocksize %d does not divide the last axes of shape %v", b, x)
	}
	return permuted[T](c, []int{x[0], x[1], x[2] / b, b, x[3] / b, b}, []int{0, 3, 5, 1, 2, 4})
}

// expand broadcasts input 0 to the output's shape. (Input 1, the shape, may be smaller than the result.)
func expand[T graph.Number](c *Call) (Run, error) {
	shape := c.Out[0].Shape
	if err := c.smallRank(shape); err != nil {
		return nil, err
	}
	step, ok := broadcastStrides(c.In[0].Shape, shape)
	if !ok {
		return nil, c.Errorf(graph.ErrInvalid, "shape %v does not broadcast to %v", c.In[0].Shape, shape)
	}
	s := &strided[T]{}
	s.plan(shape, step, 0)
	return s.run(c.Pool), nil
}

// tile repeats input 0 along each axis: the output [r0*d0, r1*d1, ...] is [r0, d0, r1, d1, ...] with strides 0 for r.
func tile[T graph.Number](c *Call) (Run, error) {
	from, to := c.In[0].Shape, c.Out[0].Shape
	if len(from) != len(to) || 2*len(to) > maxAxes {
		return nil, c.Errorf(graph.ErrUnsupported, "tiling shape %v to %v, at most rank %d", from, to, maxAxes/2)
	}
	var shape, step []int
	dense := strides(from)
	for i, d := range from {
		repeats := 0
		if d > 0 {
			repeats = to[i] / d
		}
		if repeats*d != to[i] {
			return nil, c.Errorf(graph.ErrInvalid, "shape %v does not tile %v", from, to)
		}
		shape, step = append(shape, repeats, d), append(step, 0, dense[i])
	}
	s := &strided[T]{}
	s.plan(shape, step, 0)
	return s.run(c.Pool), nil
}

// slice takes input 0 from starts to ends by steps along axes: attributes in opset 1, inputs from opset 10. The
// output's shape is known, so the ends are not read.
func slice[T graph.Number](c *Call) (Run, error) {
	if err := c.smallRank(c.Out[0].Shape); err != nil {
		return nil, err
	}
	if len(c.In[0].Shape) != len(c.Out[0].Shape) {
		return nil, c.Errorf(graph.ErrInvalid, "slice of shape %v to %v", c.In[0].Shape, c.Out[0].Shape)
	}
	s := &slicer[T]{call: c, dense: strides(c.In[0].Shape), step: make([]int, len(c.In[0].Shape))}
	for _, i := range []int{1, 3, 4} {
		if c.has(i) {
			if err := c.indices(i); err != nil {
				return nil, err
			}
		}
	}
	if starts, ok := c.Node.Attr("starts"); ok {
		axes := c.Node.IntList("axes")
		s.param = func(_ []*Tensor, k int) (start, axis, step int) {
			axis = k
			if axes != nil {
				axis = int(axes[k])
			}
			return int(starts.Ints[k]), axis, 1
		}
		s.count = len(starts.Ints)
		if axes != nil && len(axes) != s.count {
			return nil, c.Errorf(graph.ErrInvalid, "%d axes and %d starts", len(axes), s.count)
		}
	} else {
		if err := c.needs(3); err != nil {
			return nil, err
		}
		s.param, s.count = sliceInputs, c.In[1].Len()
		for _, i := range []int{3, 4} {
			if c.has(i) && c.In[i].Len() != s.count {
				return nil, c.Errorf(graph.ErrInvalid, "input %d has %d elements, want %d", i, c.In[i].Len(), s.count)
			}
		}
	}
	body := s.body
	return func(in, out []*Tensor) error {
		if err := s.position(in); err != nil {
			return err
		}
		s.src, s.dst = Data[T](in[0]), Data[T](out[0])
		n, grain := s.tasks()
		c.Pool.For(n, grain, body)
		return nil
	}, nil
}

type slicer[T graph.Number] struct {
	strided[T]
	call  *Call
	count int
	param func(in []*Tensor, k int) (start, axis, step int)
	dense []int // strides of the input
	step  []int // strides of the slice
}

func sliceInputs(in []*Tensor, k int) (start, axis, step int) {
	start, axis, step = indexAt(in[1], k), k, 1
	if t := input(in, 3); t != nil {
		axis = indexAt(t, k)
	}
	if t := input(in, 4); t != nil {
		step = indexAt(t, k)
	}
	return start, axis, step
}

// position lays out the copy from the starts and steps of this run.
func (s *slicer[T]) position(in []*Tensor) error {
	from, to := s.call.In[0].Shape, s.call.Out[0].Shape
	copy(s.step, s.dense)
	base := 0
	for k := range s.count {
		start, at, step := s.param(in, k)
		axis, err := s.call.wrapAxis(int64(at), len(from))
		if err != nil {
			return err
		}
		if step == 0 {
			return s.call.Errorf(graph.ErrInvalid, "step 0 along axis %d", axis)
		}
		d := from[axis]
		if start < 0 {
			start += d
		}
		if step > 0 {
			start = min(max(start, 0), d)
		} else {
			start = min(max(start, 0), d-1)
		}
		last := start + (to[axis]-1)*step
		if to[axis] > 0 && (last < 0 || last >= d || start >= d) {
			return s.call.Errorf(graph.ErrInvalid, "start %d and step %d give no %d elements of axis %d, which has %d", start, step, to[axis], axis, d)
		}
		base += start * s.dense[axis]
		s.step[axis] = s.dense[axis] * step
	}
	s.plan(to, s.step, base)
	return nil
}

func permuteRows() []Row {
	return []Row{
		bySize("Transpose", 0, transposition[uint8], transposition[uint16], transposition[uint32], transposition[uint64]),
		bySize("DepthToSpace", 0, depthToSpace[uint8], depthToSpace[uint16], depthToSpace[uint32], depthToSpace[uint64]),
		bySize("SpaceToDepth", 0, spaceToDepth[uint8], spaceToDepth[uint16], spaceToDepth[uint32], spaceToDepth[uint64]),
		bySize("Expand", 0, expand[uint8], expand[uint16], expand[uint32], expand[uint64]),
		bySize("Tile", 0, tile[uint8], tile[uint16], tile[uint32], tile[uint64]),
		bySize("Slice", 0, slice[uint8], slice[uint16], slice[uint32], slice[uint64]),
	}
}
