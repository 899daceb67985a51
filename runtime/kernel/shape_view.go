package kernel

import "github.com/asdlc/asdlc/graph"

// views are the operators that keep the bytes and change the shape only.
func views() []Row {
	var rows []Row
	for _, op := range []string{"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"} {
		rows = append(rows, Row{Op: op, View: true, InPlace: []int{0}, Note: "portable", Make: makeView})
	}
	return rows
}

func makeView(c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	if c.In[0].Len() != c.Out[0].Len() {
		return nil, c.Errorf(graph.ErrInvalid, "shapes %v and %v do not hold as many elements", c.In[0].Shape, c.Out[0].Shape)
	}
	if c.In[0].Elem != c.Out[0].Elem {
		return nil, c.Errorf(graph.ErrInvalid, "types %s and %s differ", c.In[0].Elem, c.Out[0].Elem)
	}
	var dst, src []byte
	body := func(lo, hi int) { copy(dst[lo:hi], src[lo:hi]) }
	return func(in, out []*Tensor) error {
		dst, src = out[0].Raw, in[0].Raw
		c.Pool.For(len(dst), 8*grainCheap, body)
		return nil
	}, nil
}
