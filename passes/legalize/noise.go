package legalize

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// The counter-based generator. All arithmetic is modulo the prime P = 2^31-1 in int64, so it is exact and equal in
// every runtime and at every opset. x -> x^5 permutes the residues (5 does not divide P-1); three rounds of
// "add a key, raise to the fifth power" turn a counter into a uniform residue. The keys are made in the same way from
// the seed, the number of the draw in the graph, and the step.
const (
	prime = 1<<31 - 1
	// keyA to keyC separate the rounds; any residues do.
	keyA, keyB, keyC = 1640531527, 97531246, 1013904223
)

// noise replaces Noise tags by random numbers, or by inputs under --noise input.
func (l *lowering) noise() error {
	tags := pass.Tags(l.m.Graph, graph.TagNoise)
	if l.c.Options.Noise == "input" {
		return l.noiseInputs(tags)
	}
	if len(tags) > 0 {
		l.seed = l.m.Graph.AddInput("asdl/seed", graph.StaticType(graph.Int64))
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

// fifth is x^5 mod P for residues x.
func (l *lowering) fifth(x *graph.Value) *graph.Value {
	b := l.b
	mod := func(v *graph.Value) *graph.Value { return b.Op("Mod", []*graph.Value{v, b.Int(prime)}) }
	square := mod(b.Mul(x, x))
	return mod(b.Mul(mod(b.Mul(square, square)), x))
}

// round is ((x + key) mod P)^5 mod P.
func (l *lowering) round(x, key *graph.Value) *graph.Value {
	b := l.b
	return l.fifth(b.Op("Mod", []*graph.Value{b.Add(x, key), b.Int(prime)}))
}

// key is a residue made of the seed, the step and the number of the draw. Seeds and steps are taken modulo P.
func (l *lowering) key(draw int) *graph.Value {
	b := l.b
	if l.step == nil {
		panic("BUG: noise without a step counter")
	}
	mod := func(v *graph.Value) *graph.Value { return b.Op("Mod", []*graph.Value{v, b.Int(prime)}) }
	k := l.round(mod(l.seed), b.Int(keyA))
	k = l.round(k, b.Int(int64(draw)+1))
	return l.round(k, mod(l.step))
}

// residues are uniform residues for the counters 0..count-1, in a tensor of one dimension.
func (l *lowering) residues(count *graph.Value, draw int) *graph.Value {
	b := l.b
	key := l.key(draw)
	x := b.Op("Range", []*graph.Value{b.Int(0), count, b.Int(1)})
	x = l.round(x, key)
	x = l.round(x, l.round(key, b.Int(keyB)))
	return l.round(x, b.Int(keyC))
}

// uniform is a tensor of uniform numbers in the open interval (0, 1).
func (l *lowering) uniform(shape *graph.Value, draw int, e graph.Elem) *graph.Value {
	b := l.b
	count := b.Reduce("ReduceProd", shape, false)
	x := b.Cast(l.residues(count, draw), graph.Float64)
	// the largest value stays below 1 in float32 too
	u := b.Mul(b.Add(x, b.Float(graph.Float64, 0.5)), b.Float(graph.Float64, (1-1e-7)/prime))
	return b.ReshapeTo(b.Cast(u, e), shape)
}

// normal is a tensor of standard normal numbers (Box & Muller 1958).
func (l *lowering) normal(shape *graph.Value, draw int, e graph.Elem) *graph.Value {
	b := l.b
	radius := b.Sqrt(b.Scale(b.Unary("Log", l.uniform(shape, 2*draw, e)), -2))
	angle := b.Unary("Cos", b.Scale(l.uniform(shape, 2*draw+1, e), 2*math.Pi))
	return b.Mul(radius, angle)
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
