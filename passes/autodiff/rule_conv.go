package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// convRules are the rows of convolution and pooling.
func convRules() []Rule {
	return []Rule{
		{Op: "Conv", Kind: Bilinear, Diff: first3, VJP: vjpConv},
		{Op: "ConvTranspose", Kind: Bilinear, Diff: first3, VJP: vjpConvTranspose},
		{Op: "MaxPool", Kind: Smooth, Diff: only0, VJP: vjpMaxPool, JVP: jvpMaxPool},
		{Op: "AveragePool", Kind: Linear, Diff: only0, VJP: vjpAveragePool},
		{Op: "GlobalAveragePool", Kind: Linear, Diff: only0, VJP: vjpGlobalAveragePool},
		{Op: "GlobalMaxPool", Kind: Smooth, Diff: only0, VJP: pullOf(globalMaxPool), JVP: pushOf(globalMaxPool)},
		{Op: "LpPool", Kind: Smooth, Diff: only0, VJP: pullOf(lpPool), JVP: pushOf(lpPool)},
		{Op: "GlobalLpPool", Kind: Smooth, Diff: only0, VJP: pullOf(globalLpPool), JVP: pushOf(globalLpPool)},
		{Op: "Col2Im", Kind: Linear, Diff: only0, VJP: vjpCol2Im},
	}
}

// geometry is how a window slides over the spatial axes.
type geometry struct {
	kernel, strides, dilations []int64
	begin, end                 []int64 // padding
	group                      int64
}

func (g *geometry) rank() int { return len(g.kernel) }

// extent is how far a window reaches along axis i.
func (g *geometry) extent(i int) int64 { return g.dilations[i]*(g.kernel[i]-1) + 1 }

// attrs are the attributes of a Conv-like operator.
func (g *geometry) attrs() []graph.Attr {
	return []graph.Attr{
		graph.Is("strides", g.strides...), graph.Is("dilations", g.dilations...),
		graph.Is("pads", append(append([]int64{}, g.begin...), g.end...)...), graph.I("group", g.group),
	}
}

// geometry reads the node's attributes; x is the large side, y the small one. nil means that the node was reported.
func (c *Call) geometry(x, y *graph.Value, kernel []int64) *geometry {
	n, g := len(kernel), c.window(kernel)
	auto := c.N.Str("auto_pad", "NOTSET")
	if auto == "VALID" {
		return g
	}
	if auto == "NOTSET" {
		if pads := c.N.IntList("pads"); len(pads) == 2*n {
			copy(g.begin, pads)
			copy(g.end, pads[n:])
		}
		return g
	}
	for i := range n {
		total := g.extent(i) - 1
		if g.strides[i] != 1 {
			size, ok1 := x.Type.Dims[i+2].Size()
			out, ok2 := y.Type.Dims[i+2].Size()
			if !ok1 || !ok2 {
				c.unsupported("auto_pad=%s with a stride needs a known image size; fix the input shapes of the model", auto)
				return nil
			}
			total = max(0, (out-1)*g.strides[i]+g.extent(i)-size)
		}
		g.begin[i], g.end[i] = total/2, total-total/2
		if auto == "SAME_LOWER" {
			g.begin[i], g.end[i] = g.end[i], g.begin[i]
		}
	}
	return g
}

// kernelSize is the spatial shape of weight w, or nil if the node was reported.
func (c *Call) kernelSize(w *graph.Value) []int64 {
	if !w.Type.Ranked || w.Type.Rank() < 3 {
		c.unsupported("the shape of the weight %s is not known; fix the shapes of the model", w)
		return nil
	}
	var k []int64
	for _, d := range w.Type.Dims[2:] {
		n, ok := d.Size()
		if !ok {
			c.unsupported("the shape %s of the weight %s is not known; fix the shapes of the model", w.Type, w)
			return nil
		}
		k = append(k, n)
	}
	return k
}

func vjpConv(c *Call) []*graph.Value {
	x, w, g := c.In(0), c.In(1), c.d(0)
	kernel := c.kernelSize(w)
	if kernel == nil {
		return nil
	}
	if c.padsAtRun(x, len(kernel)) {
		return pullOf(func(c *Call) []*graph.Value { return c.padFirst(kernel) })(c)
	}
	geo := c.geometry(x, c.Out(0), kernel)
	if geo == nil {
		return nil
	}
	ct := make([]*graph.Value, 3)
	if c.wants(0) {
		ct[0] = c.spread(g, w, x, geo)
	}
	if c.wants(1) {
		ct[1] = c.correlate(x, g, w, geo)
	}
	if c.wants(2) {
		ct[2] = c.Sum(g, batchAxes(g.Type.Rank())...)
	}
	return ct
}

// vjpConvTranspose: the transposed convolution is the adjoint of Conv, so that the cotangent is a Conv of g.
func vjpConvTranspose(c *Call) []*graph.Value {
	x, w, g := c.In(0), c.In(1), c.d(0)
	kernel := c.kernelSize(w)
	if kernel == nil {
		return nil
	}
	if c.cropsAtRun(x) {
		return pullOf(func(c *Call) []*graph.Value { return c.cropLast(kernel) })(c)
	}
	geo := c.transposedGeometry(x, kernel)
	if geo == nil {
		return nil
	}
	ct := make([]*graph.Value, 3)
	if c.wants(0) {
		ct[0] = c.cutSpatial(c.Op("Conv", []*graph.Value{g, w}, geo.attrs()...), x)
	}
	if c.wants(1) {
		ct[1] = c.correlate(g, x, w, geo)
	}
	if c.wants(2) {
		ct[2] = c.Sum(g, batchAxes(g.Type.Rank())...)
	}
	return ct
}

