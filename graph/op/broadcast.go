package op

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
)

// broadcastDim is the size that two dimensions broadcast to: 1 gives way, equal ones stay, a known size above 1 decides
// over one not known. Two different symbols give an unknown size.
func broadcastDim(a, b graph.Dim) (graph.Dim, error) {
	one := graph.Known(1)
	switch {
	case a == one, a == b:
		return b, nil
	case b == one:
		return a, nil
	}
	x, okx := a.Size()
	y, oky := b.Size()
	switch {
	case okx && oky:
		return graph.UnknownDim, fmt.Errorf("sizes %d and %d do not broadcast", x, y)
	case okx:
		return a, nil
	case oky:
		return b, nil
	}
	return graph.UnknownDim, nil
}

// broadcastDims broadcasts two shapes, aligned at their ends.
func broadcastDims(a, b []graph.Dim) ([]graph.Dim, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := make([]graph.Dim, len(a))
	copy(out, a)
	shift := len(a) - len(b)
	for i, d := range b {
		r, err := broadcastDim(a[shift+i], d)
		if err != nil {
			return nil, err
		}
		out[shift+i] = r
	}
	return out, nil
}

// broadcastInputs broadcasts the inputs of the call; ok is false if a rank is not known.
func (c *Context) broadcastInputs() (dims []graph.Dim, ok bool, err error) {
	dims = []graph.Dim{}
	for i := range c.In {
		d, ranked := c.Dims(i)
		if !ranked {
			return nil, false, nil
		}
		if dims, err = broadcastDims(dims, d); err != nil {
			return nil, false, c.fail("shapes %s: %v", c.inputTypes(), err)
		}
	}
	return dims, true, nil
}

func (c *Context) inputTypes() string {
	s := ""
	for i, a := range c.In {
		if i > 0 {
			s += ", "
		}
		if a.Present {
			s += a.Type.String()
		} else {
			s += "-"
		}
	}
	return s
}

// mergeDim combines two statements about one dimension; ok is false if they contradict each other. Between two
// different expressions the first wins.
func mergeDim(a, b graph.Dim) (d graph.Dim, ok bool) {
	x, okx := a.Size()
	y, oky := b.Size()
	switch {
	case okx && oky:
		return a, x == y
	case okx:
		return a, true
	case oky:
		return b, true
	case a.IsUnknown():
		return b, true
	}
	return a, true
}

// mergeType combines what is inferred with what is declared of a value.
func mergeType(inferred, declared graph.Type) (graph.Type, error) {
	t := inferred
	switch {
	case t.Elem == graph.Undefined:
		t.Elem = declared.Elem
	case declared.Elem != graph.Undefined && declared.Elem != t.Elem:
		return t, fmt.Errorf("declared as %s, but is %s", declared, inferred)
	}
	if !declared.Ranked {
		return t, nil
	}
	if !t.Ranked {
		t.Ranked, t.Dims = true, declared.Dims
		return t, nil
	}
	if len(t.Dims) != len(declared.Dims) {
		return t, fmt.Errorf("declared as %s, but is %s", declared, inferred)
	}
	dims := make([]graph.Dim, len(t.Dims))
	for i := range dims {
		var ok bool
		if dims[i], ok = mergeDim(t.Dims[i], declared.Dims[i]); !ok {
			return t, fmt.Errorf("declared as %s, but is %s", declared, inferred)
		}
	}
	t.Dims = dims
	return t, nil
}

// joinType is what holds of a value that has either type.
func joinType(a, b graph.Type) graph.Type {
	if a.Elem != b.Elem {
		a.Elem = graph.Undefined
	}
	if !a.Ranked || !b.Ranked || len(a.Dims) != len(b.Dims) {
		return graph.UnrankedType(a.Elem)
	}
	dims := make([]graph.Dim, len(a.Dims))
	for i := range dims {
		if dims[i] = a.Dims[i]; a.Dims[i] != b.Dims[i] {
			dims[i] = graph.UnknownDim
		}
	}
	return graph.TensorType(a.Elem, dims...)
}

// joinContent is the content of a value that has either.
func joinContent(a, b []graph.Dim) []graph.Dim {
	if a == nil || b == nil || len(a) != len(b) {
		return nil
	}
	out := make([]graph.Dim, len(a))
	for i := range out {
		if out[i] = a[i]; a[i] != b[i] {
			out[i] = graph.UnknownDim
		}
	}
	return out
}
