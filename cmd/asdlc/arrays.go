package main

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// toTensor copies an array of a file into a tensor.
func toTensor(a *data.Array) (*kernel.Tensor, error) {
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
		bits := kernel.Data[uint16](t)
		for i, h := range d {
			bits[i] = uint16(h)
		}
		return t, nil
	}
	return nil, fmt.Errorf("elements of type %s", a.Elem())
}

// fromTensor copies a tensor into an array for a file.
func fromTensor(t *kernel.Tensor) *data.Array {
	a := &data.Array{Shape: append([]int{}, t.Shape...)}
	switch t.Elem {
	case graph.Bool:
		a.Data = copied[bool](t)
	case graph.Uint8:
		a.Data = copied[uint8](t)
	case graph.Uint16:
		a.Data = copied[uint16](t)
	case graph.Uint32:
		a.Data = copied[uint32](t)
	case graph.Uint64:
		a.Data = copied[uint64](t)
	case graph.Int8:
		a.Data = copied[int8](t)
	case graph.Int16:
		a.Data = copied[int16](t)
	case graph.Int32:
		a.Data = copied[int32](t)
	case graph.Int64:
		a.Data = copied[int64](t)
	case graph.Float32:
		a.Data = copied[float32](t)
	case graph.Float64:
		a.Data = copied[float64](t)
	case graph.Float16:
		half := make([]data.Half, 0, t.Len())
		for _, bits := range kernel.Data[uint16](t) {
			half = append(half, data.Half(bits))
		}
		a.Data = half
	case graph.BFloat16: // npy has no bfloat16: the values as float32
		wide, _ := t.Const().Float64s()
		narrow := make([]float32, len(wide))
		for i, v := range wide {
			narrow[i] = float32(v)
		}
		a.Data = narrow
	default:
		panic("BUG: output of type " + t.Elem.String())
	}
	return a
}

func copied[T graph.Number](t *kernel.Tensor) []T {
	return append(make([]T, 0, t.Len()), kernel.Data[T](t)...)
}

// floatTo converts between float32 and float64; other types and equal ones are left as they are.
func floatTo(t *kernel.Tensor, e graph.Elem) *kernel.Tensor {
	switch {
	case t.Elem == graph.Float32 && e == graph.Float64:
		out := kernel.New(e, t.Shape...)
		for i, v := range kernel.Data[float32](t) {
			kernel.Data[float64](out)[i] = float64(v)
		}
		return out
	case t.Elem == graph.Float64 && e == graph.Float32:
		out := kernel.New(e, t.Shape...)
		for i, v := range kernel.Data[float64](t) {
			kernel.Data[float32](out)[i] = float32(v)
		}
		return out
	}
	return t
}
