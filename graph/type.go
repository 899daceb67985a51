package graph

import "strings"

// Type is what is known of a tensor value: element type, and shape as far as known.
type Type struct {
	Elem   Elem // Undefined when unknown
	Ranked bool // whether the number of dimensions is known
	Dims   []Dim
}

// TensorType is a type of known rank.
func TensorType(e Elem, dims ...Dim) Type { return Type{Elem: e, Ranked: true, Dims: dims} }

// StaticType is a type whose every dimension is known.
func StaticType(e Elem, shape ...int64) Type {
	dims := make([]Dim, len(shape))
	for i, n := range shape {
		dims[i] = Known(n)
	}
	return TensorType(e, dims...)
}

// UnrankedType is a type of unknown shape.
func UnrankedType(e Elem) Type { return Type{Elem: e} }

// Rank is the number of dimensions, or -1 when unknown.
func (t Type) Rank() int {
	if !t.Ranked {
		return -1
	}
	return len(t.Dims)
}

// Static returns the shape if every dimension is known.
func (t Type) Static() ([]int64, bool) {
	if !t.Ranked {
		return nil, false
	}
	shape := make([]int64, len(t.Dims))
	for i, d := range t.Dims {
		n, ok := d.Size()
		if !ok {
			return nil, false
		}
		shape[i] = n
	}
	return shape, true
}

// Equal reports whether two types say the same.
func (t Type) Equal(o Type) bool {
	if t.Elem != o.Elem || t.Ranked != o.Ranked || len(t.Dims) != len(o.Dims) {
		return false
	}
	for i := range t.Dims {
		if t.Dims[i] != o.Dims[i] {
			return false
		}
	}
	return true
}

// WithElem is t with another element type.
func (t Type) WithElem(e Elem) Type {
	t.Elem = e
	return t
}

// String prints as ONNX's textual syntax, but for quotes: float[N,2*M], float for a scalar, float[] for an unknown shape.
func (t Type) String() string {
	if !t.Ranked {
		return t.Elem.String() + "[]"
	}
	if len(t.Dims) == 0 {
		return t.Elem.String()
	}
	var sb strings.Builder
	sb.WriteString(t.Elem.String())
	sb.WriteByte('[')
	for i, d := range t.Dims {
		if i > 0 {
			sb.WriteByte(',')
		}
		sb.WriteString(d.String())
	}
	sb.WriteByte(']')
	return sb.String()
}
