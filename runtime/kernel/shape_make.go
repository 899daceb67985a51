package kernel

import "github.com/asdlc/asdlc/graph"

// makeShape gives the dimensions of input 0 from start to end (opset 15), as int64.
func makeShape(c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	shape := c.In[0].Shape
	rank := int64(len(shape))
	bound := func(name string, def int64) int64 {
		v := c.Node.Int(name, def)
		if v < 0 {
			v += rank
		}
		return min(max(v, 0), rank)
	}
	from, to := bound("start", 0), bound("end", rank)
	dims := make([]int64, 0, rank)
	for i := from; i < to; i++ {
		dims = append(dims, int64(shape[i]))
	}
	return emit(dims), nil
}

func makeSize(c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	return emit([]int64{int64(c.In[0].Len())}), nil
}

// emit is a run whose output is known beforehand.
func emit[T graph.Number](values []T) Run {
	return func(_, out []*Tensor) error {
		copy(Data[T](out[0]), values)
		return nil
	}
}

// makeConstant takes the one attribute of the forms value, value_float(s), value_int(s) that is given.
func makeConstant(c *Call) (Run, error) {
	for _, a := range c.Node.Attrs() {
		switch a.Name {
		case "value":
			return emitBytes(a.T.Raw), nil
		case "value_float":
			return emit([]float32{a.F}), nil
		case "value_floats":
			return emit(a.Floats), nil
		case "value_int":
			return emit([]int64{a.I}), nil
		case "value_ints":
			return emit(a.Ints), nil
		}
	}
	return nil, c.Errorf(graph.ErrUnsupported, "constant without a numeric value")
}

func emitBytes(raw []byte) Run {
	return func(_, out []*Tensor) error {
		copy(out[0].Raw, raw)
		return nil
	}
}

// constantOfShape fills the output with the element of attribute value, or with float zeros.
func constantOfShape[T graph.Number](c *Call) (Run, error) {
	var v T
	if a, ok := c.Node.Attr("value"); ok && a.T.Len() == 1 && a.T.Elem == c.Out[0].Elem {
		v = graph.Data[T](a.T)[0]
	} else if ok {
		return nil, c.Errorf(graph.ErrInvalid, "value is %s, want one element of %s", a.T.Type(), c.Out[0].Elem)
	}
	var dst []T
	body := func(lo, hi int) { fill(dst[lo:hi], v) }
	return func(_, out []*Tensor) error {
		dst = Data[T](out[0])
		c.Pool.For(len(dst), grainCheap, body)
		return nil
	}, nil
}

// rangeOf is start + i*delta.
func rangeOf[T numeric](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	return func(in, out []*Tensor) error {
		start, delta := Data[T](in[0])[0], Data[T](in[2])[0]
		if delta == 0 {
			return c.Errorf(graph.ErrInvalid, "delta is 0")
		}
		for i, dst := 0, Data[T](out[0]); i < len(dst); i++ {
			dst[i] = start + T(i)*delta
		}
		return nil
	}, nil
}

// eyeLike is a matrix with ones on diagonal k.
func eyeLike[T graph.Number](c *Call) (Run, error) {
	shape := c.Out[0].Shape
	conv := casterOf(graph.Uint8, c.Out[0].Elem)
	if len(shape) != 2 || conv == nil {
		return nil, c.Errorf(graph.ErrInvalid, "output %s%v, want a matrix", c.Out[0].Elem, shape)
	}
	unit := New(c.Out[0].Elem, 1)
	conv(unit.Raw, []byte{1})
	one, k := Data[T](unit)[0], int(c.Node.Int("k", 0))
	return func(_, out []*Tensor) error {
		dst := Data[T](out[0])
		clear(dst)
		for i := range shape[0] {
			if j := i + k; j >= 0 && j < shape[1] {
				dst[i*shape[1]+j] = one
			}
		}
		return nil
	}, nil
}

// oneHot writes values[1] where the position along the new axis is the index (input 0), values[0] elsewhere. Indices
// out of range make no mark.
func oneHot[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	if c.In[2].Len() != 2 {
		return nil, c.Errorf(graph.ErrInvalid, "values of shape %v, want two elements", c.In[2].Shape)
	}
	index := c.In[0]
	axis, err := c.axis("axis", -1, len(index.Shape)+1)
	if err != nil {
		return nil, err
	}
	depth, inner := c.Out[0].Shape[axis], Count(index.Shape[axis:])
	conv := casterOf(index.Elem, graph.Int64)
	if conv == nil {
		return nil, c.Errorf(graph.ErrUnsupported, "indices of type %s", index.Elem)
	}
	scratch := c.Scratch(8 * index.Len())
	var dst []T
	var on, off T
	var at []int64
	body := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			d := at[i]
			if d < 0 {
				d += int64(depth)
			}
			if d >= 0 && d < int64(depth) {
				dst[(i/inner*depth+int(d))*inner+i%inner] = on
			}
		}
	}
	clean := func(lo, hi int) { fill(dst[lo:hi], off) }
	return func(in, out []*Tensor) error {
		at = ScratchOf[int64](scratch)
		conv(scratch.Raw, in[0].Raw)
		values := Data[T](in[2])
		dst, off, on = Data[T](out[0]), values[0], values[1]
		c.Pool.For(len(dst), grainCheap, clean)
		c.Pool.For(len(at), grainCheap, body)
		return nil
	}, nil
}

func makerTable() []Row {
	return []Row{
		{Op: "Shape", Note: "portable", Make: makeShape},
		{Op: "Size", Note: "portable", Make: makeSize},
		{Op: "Constant", Note: "portable", Make: makeConstant},
		{Op: "BitCast", Note: "portable", InPlace: []int{0}, Make: func(*Call) (Run, error) {
			return func(in, out []*Tensor) error {
				copy(out[0].Raw, in[0].Raw)
				return nil
			}, nil
		}},
		bySize("ConstantOfShape", -1, constantOfShape[uint8], constantOfShape[uint16], constantOfShape[uint32], constantOfShape[uint64]),
		unread(bySize("EyeLike", -1, eyeLike[uint8], eyeLike[uint16], eyeLike[uint32], eyeLike[uint64])),
		bySize("OneHot", 2, oneHot[uint8], oneHot[uint16], oneHot[uint32], oneHot[uint64]),
		row[float32]("Range", rangeOf[float32]), row[float64]("Range", rangeOf[float64]),
		row[int16]("Range", rangeOf[int16]), row[int32]("Range", rangeOf[int32]), row[int64]("Range", rangeOf[int64]),
	}
}

// unread sets Row.Unread.
func unread(r Row) Row {
	r.Unread = true
	return r
}
