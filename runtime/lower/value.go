package lower

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Half and BHalf are the Go types behind the Gorgonia dtypes of float16 and bfloat16: the bits.
type (
	Half  uint16
	BHalf uint16
)

var dtypes = [...]tensor.Dtype{
	graph.Undefined: {Type: reflect.TypeFor[struct{}]()},
	graph.Float32:   tensor.Float32,
	graph.Uint8:     tensor.Uint8,
	graph.Int8:      tensor.Int8,
	graph.Uint16:    tensor.Uint16,
	graph.Int16:     tensor.Int16,
	graph.Int32:     tensor.Int32,
	graph.Int64:     tensor.Int64,
	graph.String:    tensor.String,
	graph.Bool:      tensor.Bool,
	graph.Float16:   {Type: reflect.TypeFor[Half]()},
	graph.Float64:   tensor.Float64,
	graph.Uint32:    tensor.Uint32,
	graph.Uint64:    tensor.Uint64,
	graph.BFloat16:  {Type: reflect.TypeFor[BHalf]()},
}

// Dtype is Gorgonia's name of an element type.
func Dtype(e graph.Elem) tensor.Dtype {
	if int(e) >= len(dtypes) || dtypes[e].Type == nil {
		return dtypes[graph.Undefined]
	}
	return dtypes[e]
}

// ElemOf is the element type of a Gorgonia dtype; Undefined if there is none.
func ElemOf(dt tensor.Dtype) graph.Elem {
	for e, d := range dtypes {
		if d.Type != nil && d == dt {
			return graph.Elem(e)
		}
	}
	return graph.Undefined
}

// nodeType is the Gorgonia type of values of an IR type: a bare dtype for scalars. Unknown rank counts as rank 1.
func nodeType(t graph.Type) hm.Type {
	switch t.Rank() {
	case 0:
		return Dtype(t.Elem)
	case -1:
		return gorgonia.TensorType{Dims: 1, Of: Dtype(t.Elem)}
	}
	return gorgonia.TensorType{Dims: t.Rank(), Of: Dtype(t.Elem)}
}

// nodeShape is the Gorgonia shape, with -1 for a dimension that is not known.
func nodeShape(t graph.Type) tensor.Shape {
	if !t.Ranked {
		return tensor.Shape{-1}
	}
	shape := make(tensor.Shape, len(t.Dims))
	for i, d := range t.Dims {
		n, ok := d.Size()
		if !ok {
			n = -1
		}
		shape[i] = int(n)
	}
	return shape
}

// Value is a tensor as Gorgonia sees it. Unlike *tensor.Dense it can be empty, has no data of its own and is cheap.
type Value struct{ T *kernel.Tensor }

var _ gorgonia.Value = Value{}

// Shape implements gorgonia.Value.
func (v Value) Shape() tensor.Shape { return tensor.Shape(v.T.Shape) }

// Size is the number of elements.
func (v Value) Size() int { return v.T.Len() }

// Dtype implements gorgonia.Value.
func (v Value) Dtype() tensor.Dtype { return Dtype(v.T.Elem) }

// Data is the bytes; kernel.Data views them as elements.
func (v Value) Data() interface{} { return v.T.Raw }

// Uintptr is the address of the bytes; 0 for an empty tensor.
func (v Value) Uintptr() uintptr {
	if len(v.T.Raw) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&v.T.Raw[0]))
}

// MemSize is the number of bytes.
func (v Value) MemSize() uintptr { return uintptr(len(v.T.Raw)) }

// Type implements gorgonia.Typer.
func (v Value) Type() hm.Type {
	if len(v.T.Shape) == 0 {
		return v.Dtype()
	}
	return gorgonia.TensorType{Dims: len(v.T.Shape), Of: v.Dtype()}
}

// Clone implements gorgonia.CloneErrorer.
func (v Value) Clone() (interface{}, error) { return Value{Copy(v.T)}, nil }

// Format implements fmt.Formatter: type and shape.
func (v Value) Format(s fmt.State, _ rune) { fmt.Fprint(s, v.T.String()) }

// Copy is a tensor of its own with t's contents.
func Copy(t *kernel.Tensor) *kernel.Tensor {
	c := kernel.New(t.Elem, t.Shape...)
	copy(c.Raw, t.Raw)
	return c
}

// Tuple is the result of a node with several outputs. A missing output is nil.
type Tuple []*kernel.Tensor

var (
	_ gorgonia.Value = Tuple{}

	tupleType = tensor.Dtype{Type: reflect.TypeFor[Tuple]()}
)

// Shape implements gorgonia.Value: a tuple is a scalar of its own dtype.
func (t Tuple) Shape() tensor.Shape { return tensor.ScalarShape() }

// Size implements gorgonia.Value.
func (t Tuple) Size() int { return 0 }

// Data implements gorgonia.Value.
func (t Tuple) Data() interface{} { return []*kernel.Tensor(t) }

// Dtype implements gorgonia.Value.
func (t Tuple) Dtype() tensor.Dtype { return tupleType }

// Uintptr implements tensor.Memory.
func (t Tuple) Uintptr() uintptr { return 0 }

// MemSize implements tensor.Memory.
func (t Tuple) MemSize() uintptr { return 0 }

// Type implements gorgonia.Typer.
func (t Tuple) Type() hm.Type { return tupleType }

// Format implements fmt.Formatter.
func (t Tuple) Format(s fmt.State, _ rune) { fmt.Fprint(s, []*kernel.Tensor(t)) }
