package precondition

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// gramLayer preconditions a layer by its own Fisher matrix F = U^T U / n through the Gram matrix of the rows of U, the gradients
// of single examples (SENG: Yang, Xu, Wen, Chen & Xu 2022, section 3; by Sherman, Morrison and Woodbury):
//
//	(F + lambda I)^-1 g = (g - U^T v / n) / lambda,  v = (lambda I + U U^T / n)^-1 U g
//
// n is the data size. Under preset asdl a bias is left out of U U^T and U g, but not of U^T v.
type gramLayer struct {
	*engine
	cap     *captured
	v       view
	in, out sketch
}

// gramBlock is the block of a Linear or convolution layer, by layer or by unit.
func gramBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	if e.rec.Representation.Granularity == "unit" {
		return e.rowsBlock(v.block(), cap, &gramUnits{e, cap, v})
	}
	t := &gramLayer{e, cap, v, sketch{n: v.in, all: v.in, name: "inputs"}, sketch{n: v.out, all: v.out, name: "outputs"}}
	if v.l.B != nil && !v.joint {
		t.v.joint = true
		t.v.in++
		t.in.all++
	}
	for _, s := range []*sketch{&t.in, &t.out} {
		if k := int64(e.rec.Representation.Sketch); k > 0 && k < s.n {
			s.take = k
		}
	}
	return e.rowsBlock(v.block(), cap, t)
}

func (t *gramLayer) describe() string {
	s := fmt.Sprintf("Gram matrix of gradients %dx%d", t.v.out, t.v.in) + positionNotes[t.rec.Curvature.Sharing]
	if t.cutting(t.cap, t.v) {
		s += fmt.Sprintf(", of rank %d", t.cut(t.v))
	}
	for _, side := range []sketch{t.in, t.out} {
		if side.take > 0 {
			s += fmt.Sprintf(", %d of %d %s", side.take, side.n, side.name)
		}
	}
	return s + t.v.each()
}

func (t *gramLayer) rows(b *op.Builder) examples { return t.examplesOf(b, t.cap, t.v) }

func (t *gramLayer) spread(b *op.Builder, x examples) examples { return t.spreadOut(b, t.cap, t.v, x) }

func (t *gramLayer) shapes() (a, d, inverse rowShape, ok bool) {
	a, d, ok = t.keptShapes(t.cap, t.v)
	return a, d, rowShape{t.v.groups, nil}, ok
}

func (t *gramLayer) sketches() []sketch { return []sketch{t.in, t.out} }

func (t *gramLayer) draw(b *op.Builder, s sketch) *graph.Value { return s.draw(t.b, t.v.l) }

// seen is what U U^T and U g are made of.
func (t *gramLayer) seen(b *op.Builder, x examples, columns []*graph.Value) examples {
	x.a, x.d = t.in.columns(b, x.a, columns[0], -1), t.out.columns(b, x.d, columns[1], -1)
	x.scale *= t.in.ratio(t.engine, t.in.n) * t.out.ratio(t.engine, t.out.n)
	return x
}

func (t *gramLayer) solve(b *op.Builder, x examples, columns []*graph.Value) *graph.Value {
	return t.dampedInverse(b, t.seen(b, x, columns))
}

func (t *gramLayer) apply(b *op.Builder, x examples, columns []*graph.Value, inverse *graph.Value, grads []*graph.Value) []*graph.Value {
	g := t.v.gradient(b, grads)
	h := t.out.ofGradient(t.engine, b, t.in.ofGradient(t.engine, b, g, columns[0], -1), columns[1], -2)
	return t.v.parameters(b, t.woodbury(b, x, t.seen(b, x, columns), inverse, g, h), nil, grads)
}

func (t *gramLayer) sum(b *op.Builder, x examples, v *graph.Value, grads []*graph.Value) []*graph.Value {
	return t.v.parameters(b, x.back(b, v), nil, grads)
}

func (t *gramLayer) whole() bool {
	return t.in.take == 0 && t.out.take == 0 && !t.cutting(t.cap, t.v)
}

// positionNotes say what the rows of U are for layers used at several positions; by default sums over them.
var positionNotes = map[string]string{
	"reduce": ", of mean inputs and summed output gradients over positions",
	"expand": ", one a position",
}

// normBlock is the block of a normalisation layer.
func normBlock(e *engine, cap *captured) *block {
	if e.rec.Fallback.Norm == "gram" {
		l := cap.layers[0]
		bl := &block{name: l.Name, params: l.Params()}
		bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params)}
		return e.rowsBlock(bl, cap, &gramNorm{e, cap, elements(bl.params[0].Value), int64(len(bl.params))})
	}
	if e.rec.Representation.Format == "moments" {
		return normMoments(e, cap)
	}
	return unitBlock(e, cap)
}

