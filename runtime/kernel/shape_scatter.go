package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// combine folds a run of updates into the output.
type combine[T graph.Number] func(dst, updates []T)

func overwrite[T graph.Number](dst, updates []T) { copy(dst, updates) }

// numericCombine is the combination that attribute reduction names (opset 16 on).
func numericCombine[T numeric](c *Call) (combine[T], error) {
	switch how := c.Node.Str("reduction", "none"); how {
	case "none":
		return overwrite[T], nil
	case "add":
		return func(dst, u []T) {
			for i, v := range u {
				dst[i] += v
			}
		}, nil
	case "mul":
		return func(dst, u []T) {
			for i, v := range u {
				dst[i] *= v
			}
		}, nil
	case "max":
		return func(dst, u []T) {
			for i, v := range u {
				dst[i] = max(dst[i], v)
			}
		}, nil
	case "min":
		return func(dst, u []T) {
			for i, v := range u {
				dst[i] = min(dst[i], v)
			}
		}, nil
	default:
		return nil, c.Errorf(graph.ErrInvalid, "reduction is %q, want none, add, mul, max or min", how)
	}
}

// plainCombine serves types without arithmetic.
func plainCombine[T graph.Number](c *Call) (combine[T], error) {
	if how := c.Node.Str("reduction", "none"); how != "none" {
		return nil, c.Errorf(graph.ErrUnsupported, "reduction %q of %s", how, c.In[0].Elem)
	}
	return overwrite[T], nil
}

// scatterElements writes each update to the place of its index: the same place except along an axis. Updates are
// taken in order, so that sums are the same in every run.
func scatterElements[T graph.Number](pick func(*Call) (combine[T], error)) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.scatterInputs(); err != nil {
			return nil, err
		}
		if err := c.indices(1); err != nil {
			return nil, err
		}
		apply, err := pick(c)
		if err != nil {
			return nil, err
		}
		w := &walk{}
		axis, step, err := c.elementWalk(w)
		if err != nil {
			return nil, err
		}
		d := c.In[0].Shape[axis]
		if !slices.Equal(c.In[1].Shape, c.In[2].Shape) {
			return nil, c.Errorf(graph.ErrInvalid, "indices of shape %v and updates of shape %v differ", c.In[1].Shape, c.In[2].Shape)
		}
		return func(in, out []*Tensor) error {
			index, dst, updates := positionsOf(in[1]), Data[T](out[0]), Data[T](in[2])
			copy(dst, Data[T](in[0]))
			along := w.inner(0)
			for at := w.from(0, w.n); at.n > 0; at.next() {
				off := at.off[0]
				for i := at.pos; i < at.pos+at.n; i++ {
					p := index.at(i, d)
					if p < 0 || p >= d {
						return c.Errorf(graph.ErrInvalid, "index %d at place %d is out of range for size %d", indexAt(in[1], i), i, d)
					}
					p = off + p*step
					apply(dst[p:p+1], updates[i:i+1])
					off += along
				}
			}
			return nil
		}, nil
	}
}

// scatterND writes slices of updates to the places that tuples of indices name, in order.
func scatterND[T graph.Number](pick func(*Call) (combine[T], error)) func(*Call) (Run, error) {
	return func(c *Call) (Run, error) {
		if err := c.scatterInputs(); err != nil {
			return nil, err
		}
		apply, err := pick(c)
		if err != nil {
			return nil, err
		}
		nd, err := c.planND(0)
		if err != nil {
			return nil, err
		}
		if c.In[2].Len() != nd.slices*nd.run {
			return nil, c.Errorf(graph.ErrInvalid, "updates of shape %v, want %d slices of %d elements", c.In[2].Shape, nd.slices, nd.run)
		}
		return func(in, out []*Tensor) error {
			index, dst, updates := Data[int64](in[1]), Data[T](out[0]), Data[T](in[2])
			copy(dst, Data[T](in[0]))
			for i := range nd.slices {
				off, bad := nd.at(index, i)
				if bad >= 0 {
					return nd.err(c, index, bad)
				}
				apply(dst[off:off+nd.run], updates[i*nd.run:][:nd.run])
			}
			return nil
		}, nil
	}
}

func (c *Call) scatterInputs() error {
	if err := c.needs(3); err != nil {
		return err
	}
	if c.In[0].Elem != c.In[2].Elem {
		return c.Errorf(graph.ErrInvalid, "data of type %s and updates of type %s; insert a Cast", c.In[0].Elem, c.In[2].Elem)
	}
	return nil
}

func scatters[T numeric]() []Row {
	return inPlace([]int{0},
		row[T]("ScatterElements", scatterElements(numericCombine[T])),
		row[T]("Scatter", scatterElements(numericCombine[T])), // its name before opset 11
		row[T]("ScatterND", scatterND(numericCombine[T])),
	)
}

func scatterTable() []Row {
	halves := []graph.Elem{graph.Float16, graph.BFloat16}
	plain := []Row{
		{Op: "Scatter", Elems: []graph.Elem{graph.Bool}, Make: scatterElements(plainCombine[uint8])},
		{Op: "Scatter", Elems: halves, Make: scatterElements(plainCombine[uint16])},
		{Op: "ScatterElements", Elems: []graph.Elem{graph.Bool}, Make: scatterElements(plainCombine[uint8])},
		{Op: "ScatterND", Elems: []graph.Elem{graph.Bool}, Make: scatterND(plainCombine[uint8])},
		{Op: "ScatterElements", Elems: halves, Make: scatterElements(plainCombine[uint16])},
		{Op: "ScatterND", Elems: halves, Make: scatterND(plainCombine[uint16])},
	}
	for i := range plain {
		plain[i].Note = "portable"
	}
	return slices.Concat(inPlace([]int{0}, plain...), scatters[float32](), scatters[float64](),
		scatters[int8](), scatters[int16](), scatters[int32](), scatters[int64](),
		scatters[uint8](), scatters[uint16](), scatters[uint32](), scatters[uint64]())
}
