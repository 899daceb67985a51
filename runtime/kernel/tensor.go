// Package kernel computes operators on dense tensors in memory: the registry of kernels, the portable kernels in Go,
// which are also the oracle of the faster ones, and the matrix product.
package kernel

import (
	"fmt"
	"unsafe"

	"github.com/asdlc/asdlc/graph"
)

// Tensor is a dense row-major tensor at run time. The VM owns Raw and may move it between runs; kernels read it on
// every run and keep no slice of it.
type Tensor struct {
	Elem  graph.Elem
	Shape []int
	Raw   []byte // exactly Len()*Elem.Size() bytes, aligned to 64 where the VM allocated it
}

// New is a zero tensor.
func New(e graph.Elem, shape ...int) *Tensor {
	t := &Tensor{Elem: e, Shape: append([]int{}, shape...)}
	t.Raw = Aligned(t.Len() * e.Size())
	return t
}

// Of copies data into a new tensor.
func Of[T graph.Number](data []T, shape ...int) *Tensor {
	t := New(graph.ElemOf[T](), shape...)
	if t.Len() != len(data) {
		panic(fmt.Sprintf("BUG: %d values for shape %v", len(data), shape))
	}
	copy(Data[T](t), data)
	return t
}

// FromConst views a constant of the graph; the result must not be written to.
func FromConst(c *graph.Tensor) *Tensor {
	t := &Tensor{Elem: c.Elem, Raw: c.Raw, Shape: make([]int, len(c.Shape))}
	for i, n := range c.Shape {
		t.Shape[i] = int(n)
	}
	return t
}

// Const copies t into a constant for the graph.
func (t *Tensor) Const() *graph.Tensor {
	shape := make([]int64, len(t.Shape))
	for i, n := range t.Shape {
		shape[i] = int64(n)
	}
	c, err := graph.RawTensor(t.Elem, shape, append(Aligned(len(t.Raw))[:0], t.Raw...))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return c
}

// Aligned allocates n zero bytes at a multiple of 64.
func Aligned(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	const align = 64
	words := make([]uint64, (n+align+7)/8)
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	preferLargePages(buf)
	off := int(-uintptr(unsafe.Pointer(&buf[0])) & (align - 1))
	return buf[off : off+n : off+n]
}

// Len is the number of elements that the shape holds.
func (t *Tensor) Len() int { return Count(t.Shape) }

// Count is the product of a shape.
func Count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Data views the elements of t as T, which must have the element's size (16-bit floats are read as uint16, bool as
// bool or uint8).
func Data[T graph.Number](t *Tensor) []T {
	var z T
	if int(unsafe.Sizeof(z)) != t.Elem.Size() {
		panic(fmt.Sprintf("BUG: tensor of %s read as %T", t.Elem, z))
	}
	if len(t.Raw) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Raw[0])), len(t.Raw)/t.Elem.Size())
}

// String is type and shape, for messages.
func (t *Tensor) String() string { return fmt.Sprintf("%s%v", t.Elem, t.Shape) }
