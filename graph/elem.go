package graph

import "fmt"

// Elem is a tensor element type. The numbers are those of ONNX TensorProto.DataType.
type Elem uint8

// Element types.
const (
	Undefined Elem = 0
	Float32   Elem = 1
	Uint8     Elem = 2
	Int8      Elem = 3
	Uint16    Elem = 4
	Int16     Elem = 5
	Int32     Elem = 6
	Int64     Elem = 7
	String    Elem = 8
	Bool      Elem = 9
	Float16   Elem = 10
	Float64   Elem = 11
	Uint32    Elem = 12
	Uint64    Elem = 13
	BFloat16  Elem = 16
)

var elems = [...]struct {
	name string
	size int
}{
	Undefined: {"undefined", 0},
	Float32:   {"float", 4},
	Uint8:     {"uint8", 1},
	Int8:      {"int8", 1},
	Uint16:    {"uint16", 2},
	Int16:     {"int16", 2},
	Int32:     {"int32", 4},
	Int64:     {"int64", 8},
	String:    {"string", 0},
	Bool:      {"bool", 1},
	Float16:   {"float16", 2},
	Float64:   {"double", 8},
	Uint32:    {"uint32", 4},
	Uint64:    {"uint64", 8},
	BFloat16:  {"bfloat16", 2},
}

// String returns the name of ONNX's textual syntax ("float", "double", "int64", ...).
func (e Elem) String() string {
	if int(e) < len(elems) && elems[e].name != "" {
		return elems[e].name
	}
	return fmt.Sprintf("elem(%d)", uint8(e))
}

// Valid reports whether e is a type that a tensor of this package can hold (strings are not).
func (e Elem) Valid() bool { return int(e) < len(elems) && elems[e].size > 0 }

// Size is the number of bytes of one element; 0 for types that are not Valid.
func (e Elem) Size() int {
	if int(e) < len(elems) {
		return elems[e].size
	}
	return 0
}

// IsFloat reports whether e is a floating-point type.
func (e Elem) IsFloat() bool {
	return e == Float32 || e == Float64 || e == Float16 || e == BFloat16
}

// IsInt reports whether e is a signed or unsigned integer type.
func (e Elem) IsInt() bool {
	switch e {
	case Uint8, Int8, Uint16, Int16, Int32, Int64, Uint32, Uint64:
		return true
	}
	return false
}

// ParseElem is the inverse of String.
func ParseElem(name string) (Elem, bool) {
	for i, e := range elems {
		if e.name == name && i != 0 {
			return Elem(i), true
		}
	}
	return Undefined, false
}
