package autodiff

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// loop is a Loop node taken apart. Its body maps (iteration, condition, state...) to (condition, state..., scanned...).
type loop struct {
	c      *Call
	body   *graph.Graph
	states int   // number of states
	scans  int   // number of scanned outputs
	moving []int // states that are real numbers
}

func (c *Call) loop() loop {
	l := loop{c: c, body: c.subgraph("body"), states: len(c.N.Inputs()) - 2}
	l.scans = len(l.body.Outputs()) - 1 - l.states
	for k := range l.states {
		if real(l.init(k)) {
			l.moving = append(l.moving, k)
		}
	}
	return l
}

// init is the initial value of state k.
func (l *loop) init(k int) *graph.Value { return l.c.In(2 + k) }

// stateIn is state k before an iteration, stateOut after it.
func (l *loop) stateIn(k int) *graph.Value { return l.body.Inputs()[2+k] }

// typeOf is what holds of state k in every iteration.
func (l *loop) typeOf(k int) graph.Type {
	if t := l.stateIn(k).Type; t.Ranked {
		return t
	}
	return l.init(k).Type
}

// keepsShapes reports whether no state is known to change its shape from iteration to iteration: what is known of its
// first shape would not hold always.
func (l *loop) keepsShapes() bool {
	for k := range l.states {
		first, always := l.init(k).Type, l.stateIn(k).Type
		for i := range min(len(first.Dims), len(always.Dims)) {
			if d := first.Dims[i]; !d.IsUnknown() && d != always.Dims[i] {
				l.c.unsupported("state %s changes its shape from %s to %s; keep its shape, or take it off the path from the parameters",
					l.stateIn(k), first, always)
				return false
			}
		}
	}
	return true
}

// captured is the position of the first dependency that is an outer value of the body.
func (l *loop) captured() int { return len(l.c.N.Inputs()) }

// vjpLoop runs the iterations backward: the loop is made to return the states before each iteration, and each
// iteration is computed once more from them. The states must keep their shapes.
//
// Where an iteration reads a part of an outer value, the loop returns the cotangents of the parts and they are added up
// after it: to add each to a cotangent of the whole value would cost the square of the number of iterations.
func vjpLoop(c *Call) []*graph.Value {
	l := c.loop()
	if !l.keepsShapes() {
		return nil
	}
	r := reversed{loop: l}
	r.outer(c.wantedFrom(l.captured()))
	taken := l.saved(l.body.Inputs()[0]) // 0, 1, ..., T-1
	for k := range l.states {
		r.states = append(r.states, l.saved(l.stateIn(k)))
	}
	var carried []*graph.Value
	for _, k := range l.moving {
		g := c.d(k)
		if g == nil {
			g = c.ZerosLike(l.init(k))
		}
		carried = append(carried, g)
	}
	for _, i := range r.whole {
		carried = append(carried, c.ZerosLike(c.Deps[i]))
	}
	r.trips = c.Squeeze(c.DimOf(taken, 0), 0)
	results := c.emitLoop("reverse", r.trips, nil, carried, nil, r.iteration, 2*len(r.reads))
	ct := make([]*graph.Value, len(c.Deps))
	for j, k := range l.moving {
		ct[2+k] = results[j]
	}
	for j, i := range r.whole {
		ct[i] = results[len(l.moving)+j]
	}
	for j, read := range r.reads {
		at := len(carried) + 2*j
		part := read.place(c, c.Deps[read.dep], results[at], results[at+1])
		ct[read.dep] = addAll(c.Builder, []*graph.Value{ct[read.dep], part})
	}
	return ct
}

// reversed is the loop that runs the iterations backward.
type reversed struct {
	loop
	trips  *graph.Value
	states []*graph.Value // before each iteration
	reads  []read         // of parts of outer values
	whole  []int          // dependencies whose cotangent is added up in the loop
}

// outer tells for each outer value whose cotangent is asked for how the body uses it.
func (r *reversed) outer(deps []int) {
	for _, i := range deps {
		reads, rest := r.c.reads(r.body, i)
		r.reads = append(r.reads, reads...)
		if rest {
			r.whole = append(r.whole, i)
		}
	}
}

// iteration computes an iteration once more from the saved states, and maps the cotangents of the states after it to
// those before it. The cotangents of whole outer values are added up; those of parts are returned after their positions.
func (r *reversed) iteration(b *op.Builder, iteration *graph.Value, in []*graph.Value) []*graph.Value {
	c, l := r.c, &r.loop
	at := b.Sub(b.Sub(r.trips, b.Int(1)), iteration)
	args := []*graph.Value{at, b.Const("go", graph.Scalar(true))}
	for _, s := range r.states {
		args = append(args, b.Gather(s, at, 0))
	}
	outs, copies := inlineValues(b, l.body, args)
	outs = outs[1:]
	var ys, seeds, xs []*graph.Value
	for j, k := range l.moving {
		ys, seeds, xs = append(ys, outs[k]), append(seeds, in[j]), append(xs, args[2+k])
	}
	for s := range l.scans {
		if g := c.d(l.states + s); g != nil {
			ys, seeds = append(ys, outs[l.states+s]), append(seeds, b.Gather(g, at, 0))
		}
	}
	for _, i := range r.whole {
		xs = append(xs, c.Deps[i])
	}
	var positions []*graph.Value
	for _, read := range r.reads {
		part := copies[read.node.Out(0)]
		positions = append(positions, read.positions(c, b, part.Def()))
		xs = append(xs, part)
	}
	dx := c.walk.pullback(b, ys, seeds, xs, &region{graph: b.Graph})
	first := len(l.moving)
	for j := range r.whole {
		dx[first+j] = addAll(b, []*graph.Value{in[first+j], dx[first+j]})
	}
	dx = own(b, dx, xs)
	results := dx[: first+len(r.whole) : first+len(r.whole)]
	for j, g := range dx[len(results):] {
		g = r.reads[j].filled(c, b, xs[len(xs)-len(r.reads)+j].Def(), g)
		results = append(results, own(b, positions[j:j+1], positions[j:j+1])[0], g)
	}
	return results
}

