package data

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Elem is the element type of an [Array].
type Elem uint8

// The element types that arrays can have. Invalid is the zero value.
const (
	Invalid Elem = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	Float16
	Float32
	Float64
)

// elems has a row per element type: its name as in ONNX's text form, its bytes per element, numpy's code for it and the
// code of the idx format (0 where the format has none).
var elems = [...]struct {
	name string
	size int
	npy  string
	idx  byte
}{
	Invalid: {name: "invalid"},
	Bool:    {"bool", 1, "b1", 0},
	Uint8:   {"uint8", 1, "u1", 0x08},
	Uint16:  {"uint16", 2, "u2", 0},
	Uint32:  {"uint32", 4, "u4", 0},
	Uint64:  {"uint64", 8, "u8", 0},
	Int8:    {"int8", 1, "i1", 0x09},
	Int16:   {"int16", 2, "i2", 0x0B},
	Int32:   {"int32", 4, "i4", 0x0C},
	Int64:   {"int64", 8, "i8", 0},
	Float16: {"float16", 2, "f2", 0},
	Float32: {"float", 4, "f4", 0x0D},
	Float64: {"double", 8, "f8", 0x0E},
}

// String gives the name of the type as ONNX writes it: float, double, int64, ...
func (e Elem) String() string {
	if int(e) >= len(elems) {
		return fmt.Sprintf("Elem(%d)", uint8(e))
	}
	return elems[e].name
}

// Size is the number of bytes of one element in a file.
func (e Elem) Size() int { return elems[e].size }

// Half is a float16 (IEEE 754 binary16) as its bits; arrays carry it without computing on it.
type Half uint16

// Float32 returns the value, which float32 always represents exactly.
func (h Half) Float32() float32 {
	sign := uint32(h>>15) << 31
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h) & 0x3ff
	switch {
	case exp == 0: // zero or subnormal: frac · 2⁻²⁴
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case exp == 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// Array is a dense array in row-major (C) order.
type Array struct {
	Shape []int // dimensions; empty for a scalar, which has one element
	Data  any   // the elements: []bool, []uint8 … []uint64, []int8 … []int64, []Half, []float32 or []float64
}

// Elem is the element type, read off the type of Data; Invalid when Data is of no type that arrays can have.
func (a *Array) Elem() Elem {
	e, _ := a.storage()
	return e
}

// Len is the number of elements that Data holds.
func (a *Array) Len() int {
	_, n := a.storage()
	return n
}

func (a *Array) storage() (Elem, int) {
	switch d := a.Data.(type) {
	case []bool:
		return Bool, len(d)
	case []uint8:
		return Uint8, len(d)
	case []uint16:
		return Uint16, len(d)
	case []uint32:
		return Uint32, len(d)
	case []uint64:
		return Uint64, len(d)
	case []int8:
		return Int8, len(d)
	case []int16:
		return Int16, len(d)
	case []int32:
		return Int32, len(d)
	case []int64:
		return Int64, len(d)
	case []Half:
		return Float16, len(d)
	case []float32:
		return Float32, len(d)
	case []float64:
		return Float64, len(d)
	}
	return Invalid, 0
}

// Check reports an array whose Data is of no known type or does not fill its Shape.
func (a *Array) Check() error {
	if err := a.check(); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

func (a *Array) check() error {
	e, n := a.storage()
	if e == Invalid {
		return fmt.Errorf("elements are %T; use a slice of bool, an integer type, data.Half, float32 or float64", a.Data)
	}
	want, err := product(a.Shape)
	if err != nil {
		return fmt.Errorf("shape %v: %w", a.Shape, err)
	}
	if n != want {
		return fmt.Errorf("shape %v has %d elements; it needs %d", a.Shape, n, want)
	}
	return nil
}

// Number is a type that [As] can give.
type Number interface {
	~int | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int8 | ~int16 | ~int32 | ~int64 | ~float32 | ~float64
}

// As returns the elements converted to T by Go's conversion rules, with false as 0 and true as 1. It is the storage
// itself, not a copy, when the elements are of that type already. An array that fails [Array.Check] is an error.
func As[T Number](a *Array) ([]T, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	switch d := a.Data.(type) {
	case []T:
		return d, nil
	case []bool:
		out := make([]T, len(d))
		for i, b := range d {
			if b {
				out[i] = 1
			}
		}
		return out, nil
	case []Half:
		out := make([]T, len(d))
		for i, h := range d {
			out[i] = T(h.Float32())
		}
		return out, nil
	case []uint8:
		return convert[T](d), nil
	case []uint16:
		return convert[T](d), nil
	case []uint32:
		return convert[T](d), nil
	case []uint64:
		return convert[T](d), nil
	case []int8:
		return convert[T](d), nil
	case []int16:
		return convert[T](d), nil
	case []int32:
		return convert[T](d), nil
	case []int64:
		return convert[T](d), nil
	case []float32:
		return convert[T](d), nil
	case []float64:
		return convert[T](d), nil
	}
	panic("BUG: data: Check passed an array of unknown element type")
}

func convert[D, S Number](src []S) []D {
	dst := make([]D, len(src))
	for i, v := range src {
		dst[i] = D(v)
	}
	return dst
}

var (
	errNegativeDim = errors.New("negative dimension")
	errTooLarge    = errors.New("more elements than memory can address")
)

// product multiplies dimensions and reports overflow, so that no header can make a small allocation look sufficient.
func product(shape []int) (int, error) {
	n, over := uint64(1), false
	for _, d := range shape {
		if d < 0 {
			return 0, errNegativeDim
		}
		if d == 0 {
			return 0, nil
		}
		hi, lo := bits.Mul64(n, uint64(d))
		over = over || hi != 0 || lo > math.MaxInt/8 // 8 bytes is the largest element
		n = lo
	}
	if over {
		return 0, errTooLarge
	}
	return int(n), nil
}
