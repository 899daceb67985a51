package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

func linearIn(l pass.Layer) int64 {
	if l.Node.Str("layout", "oi") == "io" {
		return side(l.W, 0)
	}
	return side(l.W, 1)
}

func linearOut(l pass.Layer) int64 {
	if l.Node.Str("layout", "oi") == "io" {
		return side(l.W, 1)
	}
	return side(l.W, 0)
}

// linearRowsIn flattens positions into rows; under sharing reduce it averages the inputs over them (Eschenhagen et al.
// 2023).
func linearRowsIn(e *engine, b *op.Builder, l pass.Layer) *graph.Value {
	x := l.X
	if x.Type.Rank() > 2 && e.reduces() {
		x = b.Reduce("ReduceMean", x, false, middle(x)...)
	}
	return rows2(b, x, linearIn(l))
}

// linearRowsOut flattens positions into rows; under sharing reduce it sums the output gradients over them.
func linearRowsOut(e *engine, b *op.Builder, l pass.Layer, g *graph.Value) *graph.Value {
	if g.Type.Rank() > 2 && e.reduces() {
		g = b.Sum(g, middle(g)...)
	}
	return rows2(b, g, linearOut(l))
}

func (e *engine) reduces() bool { return e.rec.Curvature.Sharing == "reduce" }

func middle(x *graph.Value) []int64 {
	var axes []int64
	for i := 1; i < x.Type.Rank()-1; i++ {
		axes = append(axes, int64(i))
	}
	return axes
}

func rows2(b *op.Builder, x *graph.Value, width int64) *graph.Value {
	switch x.Type.Rank() {
	case 1:
		return b.Unsqueeze(x, 0)
	case 2:
		return x
	}
	return b.Reshape(x, -1, width)
}

func convIn(l pass.Layer) int64 {
	n := int64(1)
	for i := 1; i < l.W.Type.Rank(); i++ {
		n *= side(l.W, i)
	}
	return n
}

func convOut(l pass.Layer) int64 { return side(l.W, 0) }

// convRowsIn lists the patches under the kernel, one row per example and output position, ordered (channel, kernel
// positions) as the flattened weight; under sharing reduce their mean over positions.
func convRowsIn(e *engine, b *op.Builder, l pass.Layer) *graph.Value {
	p := patches(b, l)
	if e.reduces() {
		return b.Reduce("ReduceMean", p, false, spatial(p)...)
	}
	return channelRows(b, p, convIn(l))
}

func convRowsOut(e *engine, b *op.Builder, l pass.Layer, g *graph.Value) *graph.Value {
	if e.reduces() {
		return b.Sum(g, spatial(g)...)
	}
	return channelRows(b, g, convOut(l))
}

func spatial(x *graph.Value) []int64 {
	var axes []int64
	for i := 2; i < x.Type.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	return axes
}

// channelRows brings [N, C, ...] to [N*..., C].
func channelRows(b *op.Builder, x *graph.Value, channels int64) *graph.Value {
	perm := []int64{0}
	for i := 2; i < x.Type.Rank(); i++ {
		perm = append(perm, int64(i))
	}
	return b.Reshape(b.Transpose(x, append(perm, 1)...), -1, channels)
}

// patches is [N, c*k, ...]: what each output position of a convolution sees, by a convolution with one-hot filters.
func patches(b *op.Builder, l pass.Layer) *graph.Value {
	kernel := l.Node.IntList("kernel_shape")
	k := int64(1)
	for _, n := range kernel {
		k *= n
	}
	channels := side(l.W, 1)
	// one-hot filters [k, 1, kernel...] of one channel
	eyes, err := graph.NewTensor(l.W.Type.Elem, append([]int64{k, 1}, kernel...)...)
	if err != nil {
		b.Fail(err)
		return l.X
	}
	for i := range k {
		setOne(eyes, int(i*k+i))
	}
	filters := b.Const("patches", eyes)
	if channels > 1 {
		repeats := make([]int64, len(kernel)+2)
		for i := range repeats {
			repeats[i] = 1
		}
		repeats[0] = channels
		filters = b.Op("Tile", []*graph.Value{filters, b.Ints(repeats...)})
	}
	attrs := []graph.Attr{graph.I("group", channels), graph.Is("kernel_shape", kernel...)}
	for _, name := range []string{"strides", "pads", "dilations"} {
		if v := l.Node.IntList(name); v != nil {
			attrs = append(attrs, graph.Is(name, v...))
		}
	}
	return b.Op("Conv", []*graph.Value{l.X, filters}, attrs...)
}

func setOne(t *graph.Tensor, i int) {
	if t.Elem == graph.Float64 {
		graph.Data[float64](t)[i] = 1
		return
	}
	graph.Data[float32](t)[i] = 1
}
