package precondition

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// pairView shows some parameters as one matrix of two sides, or as a vector. It needs no more than their shapes, so that
// methods of whole gradients cover every kind of layer by it.
type pairView struct {
	name, kind string
	params     []pass.Param
	shape      []int64 // of the matrix, or of the vector
	diagonal   []bool  // by side: whether entries along it have nothing to do with each other
	pack       func(b *op.Builder, xs []*graph.Value) *graph.Value
	unpack     func(b *op.Builder, m *graph.Value, like []*graph.Value) []*graph.Value
}

// pairLayer is a row of the table of layer kinds that have a view of their own; others show each parameter by itself.
type pairLayer struct {
	Kind string
	View func(l pass.Layer, bias bool) *pairView
}

var pairLayers = []pairLayer{
	{graph.LayerLinear, weightAndBias},
	{graph.LayerConv, weightAndBias},
	{graph.LayerEmbedding, tokenRows},
	{graph.LayerBatchNorm, scaleAndShift},
	{graph.LayerLayerNorm, scaleAndShift},
}

// pairViews shows every parameter of the record once, but those of layer kinds that it gives a fall-back. A parameter that several
// layers use belongs to the first.
func (e *engine) pairViews(g *graph.Graph) []*pairView {
	mine, seen := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	for _, p := range e.params(g) {
		mine[p.Value] = !e.rec.Ignores(p.Name())
	}
	free := func(v *graph.Value) bool { return v != nil && mine[v] && !seen[v] }
	var views []*pairView
	for _, l := range pass.LayersOf(g) {
		if own := e.ownFallback(l.Kind); own != "" {
			for _, p := range l.Params() {
				if free(p.Value) {
					seen[p.Value], e.left[p.Value] = true, "the record gives layers of kind "+l.Kind+" "+own
				}
			}
			continue
		}
		for _, row := range pairLayers {
			if row.Kind != l.Kind || !free(l.W) || e.rec.Ignores(l.Name) {
				continue
			}
			if v := row.View(l, free(l.B)); v != nil {
				views = append(views, v)
				for _, p := range v.params {
					seen[p.Value] = true
				}
			}
		}
	}
	for _, p := range e.params(g) {
		if free(p.Value) {
			views = append(views, bare(p))
		}
	}
	return views
}

// weightAndBias is [W | b], o x i+, with the weight of a convolution flattened.
func weightAndBias(l pass.Layer, bias bool) *pairView {
	groups, i, o := viewSides(l)
	o *= groups
	swapped := l.Kind == graph.LayerLinear && strings.EqualFold(l.Node.Str("layout", "oi"), "io")
	v := &pairView{name: l.Name, kind: l.Kind, params: l.Params()[:1], shape: []int64{o, i}, diagonal: []bool{false, false}}
	if bias {
		v.params, v.shape[1] = l.Params()[:2], i+1
	}
	v.pack = func(b *op.Builder, xs []*graph.Value) *graph.Value {
		w := xs[0]
		if w.Type.Rank() != 2 {
			w = b.Reshape(w, o, i)
		}
		if swapped {
			w = b.Swap(w)
		}
		if bias {
			w = b.Concat(1, w, b.Reshape(xs[1], o, 1))
		}
		return w
	}
	v.unpack = func(b *op.Builder, m *graph.Value, like []*graph.Value) []*graph.Value {
		var out []*graph.Value
		if bias {
			parts := b.Split(m, 1, i, 1)
			m, out = parts[0], []*graph.Value{b.ReshapeLike(parts[1], like[1])}
		}
		if swapped {
			m = b.Swap(m)
		}
		return append([]*graph.Value{b.ReshapeLike(m, like[0])}, out...)
	}
	return v
}

// scaleAndShift is [w b], c x 2: channels by themselves, times what scale and shift have in common.
func scaleAndShift(l pass.Layer, bias bool) *pairView {
	if !bias || l.W.Type.Rank() != 1 {
		return nil
	}
	v := &pairView{name: l.Name, kind: l.Kind, params: l.Params(), shape: []int64{side(l.W, 0), 2}, diagonal: []bool{true, false}}
	v.pack = func(b *op.Builder, xs []*graph.Value) *graph.Value {
		return b.Concat(1, b.Unsqueeze(xs[0], 1), b.Unsqueeze(xs[1], 1))
	}
	v.unpack = func(b *op.Builder, m *graph.Value, _ []*graph.Value) []*graph.Value {
		parts := b.Split(m, 1, 1, 1)
		return []*graph.Value{b.Squeeze(parts[0], 1), b.Squeeze(parts[1], 1)}
	}
	return v
}

// tokenRows is an embedding, V x d: tokens by themselves.
func tokenRows(l pass.Layer, _ bool) *pairView {
	v := bare(l.Params()[0])
	if len(v.shape) != 2 {
		return nil
	}
	v.name, v.kind, v.diagonal = l.Name, l.Kind, []bool{true, false}
	return v
}

// bare is a parameter by itself: its first side against the rest, or a vector whose entries have nothing to do with each
// other.
func bare(p pass.Param) *pairView {
	shape, ok := p.Value.Type.Static()
	if !ok {
		panic("BUG: parameter " + p.Name() + " of unknown shape")
	}
	rest := int64(1)
	for _, n := range shape[min(1, len(shape)):] {
		rest *= n
	}
	v := &pairView{name: p.Name(), kind: "parameter", params: []pass.Param{p}}
	switch {
	case len(shape) == 0:
		v.shape, v.diagonal = []int64{1}, []bool{true}
	case shape[0] == 1 || rest == 1:
		v.shape, v.diagonal = []int64{shape[0] * rest}, []bool{true}
	default:
		v.shape, v.diagonal = []int64{shape[0], rest}, []bool{false, false}
	}
	v.pack = func(b *op.Builder, xs []*graph.Value) *graph.Value {
		if len(v.shape) == len(shape) {
			return xs[0]
		}
		return b.Reshape(xs[0], v.shape...)
	}
	v.unpack = func(b *op.Builder, m *graph.Value, like []*graph.Value) []*graph.Value {
		return []*graph.Value{b.ReshapeLike(m, like[0])}
	}
	return v
}
