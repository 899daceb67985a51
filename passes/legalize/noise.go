package legalize

import (
	_ "embed"
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// noiseText holds the functions of the counter-based generator. All arithmetic is modulo the prime P = 2^31-1 in int64, so it is
// exact and equal in every runtime and at every opset. x -> x^5 permutes the residues (5 does not divide P-1); three rounds of
// "add a key, raise to the fifth power" turn a counter into a uniform residue. The keys are made in the same way from the
// seed, the number of the draw in the graph, and the step, all modulo P.
//
//go:embed noise.onnxtxt
var noiseText string

// noise replaces Noise tags by random numbers, or by inputs under --noise input.
func (l *lowering) noise() error {
	tags := pass.Tags(l.m.Graph, graph.TagNoise)
	if l.c.Options.Noise == "input" {
		return l.noiseInputs(tags)
	}
	if len(tags) > 0 {
		l.seed = l.m.Graph.AddInput("asdl/seed", graph.StaticType(graph.Int64))
		if err := pass.AddFunctions(l.m, noiseText); err != nil {
			return err
		}
	}
	for i, n := range tags {
		l.b.At = n
		e := graph.Elem(n.Int("dtype", 0))
		var v *graph.Value
		switch kind := n.Str("kind", ""); kind {
		case "uniform":
			v = l.uniform(n.In(0), 2*i, e)
		case "normal":
			v = l.normal(n.In(0), i, e)
		case "rademacher":
			b := l.b
			positive := b.Compare("Greater", l.uniform(n.In(0), 2*i, e), b.Float(e, 0.5))
			v = b.Where(positive, b.Float(e, 1), b.Float(e, -1))
		case "subset":
			u := l.uniform(l.b.Ints(n.Int("of", 0)), 2*i, graph.Float64)
			v = l.b.Node("", "TopK", []*graph.Value{u, n.In(0)}, 2).Outputs()[1]
		default:
			return fmt.Errorf("BUG: noise of kind %q", kind)
		}
		n.Out(0).ReplaceUses(v)
		n.Remove()
	}
	l.b.At = nil
	return nil
}

// uniform is a tensor of uniform numbers in the open interval (0, 1).
func (l *lowering) uniform(shape *graph.Value, draw int, e graph.Elem) *graph.Value {
	return l.drawn("Uniform", shape, e, graph.I("draw", int64(draw)))
}

// normal is a tensor of standard normal numbers.
func (l *lowering) normal(shape *graph.Value, draw int, e graph.Elem) *graph.Value {
	return l.drawn("Normal", shape, e, graph.I("first", int64(2*draw)), graph.I("second", int64(2*draw+1)))
}

func (l *lowering) drawn(function string, shape *graph.Value, e graph.Elem, attrs ...graph.Attr) *graph.Value {
	if l.step == nil {
		panic("BUG: noise without a step counter")
	}
	return l.b.Call(function, 1, []*graph.Value{shape, l.seed, l.step}, append(attrs, graph.I("dtype", int64(e)))...)[0]
}

// noiseInputs makes one input a name: draws of labels, targets and probes are stacked, [samples, ...], but for a single probe.
func (l *lowering) noiseInputs(tags []*graph.Node) error {
	draws := map[string]int64{}
	for _, n := range tags {
		name := n.Str("name", "")
		draws[name] = max(draws[name], n.Int("draw", 0)+1)
	}
	inputs := map[string]*graph.Value{}
	for _, n := range tags {
		name, kind := n.Str("name", ""), n.Str("kind", "")
		stacked := kind != "uniform" && n.Int("single", 0) == 0
		in := inputs[name]
		if in == nil {
			dims := sizes(n.In(0))
			if stacked {
				dims = append([]graph.Dim{graph.Known(draws[name])}, dims...)
			}
			in = l.m.Graph.AddInput("asdl/noise/"+name, graph.TensorType(graph.Elem(n.Int("dtype", 0)), dims...))
			inputs[name] = in
			l.rand = append(l.rand, in)
			l.random = append(l.random, in.Name)
		}
		v := in
		if stacked {
			l.b.At = n
			v = l.b.Gather(in, l.b.Int(n.Int("draw", 0)), 0)
		}
		n.Out(0).ReplaceUses(v)
		n.Remove()
	}
	l.b.At = nil
	return nil
}

// sizes are the dimensions that a tensor of sizes holds; of sizes that nothing is known of there is no content.
func sizes(shape *graph.Value) []graph.Dim {
	if shape.Content != nil || shape.Type.Rank() != 1 {
		return append([]graph.Dim{}, shape.Content...)
	}
	n, _ := shape.Type.Dims[0].Size()
	dims := make([]graph.Dim, n)
	for i := range dims {
		dims[i] = graph.UnknownDim
	}
	return dims
}
