package kernel

import "github.com/asdlc/asdlc/graph"

// padder extends (or, with negative pads, crops) input 0. For each axis a table tells the offset in the source of
// each position of the output; -1 is padding.
type padder[T graph.Number] struct {
	call   *Call
	mode   string
	tables [][]int
	begins []int // leading pads by axis
	lo, hi int   // the part of the innermost axis that is one run of the source
	dst    []T
	src    []T
	value  T
}

// makePad serves all forms: pads as attribute (opset 2), as input 1 (opset 11), with axes as input 3 (opset 18).
func makePad[T graph.Number](c *Call) (Run, error) {
	x, y := c.In[0].Shape, c.Out[0].Shape
	if len(x) != len(y) || len(x) > maxAxes {
		return nil, c.Errorf(graph.ErrInvalid, "padding of shape %v to %v", x, y)
	}
	p := &padder[T]{call: c, mode: c.Node.Str("mode", "constant"), begins: make([]int, len(x)), tables: make([][]int, len(x))}
	switch p.mode {
	case "constant", "reflect", "edge", "wrap":
	default:
		return nil, c.Errorf(graph.ErrInvalid, "mode is %q, want constant, reflect, edge or wrap", p.mode)
	}
	for i := range y {
		p.tables[i] = make([]int, y[i])
	}
	if err := p.readValueType(); err != nil {
		return nil, err
	}
	list, attr := c.Node.Attr("pads")
	if !attr {
		if err := c.needs(2); err != nil {
			return nil, err
		}
		for _, i := range []int{1, 3} {
			if c.has(i) {
				if err := c.indices(i); err != nil {
					return nil, err
				}
			}
		}
	}
	rows, inner := 1, 1
	if len(y) > 0 {
		inner = y[len(y)-1]
		rows = Count(y[:len(y)-1])
	}
	body := p.body
	return func(in, out []*Tensor) error {
		var err error
		if attr {
			err = p.positions(list.Ints, nil, nil)
		} else {
			err = p.positions(nil, in[1], input(in, 3))
		}
		if err != nil {
			return err
		}
		p.dst, p.src = Data[T](out[0]), Data[T](in[0])
		if t := input(in, 2); t != nil {
			p.value = Data[T](t)[0]
		}
		c.Pool.For(rows, 1+grainCheap/(inner+1), body)
		return nil
	}, nil
}

// readValueType sets the padding value: attribute value in opset 2, input 2 later.
func (p *padder[T]) readValueType() error {
	c := p.call
	if c.has(2) && (c.In[2].Elem != c.In[0].Elem || c.In[2].Len() != 1) {
		return c.Errorf(graph.ErrInvalid, "padding value is %s%v, want one %s", c.In[2].Elem, c.In[2].Shape, c.In[0].Elem)
	}
	if a, ok := c.Node.Attr("value"); ok {
		conv := casterOf(graph.Float32, c.In[0].Elem)
		if conv == nil {
			return c.Errorf(graph.ErrUnsupported, "padding of %s", c.In[0].Elem)
		}
		v, f := New(c.In[0].Elem, 1), Of([]float32{a.F}, 1)
		conv(v.Raw, f.Raw)
		p.value = Data[T](v)[0]
	}
	return nil
}

// positions reads the pads, from list or tensor, and fills the tables.
func (p *padder[T]) positions(list []int64, pads, axes *Tensor) error {
	c := p.call
	x, y := c.In[0].Shape, c.Out[0].Shape
	clear(p.begins)
	count := len(x)
	if axes != nil {
		count = axes.Len()
	}
	given := len(list)
	if pads != nil {
		given = pads.Len()
	}
	if given != 2*count {
		return c.Errorf(graph.ErrInvalid, "%d pads for %d axes, want two each", given, count)
	}
	for k := range count {
		axis := k
		if axes != nil {
			var err error
			if axis, err = c.wrapAxis(int64(indexAt(axes, k)), len(x)); err != nil {
				return err
			}
		}
		var end int
		if pads != nil {
			p.begins[axis], end = indexAt(pads, k), indexAt(pads, count+k)
		} else {
			p.begins[axis], end = int(list[k]), int(list[count+k])
		}
		if x[axis]+p.begins[axis]+end != y[axis] {
			return c.Errorf(graph.ErrInvalid, "axis %d of size %d with pads %d and %d does not give size %d", axis, x[axis], p.begins[axis], end, y[axis])
		}
	}
	step := 1
	for i := len(x) - 1; i >= 0; i-- {
		for o := range p.tables[i] {
			at := p.source(o-p.begins[i], x[i])
			if at >= 0 {
				at *= step
			} else if p.mode != "constant" {
				return c.Errorf(graph.ErrInvalid, "axis %d is empty: mode %s has nothing to repeat", i, p.mode)
			}
			p.tables[i][o] = at
		}
		step *= x[i]
	}
	if last := len(x) - 1; last >= 0 {
		p.lo = min(max(p.begins[last], 0), y[last])
		p.hi = max(min(p.begins[last]+x[last], y[last]), p.lo)
	}
	return nil
}

// source is the position in an axis of size d that position i, counted from its start, shows; -1 is padding.
func (p *padder[T]) source(i, d int) int {
	switch {
	case i >= 0 && i < d:
		return i
	case p.mode == "constant" || d == 0:
		return -1
	case p.mode == "edge":
		return min(max(i, 0), d-1)
	case p.mode == "wrap":
		return (i%d + d) % d
	case d == 1:
		return 0
	}
	period := 2 * (d - 1)
	i = (i%period + period) % period
	return min(i, period-i)
}

// body fills the rows lo <= r < hi of the output.
func (p *padder[T]) body(lo, hi int) {
	last := len(p.tables) - 1
	if last < 0 {
		copy(p.dst, p.src)
		return
	}
	table := p.tables[last]
	for r := lo; r < hi; r++ {
		off, rest := 0, r
		for i := last - 1; i >= 0; i-- {
			t := p.tables[i]
			at := t[rest%len(t)]
			rest /= len(t)
			if at < 0 {
				off = -1
				break
			}
			off += at
		}
		d := p.dst[r*len(table):][:len(table)]
		if off < 0 {
			fill(d, p.value)
			continue
		}
		p.edge(d, table, off, 0, p.lo)
		if p.lo < p.hi {
			copy(d[p.lo:p.hi], p.src[off+table[p.lo]:])
		}
		p.edge(d, table, off, p.hi, len(table))
	}
}

func (p *padder[T]) edge(d []T, table []int, off, from, to int) {
	for o := from; o < to; o++ {
		if at := table[o]; at >= 0 {
			d[o] = p.src[off+at]
		} else {
			d[o] = p.value
		}
	}
}

func padTable() []Row {
	return []Row{bySize("Pad", 0, makePad[uint8], makePad[uint16], makePad[uint32], makePad[uint64])}
}
