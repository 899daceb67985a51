package legalize

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// Initial makes the init model of a tagged graph: no inputs, and one output for each input of the step graph that is
// not data: parameters, buffers, state, the step counter, hyper-parameters and the seed. Zeros and identities are
// computed, so that the file stays small.
func Initial(c *pass.Ctx, m *graph.Model) (*graph.Model, error) {
	im := graph.NewModel(int64(m.Opset()))
	im.Graph.Name = m.Graph.Name + "_init"
	im.IRVersion, im.Producer, im.Version = m.IRVersion, m.Producer, m.Version
	b := op.NewBuilder(im, im.Graph)
	b.Prefix = "init/"
	for _, p := range pass.Params(m.Graph, "") {
		t := p.Init.Const()
		if t == nil {
			return nil, fmt.Errorf("BUG: parameter %s has no initial value", p.Name())
		}
		output(b, p.Name(), b.Const("value", t))
	}
	for _, n := range pass.Tags(m.Graph, graph.TagState) {
		output(b, n.Str("name", ""), initialState(b, n))
	}
	for range pass.Tags(m.Graph, graph.TagStep) {
		output(b, "asdl/step", b.Int(0))
	}
	for _, n := range pass.Tags(m.Graph, graph.TagHyper) {
		a, _ := n.Attr("default")
		output(b, n.Str("name", ""), b.Float(graph.Elem(n.Int("dtype", 0)), graph.Data[float64](a.T)[0]))
	}
	if len(pass.Tags(m.Graph, graph.TagNoise)) > 0 && c.Options.Noise != "input" {
		output(b, "asdl/seed", b.Int(0))
	}
	for _, key := range []string{"asdl.source", "asdl.method", method.OverridesKey, "asdl.version"} {
		if v, ok := m.Metadata[key]; ok {
			im.Metadata[key] = v
		}
	}
	im.Metadata["asdl.contract"] = "1"
	return im, b.Err()
}

func output(b *op.Builder, name string, v *graph.Value) {
	out := b.Named("", "Identity", []*graph.Value{v}, []string{name}).Out(0)
	b.Graph.AddOutput(out)
}

// initialState computes the initial value that a State tag declares.
func initialState(b *op.Builder, n *graph.Node) *graph.Value {
	e, shape := graph.Elem(n.Int("dtype", 0)), n.IntList("shape")
	if e == graph.Int64 {
		return b.Op("ConstantOfShape", []*graph.Value{b.Ints(shape...)}, graph.T("value", graph.Ints(0)))
	}
	zeros := b.Full(b.Ints(shape...), e, 0)
	switch init := n.Str("init", ""); init {
	case "zeros":
		return zeros
	case "ones":
		return b.Full(b.Ints(shape...), e, scaleOf(n))
	case "eye":
		rank := len(shape)
		square := b.Op("EyeLike", []*graph.Value{b.Full(b.Ints(shape[rank-2:]...), e, 0)})
		square = b.Scale(square, scaleOf(n))
		if rank > 2 {
			square = b.Expand(square, b.Ints(shape...))
		}
		return square
	default:
		panic("BUG: initial value " + init)
	}
}

// scaleOf is the factor of a State tag on its initial value.
func scaleOf(n *graph.Node) float64 {
	a, _ := n.Attr("scale")
	return graph.Data[float64](a.T)[0]
}