// gramNorm is gramLayer for a normalisation layer. The gradient of an example is a row [dw, db], of one output with the
// gradient 1.
type gramNorm struct {
	*engine
	cap             *captured
	channels, parts int64
}

func (t *gramNorm) describe() string {
	return fmt.Sprintf("Gram matrix of gradients %dx%d", t.parts, t.channels) + positionNotes[t.rec.Curvature.Sharing]
}

func (t *gramNorm) rows(b *op.Builder) examples {
	return t.examples(b, t.cap, func(l pass.Layer, g *graph.Value) (*graph.Value, *graph.Value) {
		var parts []*graph.Value
		if l.W != nil {
			parts = append(parts, t.normRows(b, l, b.Mul(g, normalised(b, l)), t.channels))
		}
		if l.B != nil {
			parts = append(parts, t.normRows(b, l, g, t.channels))
		}
		a := b.Unsqueeze(joinedAt(b, 1, parts), 1)
		return a, b.OnesLike(b.Slice(a, []int64{0}, []int64{1}, []int64{2}))
	})
}

func (t *gramNorm) shapes() (a, d, inverse rowShape, ok bool) {
	uses := int64(1)
	if t.together(t.cap) {
		uses = int64(len(t.cap.layers))
	}
	return rowShape{1, []int64{uses, t.parts * t.channels}}, rowShape{1, []int64{uses, 1}}, rowShape{1, nil}, true
}

func (t *gramNorm) spread(_ *op.Builder, x examples) examples { return x }

func (t *gramNorm) sketches() []sketch { return nil }

func (t *gramNorm) draw(*op.Builder, sketch) *graph.Value { return nil }

func (t *gramNorm) solve(b *op.Builder, x examples, _ []*graph.Value) *graph.Value {
	return t.dampedInverse(b, x)
}

func (t *gramNorm) apply(b *op.Builder, x examples, _ []*graph.Value, inverse *graph.Value, grads []*graph.Value) []*graph.Value {
	var flat []*graph.Value
	for _, g := range grads {
		flat = append(flat, b.Reshape(g, 1, t.channels))
	}
	g := joinedAt(b, 1, flat)
	return t.layout(b, t.woodbury(b, x, x, inverse, g, g), grads)
}

// layout brings a row to the parameters.
func (t *gramNorm) layout(b *op.Builder, row *graph.Value, grads []*graph.Value) []*graph.Value {
	parts := []*graph.Value{row}
	if len(grads) > 1 {
		parts = b.Split(row, 1, t.channels, t.channels)
	}
	dirs := make([]*graph.Value, len(grads))
	for i, p := range parts {
		dirs[i] = b.ReshapeLike(p, grads[i])
	}
	return dirs
}

func (t *gramNorm) sum(b *op.Builder, x examples, v *graph.Value, grads []*graph.Value) []*graph.Value {
	return t.layout(b, x.back(b, v), grads)
}

func (t *gramNorm) whole() bool { return true }

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

// draw gives the columns, int64 [take]; nil for all.
func (s sketch) draw(b *op.Builder, l pass.Layer) *graph.Value {
	if s.take == 0 {
		return nil
	}
	return b.Tag(graph.TagNoise, []*graph.Value{b.Ints(s.take)}, graph.S("name", "sketch/"+l.Name+"/"+s.name), graph.S("kind", "subset"),
		graph.I("of", s.n), graph.I("single", 1), graph.I("dtype", int64(graph.Int64)))
}

// ofGradient gives the columns of the gradient, whose side is the axis counted from the end.
func (s sketch) ofGradient(e *engine, b *op.Builder, g, columns *graph.Value, axis int) *graph.Value {
	n := s.n
	if e.rec.Preset == "asdl" {
		n = s.all
	}
	return b.Scale(s.columns(b, g, columns, axis), s.ratio(e, n))
}

// columns takes the columns of x along an axis counted from the end.
func (s sketch) columns(b *op.Builder, x, columns *graph.Value, axis int) *graph.Value {
	along := int64(x.Type.Rank() + axis)
	switch {
	case columns == nil && s.n == s.all:
		return x
	case columns == nil:
		return b.Slice(x, []int64{0}, []int64{s.n}, []int64{along})
	}
	return b.Gather(x, columns, along)
}

// ratio is what drawn columns, of n, are multiplied with.
func (s sketch) ratio(e *engine, n int64) float64 {
	switch {
	case s.take == 0:
		return 1
	case e.rec.Preset == "asdl":
		return float64(n) / float64(s.take)
	}
	return math.Sqrt(float64(n) / float64(s.take))
}