// saved is the value that an input of the body has in each iteration, [T, ...]: a scanned output of the node, added if it
// is not there yet.
func (l *loop) saved(v *graph.Value) *graph.Value {
	n, first := l.c.N, 1+l.states
	for i, o := range l.body.Outputs() {
		if i >= first && o.Def() != nil && o.Def().Is("", "Identity") && o.Def().In(0) == v {
			return l.output(i - 1)
		}
	}
	copied := l.body.AddNode("", "Identity", []*graph.Value{v}, []string{v.Name + "/saved"}).Out(0)
	copied.Type = v.Type
	l.body.AddOutput(copied)
	for len(n.Outputs()) < len(l.body.Outputs())-1 {
		n.AddOutput(l.body.Outputs()[len(n.Outputs())+1].Name + "/all")
	}
	return l.output(len(l.body.Outputs()) - 2)
}

// output is output i of the node, typed.
func (l *loop) output(i int) *graph.Value {
	o := l.c.Out(i)
	if o == nil {
		panic("BUG: a scanned output of " + l.c.N.String() + " is missing")
	}
	if t := l.body.Outputs()[i+1].Type; o.Type.Elem == graph.Undefined && t.Ranked {
		o.Type = graph.TensorType(t.Elem, append([]graph.Dim{graph.UnknownDim}, t.Dims...)...)
	}
	return o
}

// jvpLoop runs the loop once more with the tangents of the states beside them.
func jvpLoop(c *Call) []*graph.Value {
	l := c.loop()
	carried := append([]*graph.Value{}, c.N.Inputs()[2:]...)
	var types []graph.Type
	for k := range l.states {
		types = append(types, l.typeOf(k))
	}
	for _, k := range l.moving {
		types = append(types, l.typeOf(k))
		t := c.d(2 + k)
		if t == nil {
			t = c.ZerosLike(l.init(k))
		}
		carried = append(carried, t)
	}
	var scanned []int // scanned outputs with a tangent
	for s := range l.scans {
		if o := c.Out(l.states + s); o != nil && real(o) {
			scanned = append(scanned, l.states+s)
		}
	}
	xs, ts := c.moving(l.captured())
	results := c.emitLoop("forward", c.In(0), c.In(1), carried, types, func(b *op.Builder, iteration *graph.Value, in []*graph.Value) []*graph.Value {
		outs := inline(b, l.body, append([]*graph.Value{iteration, b.Graph.Inputs()[1]}, in[:l.states]...))
		after := outs[1:]
		ys := append(pick(after, l.moving), pick(after, scanned)...)
		tangents := c.walk.pushforward(b, ys, append(pick(in, l.moving), xs...), append(append([]*graph.Value{}, in[l.states:]...), ts...), &region{graph: b.Graph})
		kept := outs[:1+l.states]
		return own(b, slices.Concat(kept, tangents), slices.Concat(kept, ys))
	}, len(scanned))
	out := make([]*graph.Value, len(c.N.Outputs()))
	for j, k := range l.moving {
		if k < len(out) {
			out[k] = results[l.states+j]
		}
	}
	for j, k := range scanned {
		out[k] = results[l.states+len(l.moving)+j]
	}
	return out
}

// emitLoop emits a Loop. The body function maps the states to (condition?, states..., scanned...); the condition is left
// out if the loop has none, and then stays as it is. Types are those that hold of the states in every iteration, nil
// where they are those of the initial values.
func (c *Call) emitLoop(name string, trips, cond *graph.Value, init []*graph.Value, types []graph.Type,
	body func(b *op.Builder, iteration *graph.Value, states []*graph.Value) []*graph.Value, scanned int,
) []*graph.Value {
	b := c.Nested(name)
	iteration := b.Graph.AddInput(b.Prefix+"iteration", graph.TensorType(graph.Int64))
	again := b.Graph.AddInput(b.Prefix+"again", graph.TensorType(graph.Bool))
	var states []*graph.Value
	for i, v := range init {
		t := v.Type
		if types != nil {
			t = types[i]
		}
		states = append(states, b.Graph.AddInput(b.Prefix+"state", t))
	}
	outs := body(b, iteration, states)
	if len(outs) == len(init)+scanned {
		outs = append([]*graph.Value{b.Identity(again)}, outs...)
	}
	b.Graph.SetOutputs(outs...)
	if err := b.Err(); err != nil {
		c.Fail(err)
	}
	in := append([]*graph.Value{trips, cond}, init...)
	return slices.Clone(c.Node("", "Loop", in, len(outs)-1, graph.G("body", b.Graph)).Outputs())
}
