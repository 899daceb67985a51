package precondition

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// gramBlock preconditions a layer by its own Fisher matrix F = U^T U / n through the Gram matrix of the rows of U, the gradients
// of single examples (SENG: Yang, Xu, Wen, Chen & Xu 2022, section 3; by Sherman, Morrison and Woodbury):
//
//	(F + lambda I)^-1 g = (g - U^T v / n) / lambda,  v = (lambda I + U U^T / n)^-1 U g
//
// n is the data size. Nothing outlives the step: there is no state. Under preset asdl a bias is left out of U U^T and U g, but
// not of U^T v.
func gramBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	in := sketch{n: v.in, all: v.in, name: "inputs"}
	if v.l.B != nil && !v.joint {
		v.joint = true
		v.in++
		in.all++
	}
	out := sketch{n: v.out, all: v.out, name: "outputs"}
	bl := v.block()
	bl.always, bl.guard, bl.inverts = true, true, true
	bl.note.Treatment = fmt.Sprintf("Gram matrix of gradients %dx%d", v.out, v.in) + positionNotes[e.rec.Curvature.Sharing]
	for _, s := range []*sketch{&in, &out} {
		if k := int64(e.rec.Representation.Sketch); k > 0 && k < s.n {
			s.take = k
			bl.note.Treatment += fmt.Sprintf(", %d of %d %s", k, s.n, s.name)
		}
	}
	bl.note.Treatment += v.each()
	bl.apply = func(b *op.Builder, grads, _, _ []*graph.Value) []*graph.Value {
		x := e.examples(b, cap, func(l pass.Layer, g *graph.Value) (*graph.Value, *graph.Value) {
			return v.examples(b, v.inputs(b, l, e.reduces()), v.plain()), v.examples(b, v.outputs(b, l, g, e.reduces()), v.out)
		})
		x.a = v.withOnes(b, x.a)
		g := v.gradient(b, grads)
		y, h := x, g
		y.a, h = in.of(e, b, v.l, x.a, g, -1)
		y.d, h = out.of(e, b, v.l, x.d, h, -2)
		return v.parameters(b, e.woodbury(b, x, y, g, h), nil, grads)
	}
	return bl
}

// positionNotes say what the rows of U are for layers used at several positions; by default sums over them.
var positionNotes = map[string]string{
	"reduce": ", of mean inputs and summed output gradients over positions",
	"expand": ", one a position",
}

// normBlock is the block of a normalisation layer.
func normBlock(e *engine, cap *captured) *block {
	if e.rec.Fallback.Norm == "gram" {
		return gramNormBlock(e, cap)
	}
	return unitBlock(e, cap)
}

// gramNormBlock is the block of a normalisation layer. The gradient of an example is a row [dw, db], of one output with the
// gradient 1.
func gramNormBlock(e *engine, cap *captured) *block {
	l := cap.layers[0]
	bl := &block{name: l.Name, params: l.Params(), always: true, guard: true, inverts: true}
	channels := elements(bl.params[0].Value)
	bl.note = pass.LayerNote{
		Layer: l.Name, Kind: l.Kind, Params: names(bl.params),
		Treatment: fmt.Sprintf("Gram matrix of gradients %dx%d", len(bl.params), channels) + positionNotes[e.rec.Curvature.Sharing],
	}
	bl.apply = func(b *op.Builder, grads, _, _ []*graph.Value) []*graph.Value {
		x := e.examples(b, cap, func(l pass.Layer, g *graph.Value) (*graph.Value, *graph.Value) {
			var parts []*graph.Value
			if l.W != nil {
				parts = append(parts, e.normRows(b, l, b.Mul(g, normalised(b, l)), channels))
			}
			if l.B != nil {
				parts = append(parts, e.normRows(b, l, g, channels))
			}
			a := b.Unsqueeze(joinedAt(b, 1, parts), 1)
			return a, b.OnesLike(b.Slice(a, []int64{0}, []int64{1}, []int64{2}))
		})
		var flat []*graph.Value
		for _, g := range grads {
			flat = append(flat, b.Reshape(g, 1, channels))
		}
		g := joinedAt(b, 1, flat)
		parts := []*graph.Value{e.woodbury(b, x, x, g, g)}
		if len(grads) > 1 {
			parts = b.Split(parts[0], 1, channels, channels)
		}
		dirs := make([]*graph.Value, len(grads))
		for i, p := range parts {
			dirs[i] = b.ReshapeLike(p, grads[i])
		}
		return dirs
	}
	return bl
}

// normRows sums x, of the shape of a normalisation's input, over the positions of each example: [N, channels]. Under sharing
// expand, positions of a layer normalisation are rows.
func (e *engine) normRows(b *op.Builder, l pass.Layer, x *graph.Value, channels int64) *graph.Value {
	if e.rec.Curvature.Sharing == "expand" || l.Kind != graph.LayerLayerNorm && l.Kind != graph.LayerRMSNorm {
		return channelRows(b, l, x, channels)
	}
	return b.Sum(b.Reshape(x, 0, -1, channels), 1)
}

// sketch takes some of the n columns of one side of a layer, drawn at random without replacement. Products of two vectors so
// shortened, times n/take, have the products of the whole vectors for their mean: each vector has the root of that for a
// factor, and so has the gradient that they are multiplied with. Preset asdl multiplies by n/take each time.
type sketch struct {
	n, all int64  // columns to choose from; those of Ŵ
	take   int64  // 0: all
	name   string // of the side
}

// of gives the columns of vectors x and of the gradient g, whose side is the axis counted from the end.
func (s sketch) of(e *engine, b *op.Builder, l pass.Layer, x, g *graph.Value, axis int) (*graph.Value, *graph.Value) {
	last, along := x.Type.Rank()-1, g.Type.Rank()+axis
	if s.take == 0 {
		if s.n == s.all {
			return x, g
		}
		first := func(y *graph.Value, axis int) *graph.Value {
			return b.Slice(y, []int64{0}, []int64{s.n}, []int64{int64(axis)})
		}
		return first(x, last), first(g, along)
	}
	columns := b.Tag(graph.TagNoise, []*graph.Value{b.Ints(s.take)}, graph.S("name", "sketch/"+l.Name+"/"+s.name), graph.S("kind", "subset"),
		graph.I("of", s.n), graph.I("single", 1), graph.I("dtype", int64(graph.Int64)))
	scale := math.Sqrt(float64(s.n) / float64(s.take))
	other := scale
	if e.rec.Preset == "asdl" {
		scale, other = float64(s.n)/float64(s.take), float64(s.all)/float64(s.take)
	}
	return b.Scale(b.Gather(x, columns, int64(last)), scale), b.Scale(b.Gather(g, columns, int64(along)), other)
}
