package vm

import (
	"fmt"
	"math"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
)

// trainStep is a step graph of an MLP: forward, backward, momentum update, and a lazily refreshed statistic, layer by
// layer. States are weights, momenta and statistics.
func trainStep(layers, batch, width int64) (*graph.Model, []StatePair) {
	m := graph.NewModel(17)
	b := op.NewBuilder(m, m.Graph)
	g := m.Graph
	x := g.AddInput("x", graph.StaticType(graph.Float32, batch, width))
	refresh := g.AddInput("refresh", graph.StaticType(graph.Bool))
	var weights, momenta, stats, acts []*graph.Value
	for i := range layers {
		weights = append(weights, g.AddInput(fmt.Sprintf("w%d", i), graph.StaticType(graph.Float32, width, width)))
		momenta = append(momenta, g.AddInput(fmt.Sprintf("m%d", i), graph.StaticType(graph.Float32, width, width)))
		stats = append(stats, g.AddInput(fmt.Sprintf("s%d", i), graph.StaticType(graph.Float32, width, width)))
	}
	h := x
	for _, w := range weights {
		acts = append(acts, h)
		h = b.Unary("Tanh", b.MatMul(h, w))
	}
	d := b.Sub(h, x)
	var pairs []StatePair
	next := func(in, out *graph.Value) {
		for i, v := range g.Inputs() {
			if v == in {
				pairs = append(pairs, StatePair{In: i, Out: len(g.Outputs())})
			}
		}
		g.AddOutput(out)
	}
	for i := int(layers) - 1; i >= 0; i-- {
		grad := b.Gemm(acts[i], d, true, false)
		d = b.Mul(b.Gemm(d, weights[i], false, true), b.Sub(b.Float(graph.Float32, 1), b.Square(acts[i])))
		stat := lazy(b, refresh, stats[i], acts[i])
		step := b.Mul(grad, stat)
		momentum := b.Add(b.Scale(momenta[i], 0.9), step)
		next(stats[i], stat)
		next(momenta[i], momentum)
		next(weights[i], b.Sub(weights[i], b.Scale(momentum, 0.01)))
	}
	return m, pairs
}

// lazy is a statistic that is updated if refresh is true.
func lazy(b *op.Builder, refresh, old, act *graph.Value) *graph.Value {
	then, otherwise := b.Nested("then"), b.Nested("else")
	then.Graph.AddOutput(then.Add(then.Scale(old, 0.95), then.Gemm(act, act, true, false)))
	otherwise.Graph.AddOutput(otherwise.Op("Identity", []*graph.Value{old}))
	return b.Node("", "If", []*graph.Value{refresh}, 1, graph.G("then_branch", then.Graph), graph.G("else_branch", otherwise.Graph)).Out(0)
}

