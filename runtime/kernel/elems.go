package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// floating are the element types of mathematics.
type floating interface{ ~float32 | ~float64 }

// integral are the integer element types.
type integral interface {
	~uint8 | ~int8 | ~uint16 | ~int16 | ~int32 | ~int64 | ~uint32 | ~uint64
}

// numeric are the element types of arithmetic.
type numeric interface{ floating | integral }

// row is a portable row for operators of the standard domain whose input 0 is of type T.
func row[T graph.Number](op string, prepare func(*Call) (Run, error)) Row {
	return Row{Op: op, Elems: []graph.Elem{graph.ElemOf[T]()}, Note: "portable", Make: prepare}
}

// inPlace says that the outputs of rows may take over the bytes of the inputs listed.
func inPlace(inputs []int, rows ...Row) []Row {
	for i := range rows {
		rows[i].InPlace = inputs
	}
	return rows
}

// bySize is a row for every element type: the operator only moves elements, so that their size decides which of the
// four functions prepares it. decide is the input that is moved.
func bySize(op string, decide int, p1, p2, p4, p8 func(*Call) (Run, error)) Row {
	return Row{Op: op, Decide: decide, Note: "portable", Make: func(c *Call) (Run, error) {
		e := c.Out[0].Elem
		if decide >= 0 {
			e = c.In[decide].Elem
		}
		switch e.Size() {
		case 1:
			return p1(c)
		case 2:
			return p2(c)
		case 4:
			return p4(c)
		case 8:
			return p8(c)
		}
		return nil, c.Errorf(graph.ErrUnsupported, "tensors of element type %s", e)
	}}
}

// axis is the int attribute of that name as an index into rank dimensions; negative ones count from the end.
func (c *Call) axis(name string, def int64, rank int) (int, error) {
	return c.wrapAxis(c.Node.Int(name, def), rank)
}

func (c *Call) wrapAxis(a int64, rank int) (int, error) {
	wrapped := a
	if wrapped < 0 {
		wrapped += int64(rank)
	}
	if wrapped < 0 || wrapped >= int64(rank) {
		return 0, c.Errorf(graph.ErrInvalid, "axis %d is out of range for rank %d", a, rank)
	}
	return int(wrapped), nil
}

// wrapAxes is wrapAxis for a list, and refuses an axis that is given twice.
func (c *Call) wrapAxes(list []int64, rank int) ([]int, error) {
	axes := make([]int, len(list))
	for i, a := range list {
		var err error
		if axes[i], err = c.wrapAxis(a, rank); err != nil {
			return nil, err
		}
		if slices.Contains(axes[:i], axes[i]) {
			return nil, c.Errorf(graph.ErrInvalid, "axis %d is given twice", a)
		}
	}
	return axes, nil
}

// needs is an error unless the first n inputs are there.
func (c *Call) needs(n int) error {
	for i := range n {
		if !c.has(i) {
			return c.Errorf(graph.ErrInvalid, "input %d is missing", i)
		}
	}
	return nil
}

// has reports whether input i is given.
func (c *Call) has(i int) bool { return i < len(c.In) && c.In[i].Present }

// sameElem is an error unless inputs i.. that are present have the element type of input i.
func (c *Call) sameElem(i int) error {
	for k := i + 1; k < len(c.In); k++ {
		if c.has(k) && c.In[k].Elem != c.In[i].Elem {
			return c.Errorf(graph.ErrInvalid, "inputs %d and %d are of types %s and %s; insert a Cast", i, k, c.In[i].Elem, c.In[k].Elem)
		}
	}
	return nil
}

// input is input i of a run, or nil.
func input(in []*Tensor, i int) *Tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}

// indexAt reads element i of an int32 or int64 tensor.
func indexAt(t *Tensor, i int) int {
	if t.Elem == graph.Int32 {
		return int(Data[int32](t)[i])
	}
	return int(Data[int64](t)[i])
}

// indices is an error unless input i is a tensor of int32 or int64.
func (c *Call) indices(i int) error {
	if e := c.In[i].Elem; e != graph.Int32 && e != graph.Int64 {
		return c.Errorf(graph.ErrInvalid, "input %d is of type %s, want int32 or int64", i, e)
	}
	return nil
}

// constInts is the content of input i if it is a constant.
func (c *Call) constInts(i int) ([]int64, bool) {
	if !c.has(i) || c.In[i].Const == nil {
		return nil, false
	}
	t := c.In[i].Const
	list := make([]int64, t.Len())
	for k := range list {
		list[k] = int64(indexAt(t, k))
	}
	return list, true
}

func strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}
