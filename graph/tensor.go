package graph

import (
	"bytes"
	"fmt"
	"math"
	"unsafe"
)

// Tensor is a constant: row-major, little-endian, not to be changed once it is in a graph.
// Raw may be a view of a mapped file. Its address is aligned to the element size.
type Tensor struct {
	Elem  Elem
	Shape []int64
	Raw   []byte
}

// MaxTensorBytes bounds a single constant, against shapes that multiply past memory.
const MaxTensorBytes = 1 << 40

// CountOf returns the number of elements of a shape, or an error if a dimension is negative or the product
// overflows or passes MaxTensorBytes for elements of size elemSize.
func CountOf(shape []int64, elemSize int) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("negative dimension %d in shape %v", d, shape)
		}
	}
	for _, d := range shape {
		if d == 0 {
			return 0, nil
		}
	}
	limit := int64(MaxTensorBytes)
	if elemSize > 1 {
		limit /= int64(elemSize)
	}
	for _, d := range shape {
		if n > limit/d {
			return 0, fmt.Errorf("shape %v has too many elements (limit %d bytes)", shape, int64(MaxTensorBytes))
		}
		n *= d
	}
	return n, nil
}

// NewTensor is a zero tensor.
func NewTensor(e Elem, shape ...int64) (*Tensor, error) {
	if !e.Valid() {
		return nil, fmt.Errorf("no tensors of element type %s", e)
	}
	n, err := CountOf(shape, e.Size())
	if err != nil {
		return nil, err
	}
	return &Tensor{Elem: e, Shape: append([]int64{}, shape...), Raw: alignedBytes(int(n) * e.Size())}, nil
}

// alignedBytes allocates n zero bytes at an address that suits every element type.
func alignedBytes(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

// RawTensor wraps bytes as a tensor, copying them only if their address is not aligned.
func RawTensor(e Elem, shape []int64, raw []byte) (*Tensor, error) {
	if !e.Valid() {
		return nil, fmt.Errorf("no tensors of element type %s", e)
	}
	n, err := CountOf(shape, e.Size())
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != n*int64(e.Size()) {
		return nil, fmt.Errorf("tensor of type %s and shape %v needs %d bytes, has %d", e, shape, n*int64(e.Size()), len(raw))
	}
	if len(raw) > 0 && uintptr(unsafe.Pointer(&raw[0]))%uintptr(e.Size()) != 0 {
		raw = append(alignedBytes(len(raw))[:0], raw...)
	}
	return &Tensor{Elem: e, Shape: append([]int64{}, shape...), Raw: raw}, nil
}

// Number lists the Go types of tensor elements.
type Number interface {
	~float32 | ~float64 | ~uint8 | ~int8 | ~uint16 | ~int16 | ~int32 | ~int64 | ~uint32 | ~uint64 | ~bool
}

// ElemOf is the element type that goes with a Go type. (uint16 is Uint16; half floats have no Go type.)
func ElemOf[T Number]() Elem {
	var z T
	switch any(z).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case uint8:
		return Uint8
	case int8:
		return Int8
	case uint16:
		return Uint16
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case bool:
		return Bool
	}
	panic(fmt.Sprintf("BUG: no element type for %T", z))
}

// TensorOf copies data into a tensor of the given shape. It panics if the count is wrong: that is a bug of the caller.
func TensorOf[T Number](data []T, shape ...int64) *Tensor {
	t, err := NewTensor(ElemOf[T](), shape...)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if copy(Data[T](t), data) != len(data) || t.Len() != len(data) {
		panic(fmt.Sprintf("BUG: %d values for shape %v", len(data), shape))
	}
	return t
}

// Scalar is a 0-d tensor.
func Scalar[T Number](v T) *Tensor { return TensorOf([]T{v}) }

// Ints is a 1-d int64 tensor.
func Ints(v ...int64) *Tensor { return TensorOf(v, int64(len(v))) }

// Data views the elements without a copy; the caller must not write to a tensor that is in a graph.
// T must have the element's size and, except for 16-bit floats viewed as uint16, its type.
func Data[T Number](t *Tensor) []T {
	var z T
	if int(unsafe.Sizeof(z)) != t.Elem.Size() {
		panic(fmt.Sprintf("BUG: tensor of %s read as %T", t.Elem, z))
	}
	if len(t.Raw) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Raw[0])), len(t.Raw)/t.Elem.Size())
}

// Len is the number of elements.
func (t *Tensor) Len() int { return len(t.Raw) / t.Elem.Size() }

// Type is the static type of the tensor.
func (t *Tensor) Type() Type { return StaticType(t.Elem, t.Shape...) }

// Equal reports whether two tensors have the same type, shape and bits.
func (t *Tensor) Equal(o *Tensor) bool {
	if t == o {
		return true
	}
	if t == nil || o == nil || t.Elem != o.Elem || len(t.Shape) != len(o.Shape) {
		return false
	}
	for i := range t.Shape {
		if t.Shape[i] != o.Shape[i] {
			return false
		}
	}
	return bytes.Equal(t.Raw, o.Raw)
}

// Int64s returns the elements of an integer or bool tensor as int64; ok is false for other types.
func (t *Tensor) Int64s() (v []int64, ok bool) {
	switch t.Elem {
	case Int64:
		return Data[int64](t), true
	case Int32:
		return widen[int32](t), true
	case Int16:
		return widen[int16](t), true
	case Int8:
		return widen[int8](t), true
	case Uint8, Bool:
		return widen[uint8](&Tensor{Elem: Uint8, Shape: t.Shape, Raw: t.Raw}), true
	case Uint16:
		return widen[uint16](t), true
	case Uint32:
		return widen[uint32](t), true
	case Uint64:
		return widen[uint64](t), true
	}
	return nil, false
}

func widen[T int32 | int16 | int8 | uint8 | uint16 | uint32 | uint64](t *Tensor) []int64 {
	src := Data[T](t)
	out := make([]int64, len(src))
	for i, v := range src {
		out[i] = int64(v)
	}
	return out
}

// Float64s returns the elements of a floating-point tensor as float64; ok is false for other types.
func (t *Tensor) Float64s() (v []float64, ok bool) {
	out := make([]float64, t.Len())
	switch t.Elem {
	case Float64:
		copy(out, Data[float64](t))
	case Float32:
		for i, x := range Data[float32](t) {
			out[i] = float64(x)
		}
	case Float16:
		for i, h := range Data[uint16](t) {
			out[i] = float64(HalfToFloat32(h))
		}
	case BFloat16:
		for i, h := range Data[uint16](t) {
			out[i] = float64(math.Float32frombits(uint32(h) << 16))
		}
	default:
		return nil, false
	}
	return out, true
}

// HalfToFloat32 converts IEEE 754 binary16 bits.
func HalfToFloat32(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 0:
		f := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
