package runtime

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// FromDense copies a Gorgonia tensor. Views and column-major tensors are made contiguous.
func FromDense(d *tensor.Dense) (*kernel.Tensor, error) {
	e := lower.ElemOf(d.Dtype())
	if !e.Valid() {
		return nil, fmt.Errorf("tensors of type %v are not supported", d.Dtype())
	}
	t := kernel.New(e, d.Shape()...)
	if t.Len() == 0 {
		return t, nil
	}
	if d.RequiresIterator() || d.DataOrder().IsColMajor() {
		c, ok := d.Materialize().(*tensor.Dense)
		if !ok {
			return nil, fmt.Errorf("a tensor of shape %v cannot be made contiguous", d.Shape())
		}
		if c.DataOrder().IsColMajor() {
			return fromColumns(c, t)
		}
		d = c
	}
	if len(d.Raw) < len(t.Raw) {
		return nil, fmt.Errorf("a tensor of shape %v holds %d bytes, want %d", d.Shape(), len(d.Raw), len(t.Raw))
	}
	copy(t.Raw, d.Raw)
	return t, nil
}

// fromColumns copies a column-major tensor element by element.
func fromColumns(d *tensor.Dense, t *kernel.Tensor) (*kernel.Tensor, error) {
	size := t.Elem.Size()
	index := make([]int, len(t.Shape))
	for i := range t.Len() {
		at := 0
		for k, s := range d.Strides() {
			at += index[k] * s
		}
		copy(t.Raw[i*size:][:size], d.Raw[at*size:][:size])
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < t.Shape[k] {
				break
			}
			index[k] = 0
		}
	}
	return t, nil
}

// ToDense copies t into a Gorgonia tensor. Gorgonia has no empty tensors and no 16-bit floats: both are errors.
func ToDense(t *kernel.Tensor) (*tensor.Dense, error) {
	if t.Len() == 0 {
		return nil, fmt.Errorf("gorgonia.org/tensor cannot hold an empty tensor of shape %v", t.Shape)
	}
	switch t.Elem {
	case graph.Float16, graph.BFloat16:
		return nil, fmt.Errorf("gorgonia.org/tensor cannot hold elements of type %s; cast to float", t.Elem)
	}
	d := tensor.New(tensor.Of(lower.Dtype(t.Elem)), tensor.WithShape(t.Shape...))
	copy(d.Raw, t.Raw)
	return d, nil
}

// ViewDense is FromDense without a copy where d is contiguous: the result shares its memory.
func ViewDense(d *tensor.Dense) (*kernel.Tensor, error) {
	e := lower.ElemOf(d.Dtype())
	if !e.Valid() || d.RequiresIterator() || d.DataOrder().IsColMajor() {
		return FromDense(d)
	}
	t := &kernel.Tensor{Elem: e, Shape: append([]int{}, d.Shape()...)}
	n := t.Len() * e.Size()
	if len(d.Raw) < n {
		return nil, fmt.Errorf("a tensor of shape %v holds %d bytes, want %d", d.Shape(), len(d.Raw), n)
	}
	t.Raw = d.Raw[:n:n]
	return t, nil
}
