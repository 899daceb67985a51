package autodiff

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// padsAtRun reports whether the padding follows from image sizes that are only known at run time.
func (c *Call) padsAtRun(image *graph.Value, rank int) bool {
	strides := c.N.IntList("strides")
	if !strings.HasPrefix(c.N.Str("auto_pad", "NOTSET"), "SAME") || image.Type.Rank() != rank+2 {
		return false
	}
	for i := range rank {
		if _, known := image.Type.Dims[i+2].Size(); !known && i < len(strides) && strides[i] != 1 {
			return true
		}
	}
	return false
}

// cropsAtRun reports whether the padding of a transposed convolution follows from an image size that is only known at run
// time.
func (c *Call) cropsAtRun(x *graph.Value) bool {
	_, sized := c.N.Attr("output_shape")
	if !sized && !strings.HasPrefix(c.N.Str("auto_pad", "NOTSET"), "SAME") {
		return false
	}
	for _, d := range x.Type.Dims[2:] {
		if _, known := d.Size(); !known {
			return true
		}
	}
	return false
}

// halves splits the padding total of an axis.
func (c *Call) halves(total *graph.Value) (begin, end *graph.Value) {
	begin = c.Div(total, c.Ints(2))
	end = c.Sub(total, begin)
	if c.N.Str("auto_pad", "NOTSET") == "SAME_UPPER" {
		return begin, end
	}
	return end, begin
}

// atLeastZero is max(v, 0).
func (c *Call) atLeastZero(v *graph.Value) *graph.Value {
	return c.Op("Max", []*graph.Value{v, c.Ints(0)})
}

// window reads strides and dilations, and no padding.
func (c *Call) window(kernel []int64) *geometry {
	ones := func(name string) []int64 {
		if v := c.N.IntList(name); len(v) == len(kernel) {
			return v
		}
		v := make([]int64, len(kernel))
		for i := range v {
			v[i] = 1
		}
		return v
	}
	return &geometry{
		kernel: kernel, strides: ones("strides"), dilations: ones("dilations"), group: c.N.Int("group", 1),
		begin: make([]int64, len(kernel)), end: make([]int64, len(kernel)),
	}
}

// attrsBut are the node's attributes but for some.
func (c *Call) attrsBut(names ...string) []graph.Attr {
	var attrs []graph.Attr
next:
	for _, a := range c.N.Attrs() {
		for _, name := range names {
			if a.Name == name {
				continue next
			}
		}
		attrs = append(attrs, a)
	}
	return attrs
}

// padFirst writes a convolution or pooling with padding that depends on the image size: the image is padded, then the
// operator slides over it without padding.
func (c *Call) padFirst(kernel []int64) []*graph.Value {
	geo, n := c.window(kernel), len(kernel)
	pads := make([]piece, 2*(n+2))
	for i := range n {
		size, stride := c.tensor(c.dimPiece(c.In(0), i+2)), c.Ints(geo.strides[i])
		places := c.Div(c.Add(size, c.Ints(geo.strides[i]-1)), stride)
		reach := c.Add(c.Mul(c.Sub(places, c.Ints(1)), stride), c.Ints(geo.extent(i)))
		pads[i+2].v, pads[n+i+4].v = c.halves(c.atLeastZero(c.Sub(reach, size)))
	}
	slide := func(x *graph.Value) *graph.Value {
		in := append([]*graph.Value{c.Op("Pad", []*graph.Value{x, c.shape(pads...)})}, c.N.Inputs()[1:]...)
		return c.Op(c.N.Op, in, c.attrsBut("auto_pad")...)
	}
	y := slide(c.In(0))
	if c.N.Op == "AveragePool" && c.N.Int("count_include_pad", 0) == 0 {
		y = c.Div(y, slide(c.OnesLike(c.In(0))))
	}
	return []*graph.Value{y}
}

// cropLast writes a transposed convolution whose padding depends on the image size: all of the output is computed, and cut
// or extended to its size. The bias comes last.
func (c *Call) cropLast(kernel []int64) []*graph.Value {
	geo, n := c.window(kernel), len(kernel)
	x, w := c.In(0), c.In(1)
	extra, wanted := c.N.IntList("output_padding"), c.N.IntList("output_shape")
	pads := make([]piece, 2*(n+2))
	for i := range n {
		size, stride := c.tensor(c.dimPiece(x, i+2)), c.Ints(geo.strides[i])
		full := c.Add(c.Mul(c.Sub(size, c.Ints(1)), stride), c.Ints(geo.extent(i)))
		out, more := c.Mul(size, stride), int64(0)
		if len(extra) == n {
			more = extra[i]
		}
		if len(wanted) == n {
			out = c.Ints(wanted[i])
		}
		begin, _ := c.halves(c.atLeastZero(c.Add(c.Sub(full, out), c.Ints(more))))
		pads[i+2].v = c.Neg(begin)
		pads[n+i+4].v = c.Add(c.Sub(out, full), begin)
	}
	all := c.Op("ConvTranspose", []*graph.Value{x, w}, c.attrsBut("auto_pad", "output_shape", "output_padding", "pads")...)
	y := c.Op("Pad", []*graph.Value{all, c.shape(pads...)})
	if b := c.In(2); b != nil {
		y = c.Add(y, c.perChannel(b, n+2))
	}
	return []*graph.Value{y}
}