// transposedGeometry is the geometry of the Conv of which a ConvTranspose node is the adjoint. With output_shape or
// auto_pad, the padding follows from the output size.
func (c *Call) transposedGeometry(x *graph.Value, kernel []int64) *geometry {
	y := c.Out(0)
	auto := c.N.Str("auto_pad", "NOTSET")
	if _, sized := c.N.Attr("output_shape"); !sized && (auto == "NOTSET" || auto == "VALID") {
		return c.geometry(y, x, kernel)
	}
	geo := c.geometry(y, x, kernel)
	if geo == nil {
		return nil
	}
	extra := c.N.IntList("output_padding")
	for i := range kernel {
		in, _ := x.Type.Dims[i+2].Size()
		out, _ := y.Type.Dims[i+2].Size()
		total := geo.strides[i]*(in-1) + geo.extent(i) - out
		if len(extra) == len(kernel) {
			total += extra[i]
		}
		total = max(total, 0)
		geo.begin[i] = total - total/2
		if auto == "SAME_UPPER" {
			geo.begin[i] = total / 2
		}
		geo.end[i] = total - geo.begin[i]
	}
	return geo
}

// spread is the adjoint of a convolution in its image: g spread by w over the spatial shape of like. Where the size is not
// known before the run, the result is made large enough and cut.
func (c *Call) spread(g, w, like *graph.Value, geo *geometry) *graph.Value {
	n := geo.rank()
	begin, end, extra := make([]int64, n), make([]int64, n), make([]int64, n)
	cut := false
	for i := range n {
		begin[i] = geo.begin[i]
		size, ok1 := like.Type.Dims[i+2].Size()
		out, ok2 := g.Type.Dims[i+2].Size()
		switch reach := (out-1)*geo.strides[i] + geo.extent(i); {
		case ok1 && ok2:
			end[i], extra[i] = max(0, reach-begin[i]-size), max(0, size+begin[i]-reach)
		case geo.strides[i] == 1:
			end[i] = geo.end[i]
		default:
			cut = true
		}
	}
	if cut {
		for i := range n {
			begin[i], end[i], extra[i] = 0, 0, geo.strides[i]-1
		}
	}
	attrs := []graph.Attr{
		graph.Is("strides", geo.strides...), graph.Is("dilations", geo.dilations...),
		graph.Is("pads", append(begin, end...)...), graph.I("group", geo.group),
	}
	for _, e := range extra {
		if e != 0 {
			attrs = append(attrs, graph.Is("output_padding", extra...))
			break
		}
	}
	dx := c.Op("ConvTranspose", []*graph.Value{g, w}, attrs...)
	if !cut {
		return dx
	}
	var ends []piece
	for i := range n {
		size := c.dimPiece(like, i+2)
		if size.v == nil {
			size.n += geo.begin[i]
		} else if geo.begin[i] != 0 {
			size.v = c.Add(size.v, c.Ints(geo.begin[i]))
		}
		ends = append(ends, size)
	}
	return c.Op("Slice", []*graph.Value{dx, c.Ints(geo.begin...), c.shape(ends...), c.Ints(spatialAxes(n + 2)...)})
}

// correlate is the adjoint of a convolution in its weight: x convolved with g as kernel, where strides and dilations
// change places and the batch is summed over like channels are. With groups, the groups of x take turns.
func (c *Call) correlate(x, g, w *graph.Value, geo *geometry) *graph.Value {
	n := geo.rank()
	swap := make([]int64, n+2)
	for i := range swap {
		swap[i] = int64(i)
	}
	swap[0], swap[1] = 1, 0
	swapped := *geo
	swapped.strides, swapped.dilations = geo.dilations, geo.strides
	dw := c.Op("Conv", []*graph.Value{c.groupsToBatch(x, geo.group, swap), c.Transpose(g, swap...)}, swapped.attrs()...)
	return c.Transpose(c.cutSpatial(dw, w), swap...)
}

// groupsToBatch turns [N, g*C, ...] to [C, g*N, ...].
func (c *Call) groupsToBatch(x *graph.Value, group int64, swap []int64) *graph.Value {
	if group == 1 {
		return c.Transpose(x, swap...)
	}
	var per piece // channels of a group
	if ch, ok := x.Type.Dims[1].Size(); ok {
		per = num(ch / group)
	} else {
		per = piece{v: c.Div(c.DimOf(x, 1), c.Ints(group))}
	}
	shape := []piece{per, num(-1)}
	for i := 2; i < x.Type.Rank(); i++ {
		shape = append(shape, c.dimPiece(x, i))
	}
	split := c.ReshapeTo(x, c.shape(num(0), num(group), per, num(-1)))
	return c.ReshapeTo(c.Transpose(split, 2, 1, 0, 3), c.shape(shape...))
}

// cutSpatial cuts the spatial axes of v to the size of like's, where v may be larger.
func (c *Call) cutSpatial(v, like *graph.Value) *graph.Value {
	var axes, starts []int64
	var ends []piece
	for i := 2; i < like.Type.Rank(); i++ {
		if d := like.Type.Dims[i]; d != v.Type.Dims[i] || d.IsUnknown() {
			axes, starts, ends = append(axes, int64(i)), append(starts, 0), append(ends, c.dimPiece(like, i))
		}
	}
	if axes == nil {
		return v
	}
	return c.Op("Slice", []*graph.Value{v, c.Ints(starts...), c.shape(ends...), c.Ints(axes...)})
}
