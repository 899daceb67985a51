package pass

import (
	"github.com/asdlc/asdlc/graph"
)

// Param is a view of a Param tag.
type Param struct {
	Node *graph.Node
	// Value is what the model's nodes use.
	Value *graph.Value
	// Init is the initializer behind the tag; its name is the parameter's.
	Init *graph.Value
	Kind string // "param" or "buffer"
}

// Name is the parameter's name in the file.
func (p Param) Name() string { return p.Init.Name }

// Record is the index of the method record that the parameter follows (see method.Mix), 0 where it has no other than the default.
func (p Param) Record() int { return int(p.Node.Int("record", 0)) }

// Params lists the tagged parameters and buffers in graph order; kind "" lists both.
func Params(g *graph.Graph, kind string) []Param {
	var ps []Param
	for n := range g.Nodes() {
		if n.Is(graph.Asdl, graph.TagParam) {
			if k := n.Str("kind", "param"); kind == "" || k == kind {
				ps = append(ps, Param{n, n.Out(0), n.In(0), k})
			}
		}
	}
	return ps
}

// ParamOf returns the Param tag that v passes through, if v is a tagged parameter.
func ParamOf(v *graph.Value) (Param, bool) {
	if v == nil || v.Def() == nil || !v.Def().Is(graph.Asdl, graph.TagParam) {
		return Param{}, false
	}
	n := v.Def()
	return Param{n, v, n.In(0), n.Str("kind", "param")}, true
}

// Layer is a view of a Layer tag; see graph/tags.go for the kinds.
type Layer struct {
	Node *graph.Node
	Name string
	Kind string
	Out  *graph.Value // the tag's output, which the rest of the model uses
	X    *graph.Value
	W    *graph.Value // a Param value; nil if the layer has none (a norm without scale)
	B    *graph.Value // a Param value, or nil
}

// LayerOf views a Layer tag.
func LayerOf(n *graph.Node) Layer {
	return Layer{n, n.Str("name", ""), n.Str("kind", ""), n.Out(0), n.In(1), n.In(2), n.In(3)}
}

// Params lists the layer's trained parameters: weight and bias, as far as it has them.
func (l Layer) Params() []Param {
	var ps []Param
	for _, v := range []*graph.Value{l.W, l.B} {
		if p, ok := ParamOf(v); ok {
			ps = append(ps, p)
		}
	}
	return ps
}

// Record is the index of the method record that all parameters of the layer follow, or -1 if they differ.
func (l Layer) Record() int {
	ps := l.Params()
	for _, p := range ps {
		if p.Record() != ps[0].Record() {
			return -1
		}
	}
	if len(ps) == 0 {
		return 0
	}
	return ps[0].Record()
}

// LayersOf lists the layers in graph order.
func LayersOf(g *graph.Graph) []Layer {
	var ls []Layer
	for n := range g.Nodes() {
		if n.Is(graph.Asdl, graph.TagLayer) {
			ls = append(ls, LayerOf(n))
		}
	}
	return ls
}

// Tags lists the nodes of one tag operator in graph order.
func Tags(g *graph.Graph, op string) []*graph.Node {
	var ns []*graph.Node
	for n := range g.Nodes() {
		if n.Is(graph.Asdl, op) {
			ns = append(ns, n)
		}
	}
	return ns
}

// FloatElem is the floating-point type that the model computes in: that of its first parameter, else of its first
// floating-point value, else Float32.
func FloatElem(g *graph.Graph) graph.Elem {
	for n := range g.Nodes() {
		if n.Is(graph.Asdl, graph.TagParam) && n.Out(0).Type.Elem.IsFloat() {
			return n.Out(0).Type.Elem
		}
	}
	for v := range g.Values() {
		if v.Type.Elem.IsFloat() {
			return v.Type.Elem
		}
	}
	return graph.Float32
}