func ready(t *testing.T, m *graph.Model, pairs []StatePair) *VM {
	t.Helper()
	reg, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := lower.Lower(m, reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(prog, Options{States: pairs})
	if err != nil {
		t.Fatal(err)
	}
	states := map[int]int{}
	for k, p := range pairs {
		states[p.In] = k
	}
	for i, in := range prog.Model.Graph.Inputs() {
		shape, _ := in.Type.Static()
		x := kernel.New(in.Type.Elem)
		for _, n := range shape {
			x.Shape = append(x.Shape, int(n))
		}
		x.Raw = kernel.Aligned(byteSize(x))
		if k, ok := states[i]; ok {
			v.SetState(k, x)
			continue
		}
		v.Bind(i, x)
	}
	if err := v.RunAll(); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestArenaMeetsTheBound compares the arena with the largest sum of sizes of what lives at the same time.
func TestArenaMeetsTheBound(t *testing.T) {
	for _, c := range []struct{ layers, batch, width int64 }{{8, 32, 64}, {20, 128, 48}, {40, 8, 32}} {
		v := ready(t, must(trainStep(c.layers, c.batch, c.width)), pairsOf(trainStep(c.layers, c.batch, c.width)))
		p := v.plans[0].plan
		if float64(p.size) > 1.05*float64(p.peak) {
			t.Errorf("%+v: arena of %d bytes, bound %d", c, p.size, p.peak)
		}
		// The activations are what a step cannot do without.
		if floor := int(c.layers * c.batch * c.width * 4); p.peak < floor {
			t.Errorf("%+v: a bound of %d bytes is below the activations' %d", c, p.peak, floor)
		}
	}
}

func must(m *graph.Model, _ []StatePair) *graph.Model       { return m }
func pairsOf(_ *graph.Model, pairs []StatePair) []StatePair { return pairs }

// TestStatesStayInPlace checks that the next states of a train step are written where the states lie, without copies,
// and that an If that keeps its state does nothing.
func TestStatesStayInPlace(t *testing.T) {
	m, pairs := trainStep(4, 8, 16)
	v := ready(t, m, pairs)
	p := v.plans[0].plan
	if n := len(p.commits); n != 0 {
		t.Errorf("%d of %d states are copied after the step", n, len(pairs))
	}
	for k, s := range pairs {
		if &v.State(k).Raw[0] != &v.Output(s.Out).Raw[0] {
			t.Errorf("state %d lies elsewhere than its next value", k)
		}
	}
	for _, child := range p.children {
		if len(child.plan.steps) == 0 && len(child.plan.commits) > 0 {
			t.Error("the branch that keeps the state copies it")
		}
	}
}

// What a state goes through on its way to the next one lies in its memory as well: the result of an If, and what is made of it.
func TestStatesPassThroughTheirMemory(t *testing.T) {
	const n = 1 << 14
	m := graph.NewModel(17)
	b := op.NewBuilder(m, m.Graph)
	s := m.Graph.AddInput("s", graph.StaticType(graph.Float32, n))
	begun := m.Graph.AddInput("begun", graph.StaticType(graph.Bool))
	then, otherwise := b.Nested("then"), b.Nested("else")
	then.Graph.AddOutput(then.Op("Identity", []*graph.Value{s}))
	otherwise.Graph.AddOutput(otherwise.Op("Expand", []*graph.Value{otherwise.Float(graph.Float32, 5), otherwise.Ints(n)}))
	x := b.Node("", "If", []*graph.Value{begun}, 1, graph.G("then_branch", then.Graph), graph.G("else_branch", otherwise.Graph)).Out(0)
	m.Graph.AddOutput(b.Unary("Neg", b.Unary("Exp", x)))
	v := ready(t, m, []StatePair{{In: 0, Out: 0}})
	if p := v.plans[0].plan; len(p.commits) != 0 || p.size >= 4*n {
		t.Errorf("%d copies, %d bytes of memory beside the state", len(p.commits), p.size)
	}
	want := float32(-math.Exp(5))
	for _, run := range []bool{false, true} { // the first step made -exp(5), for begun is false
		if got := kernel.Data[float32](v.State(0))[n-1]; math.Abs(float64(got/want-1)) > 1e-6 {
			t.Errorf("state %g, want %g", got, want)
		}
		if run {
			break
		}
		yes := kernel.New(graph.Bool)
		yes.Raw = kernel.Aligned(1)
		yes.Raw[0] = 1
		v.Bind(1, yes)
		if err := v.RunAll(); err != nil {
			t.Fatal(err)
		}
		want = float32(-math.Exp(float64(want)))
	}
}

func TestPlansAreKept(t *testing.T) {
	m := graph.NewModel(17)
	b := op.NewBuilder(m, m.Graph)
	x := m.Graph.AddInput("x", graph.TensorType(graph.Float32, graph.Sym("N"), graph.Known(4)))
	m.Graph.AddOutput(b.Unary("Neg", b.Unary("Abs", x)))
	reg, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := lower.Lower(m, reg, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(prog, Options{Plans: 2})
	if err != nil {
		t.Fatal(err)
	}
	made := map[*plan]bool{}
	for _, n := range []int{3, 5, 3, 5, 3, 2, 3} { // 2 drives out 5, not 3
		v.Bind(0, kernel.New(graph.Float32, n, 4))
		if err := v.RunAll(); err != nil {
			t.Fatal(err)
		}
		if got := v.Output(0).Shape[0]; got != n {
			t.Errorf("batch %d gives %d rows", n, got)
		}
		made[v.plans[0].plan] = true
	}
	if len(made) != 3 || len(v.plans) != 2 {
		t.Errorf("%d plans made, %d kept; want 3 and 2", len(made), len(v.plans))
	}
}

// A next state that is computed early moves behind the last reader of the old one.
func TestNextStatesAreDelayed(t *testing.T) {
	m := graph.NewModel(17)
	b := op.NewBuilder(m, m.Graph)
	w := m.Graph.AddInput("w", graph.StaticType(graph.Float32, 4))
	x := m.Graph.AddInput("x", graph.StaticType(graph.Float32, 4))
	m.Graph.AddOutput(b.Add(w, x))
	m.Graph.AddOutput(b.Mul(w, x))
	v := ready(t, m, []StatePair{{In: 0, Out: 0}})
	if p := v.plans[0].plan; len(p.commits) != 0 || p.steps[0].instr.op.Node.Op != "Mul" {
		t.Errorf("%d copies, first step %s", len(p.commits), p.steps[0].instr.op)
	}
}

// A tensor of which the shape alone counts is not made.
func TestUnreadInputsAreNotMade(t *testing.T) {
	m := graph.NewModel(17)
	b := op.NewBuilder(m, m.Graph)
	x := m.Graph.AddInput("x", graph.StaticType(graph.Float32, 64, 64))
	like := b.Unary("Exp", x)
	m.Graph.AddOutput(b.Op("EyeLike", []*graph.Value{like}))
	v := ready(t, m, nil)
	if p := v.plans[0].plan; len(p.steps) != 1 || p.size != 64*64*4 {
		t.Errorf("%d steps on %d bytes, want 1 on %d", len(p.steps), p.size, 64*64*4)
	}
	if y := kernel.Data[float32](v.Output(0)); y[0] != 1 || y[1] != 0 || y[65] != 1 {
		t.Errorf("no unit matrix: %v", y[:66])
	}
}
