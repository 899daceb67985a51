package pass

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// StateSpec describes a state tensor of the step graph.
type StateSpec struct {
	Name  string
	Kind  string // optimizer, curvature, counter
	Of    string // the layer or parameter that it belongs to
	Elem  graph.Elem
	Shape []int64 // nil is a scalar
	Init  string  // zeros, ones, or eye (identity matrix; on higher ranks of the last two dimensions)
	Scale float64 // factor on ones or the identity; 0 means 1
	Held  bool    // its next value is the present one on a step whose gradients are not finite; of others update sees to it
}

// State declares a state tensor and returns its current value. Its next value is given by Next.
func State(b *op.Builder, s StateSpec) *graph.Value {
	scale := s.Scale
	if scale == 0 {
		scale = 1
	}
	attrs := []graph.Attr{
		graph.S("name", s.Name), graph.S("kind", s.Kind), graph.S("of", s.Of), graph.I("dtype", int64(s.Elem)),
		graph.Is("shape", s.Shape...), graph.S("init", s.Init), graph.T("scale", graph.Scalar(scale)),
	}
	if s.Held {
		attrs = append(attrs, graph.I("held", 1))
	}
	return b.Named(graph.Asdl, graph.TagState, nil, []string{s.Name}, attrs...).Out(0)
}

// Next makes v the next value of the input (state, parameter or buffer) in: the graph output NAME/next.
func Next(b *op.Builder, in, v *graph.Value) {
	name := in.Name
	if p, ok := ParamOf(in); ok {
		name = p.Name()
	}
	name += "/next"
	if d := v.Def(); d == nil || d.Domain == graph.Asdl || v.Graph() != b.Graph || v.IsOutput() {
		v = b.Named("", "Identity", []*graph.Value{v}, []string{name}).Out(0)
	} else {
		v.Rename(name)
	}
	b.Graph.AddOutput(v)
}

// Hyper returns the scalar input of that name, declaring it with a default if it is new. Where the model has a value of
// that name, the input is called asdl/NAME.
func Hyper(b *op.Builder, name string, def float64, e graph.Elem) *graph.Value {
	prefixed := Prefix + name
	for n := range b.Graph.Nodes() {
		if n.Is(graph.Asdl, graph.TagHyper) && (n.Str("name", "") == name || n.Str("name", "") == prefixed) {
			return n.Out(0)
		}
	}
	if b.Graph.NameTaken(name) {
		name = prefixed
	}
	return b.Named(graph.Asdl, graph.TagHyper, nil, []string{name},
		graph.S("name", name), graph.T("default", graph.Scalar(def)), graph.I("dtype", int64(e))).Out(0)
}

// Labelled is the name of an input or clock of a method record: NAME for the default's, NAME/LABEL for another's.
func Labelled(name, label string) string {
	if label == "" {
		return name
	}
	return name + "/" + label
}

// Prefix goes before the name of an input or output of the step graph that the model uses for something of its own.
const Prefix = "asdl/"

// Step returns the step counter, an int64 scalar that is 0 on the first step.
func Step(b *op.Builder) *graph.Value {
	if ns := Tags(b.Graph, graph.TagStep); len(ns) > 0 {
		return ns[0].Out(0)
	}
	return b.Named(graph.Asdl, graph.TagStep, nil, []string{"asdl/step"}).Out(0)
}

// Finite is a bool scalar that says whether the gradients of this step are finite. The pass update knows, and puts the answer in
// the place of this tag; a step for which it is false leaves parameters and state as they are.
func Finite(b *op.Builder) *graph.Value {
	if ns := Tags(b.Graph, graph.TagFinite); len(ns) > 0 {
		return ns[0].Out(0)
	}
	return b.Named(graph.Asdl, graph.TagFinite, nil, []string{"finite"}).Out(0)
}

// Count adds n, an int64 scalar, to the numerical failures that the step graph has counted, the state asdl/guards.
func Count(b *op.Builder, n *graph.Value) {
	const name = Prefix + "guards"
	for _, v := range b.Graph.Outputs() {
		if v.Name == name+"/next" {
			Instead(v, b.Add(v, n))
			return
		}
	}
	in := State(b, StateSpec{Name: name, Kind: "counter", Elem: graph.Int64, Init: "zeros"})
	Next(b, in, b.Add(in, n))
}

// Clocks lists the Every tags whose ticks follow from the step alone, so that a host knows them.
func Clocks(g *graph.Graph) []*graph.Node {
	return slices.DeleteFunc(Tags(g, graph.TagEvery), Tossed)
}

// Tossed reports whether an Every tag ticks at random.
func Tossed(n *graph.Node) bool { return n.In(1) != nil }
