package runtime

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// FromArray copies an array read from a file.
func FromArray(a *data.Array) (*kernel.Tensor, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	switch d := a.Data.(type) {
	case []bool:
		return kernel.Of(d, a.Shape...), nil
	case []uint8:
		return kernel.Of(d, a.Shape...), nil
	case []uint16:
		return kernel.Of(d, a.Shape...), nil
	case []uint32:
		return kernel.Of(d, a.Shape...), nil
	case []uint64:
		return kernel.Of(d, a.Shape...), nil
	case []int8:
		return kernel.Of(d, a.Shape...), nil
	case []int16:
		return kernel.Of(d, a.Shape...), nil
	case []int32:
		return kernel.Of(d, a.Shape...), nil
	case []int64:
		return kernel.Of(d, a.Shape...), nil
	case []float32:
		return kernel.Of(d, a.Shape...), nil
	case []float64:
		return kernel.Of(d, a.Shape...), nil
	case []data.Half:
		t := kernel.New(graph.Float16, a.Shape...)
		for i, h := range d {
			kernel.Data[uint16](t)[i] = uint16(h)
		}
		return t, nil
	}
	return nil, fmt.Errorf("arrays of %T are not supported", a.Data)
}

// ToArray gives a tensor the form in which files are written; they share the elements, but for float16. NumPy has no
// bfloat16: that is an error.
func ToArray(t *kernel.Tensor) (*data.Array, error) {
	a := &data.Array{Shape: append([]int{}, t.Shape...)}
	switch t.Elem {
	case graph.Bool:
		a.Data = kernel.Data[bool](t)
	case graph.Uint8:
		a.Data = kernel.Data[uint8](t)
	case graph.Uint16:
		a.Data = kernel.Data[uint16](t)
	case graph.Uint32:
		a.Data = kernel.Data[uint32](t)
	case graph.Uint64:
		a.Data = kernel.Data[uint64](t)
	case graph.Int8:
		a.Data = kernel.Data[int8](t)
	case graph.Int16:
		a.Data = kernel.Data[int16](t)
	case graph.Int32:
		a.Data = kernel.Data[int32](t)
	case graph.Int64:
		a.Data = kernel.Data[int64](t)
	case graph.Float32:
		a.Data = kernel.Data[float32](t)
	case graph.Float64:
		a.Data = kernel.Data[float64](t)
	case graph.Float16:
		half := make([]data.Half, t.Len())
		for i, bits := range kernel.Data[uint16](t) {
			half[i] = data.Half(bits)
		}
		a.Data = half
	default:
		return nil, fmt.Errorf("arrays of %s cannot be written; cast to float", t.Elem)
	}
	return a, nil
}
