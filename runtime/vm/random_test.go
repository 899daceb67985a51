package vm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/kernel"
	"github.com/asdlc/asdlc/runtime/lower"
	"github.com/asdlc/asdlc/runtime/vm"
)

// maker makes models that exercise sharing of memory: all values are float[2,3], many are views or die at once.
type maker struct {
	*rand.Rand
	m     *graph.Model
	conds []*graph.Value
	trips *graph.Value
}

func (k *maker) pick(vs []*graph.Value) *graph.Value { return vs[k.IntN(len(vs))] }

// fill adds n random nodes to b, whose operands are seen or new, and returns all values.
func (k *maker) fill(b *op.Builder, seen []*graph.Value, n, depth int) []*graph.Value {
	seen = append([]*graph.Value{}, seen...)
	for range n {
		x := k.pick(seen)
		kind := k.IntN(12)
		switch {
		case kind < 4:
			seen = append(seen, b.Unary("Tanh", b.Add(x, k.pick(seen))))
		case kind < 5:
			seen = append(seen, b.Op("Identity", []*graph.Value{x}))
		case kind < 6:
			seen = append(seen, b.Op("Neg", []*graph.Value{x}))
		case kind < 7:
			flat := b.Op("Reshape", []*graph.Value{x, b.Ints(6)})
			seen = append(seen, b.Op("Reshape", []*graph.Value{b.Op("Abs", []*graph.Value{flat}), b.Ints(2, 3)}))
		case kind < 8:
			parts := b.Node("", "Split", []*graph.Value{x}, 2, graph.I("axis", 0)).Outputs()
			if k.m.Opset() >= 18 {
				parts[0].Def().SetAttr(graph.I("num_outputs", 2))
			}
			seen = append(seen, b.Op("Concat", []*graph.Value{parts[1], parts[0]}, graph.I("axis", 0)))
		case kind < 10 && depth < 2:
			seen = append(seen, k.branch(b, seen, depth)...)
		case depth < 2:
			seen = append(seen, k.loop(b, seen, depth)...)
		default:
			seen = append(seen, b.Mul(x, k.pick(seen)))
		}
	}
	return seen
}

func (k *maker) branch(b *op.Builder, seen []*graph.Value, depth int) []*graph.Value {
	outs := 1 + k.IntN(2)
	var bodies []*graph.Graph
	for _, name := range []string{"t", "e"} {
		nb := b.Nested(name)
		all := k.fill(nb, seen, k.IntN(4), depth+1)
		for range outs {
			nb.Graph.AddOutput(k.pick(all[k.IntN(len(all)):])) // may be an outer value
		}
		bodies = append(bodies, nb.Graph)
	}
	return b.Node("", "If", []*graph.Value{k.pick(k.conds)}, outs, graph.G("then_branch", bodies[0]), graph.G("else_branch", bodies[1])).Outputs()
}

func (k *maker) loop(b *op.Builder, seen []*graph.Value, depth int) []*graph.Value {
	carried := 1 + k.IntN(2)
	nb := b.Nested("b")
	nb.Graph.AddInput("i", graph.StaticType(graph.Int64))
	cond := nb.Graph.AddInput("c", graph.StaticType(graph.Bool))
	in := []*graph.Value{k.trips, nil}
	inner := append([]*graph.Value{}, seen...)
	for range carried {
		in = append(in, k.pick(seen))
		inner = append(inner, nb.Graph.AddInput("v", graph.StaticType(graph.Float32, 2, 3)))
	}
	all := k.fill(nb, inner, 1+k.IntN(3), depth+1)
	nb.Graph.AddOutput(nb.Op("Identity", []*graph.Value{cond}))
	for range carried {
		nb.Graph.AddOutput(k.pick(all[len(seen):]))
	}
	return b.Node("", "Loop", in, carried, graph.G("body", nb.Graph)).Outputs()
}

func randomModel(seed uint64) (*graph.Model, [][2]int) {
	m := graph.NewModel(17)
	k := &maker{Rand: rand.New(rand.NewPCG(seed, 7)), m: m}
	b := op.NewBuilder(m, m.Graph)
	var seen []*graph.Value
	for range 4 {
		seen = append(seen, m.Graph.AddInput("x", graph.StaticType(graph.Float32, 2, 3)))
	}
	for range 2 {
		k.conds = append(k.conds, m.Graph.AddInput("c", graph.StaticType(graph.Bool)))
	}
	k.trips = m.Graph.AddInput("n", graph.StaticType(graph.Int64))
	all := k.fill(b, seen, 3+k.IntN(12), 0)
	var states [][2]int
	for i := range 4 {
		out := k.pick(all[k.IntN(len(all)):])
		m.Graph.AddOutput(out)
		if i < 3 {
			states = append(states, [2]int{i, i})
		}
	}
	return m, states
}

// TestRandomModels compares the machine with the plain interpreter on models that share memory in every way, with states
// carried over runs.
func TestRandomModels(t *testing.T) {
	reg, err := kernel.NewRegistry(kernel.Default()...)
	if err != nil {
		t.Fatal(err)
	}
	count := uint64(1500)
	if testing.Short() {
		count = 200
	}
	for seed := range count {
		m, states := randomModel(seed)
		if err := agree(t, m, reg, states, seed); err != nil {
			src := graph.Print(m)
			t.Fatalf("seed %d: %v\nstates %v\n%s", seed, err, states, src)
		}
	}
}

func agree(t *testing.T, m *graph.Model, reg *kernel.Registry, states [][2]int, seed uint64) error {
	t.Helper()
	prog, err := lower.Lower(m, reg, nil)
	if err != nil {
		return err
	}
	var pairs []vm.StatePair
	for _, s := range states {
		pairs = append(pairs, vm.StatePair{In: s[0], Out: s[1]})
	}
	v, err := vm.New(prog, vm.Options{States: pairs})
	if err != nil {
		return err
	}
	in := random(t, prog, seed)
	for i, s := range states {
		v.SetState(i, in[s[0]])
	}
	for run := range 3 {
		for i, x := range random(t, prog, seed+uint64(run)) {
			if i >= len(states) {
				in[i] = x
				v.Bind(i, x)
			}
		}
		want, err := prog.Run(in)
		if err != nil {
			return err
		}
		if err := v.RunAll(); err != nil {
			return err
		}
		for i, w := range want {
			if got := v.Output(i); string(got.Raw) != string(w.Raw) {
				return fmt.Errorf("run %d, output %d is %v, want %v", run, i, values(got), values(w))
			}
		}
		for i, s := range states {
			in[s[0]] = lower.Copy(want[s[1]])
			if got := v.State(i); string(got.Raw) != string(in[s[0]].Raw) {
				return fmt.Errorf("run %d, state %d is %v, want %v", run, i, values(got), values(in[s[0]]))
			}
		}
	}
	return nil
}
