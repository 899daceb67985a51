package cleanup_test

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/cleanup"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// builder makes random graphs of matrices [2,2], rich in what cleanup looks for: equal nodes, neutral numbers, pairs that undo
// each other, unused values, Ifs with constant and other conditions.
type builder struct {
	*op.Builder
	rng   *rand.Rand
	conds []*graph.Value
}

func (r *builder) pick(vs []*graph.Value) *graph.Value { return vs[r.rng.IntN(len(vs))] }

// grow adds n random values to those visible, and returns all.
func (r *builder) grow(b *op.Builder, visible []*graph.Value, n, depth int) []*graph.Value {
	all := append([]*graph.Value{}, visible...)
	for range n {
		x, y := r.pick(all), r.pick(all)
		switch r.rng.IntN(12) {
		case 0, 1:
			all = append(all, b.Mul(x, b.Float(graph.Float64, []float64{0.5, 1, 2}[r.rng.IntN(3)])))
		case 2:
			all = append(all, b.Add(b.Float(graph.Float64, 0), x))
		case 3, 4:
			all = append(all, b.Transpose(x))
		case 5:
			all = append(all, b.Squeeze(b.Unsqueeze(x, 0), 0))
		case 6:
			all = append(all, b.Reshape(b.Reshape(x, 4), 2, 2))
		case 7:
			all = append(all, b.Unary([]string{"Neg", "Tanh", "Identity"}[r.rng.IntN(3)], x))
		case 8, 9:
			if depth == 0 {
				continue
			}
			branch := func(nb *op.Builder) []*graph.Value {
				inner := r.grow(nb, all, 1+r.rng.IntN(4), depth-1)
				return []*graph.Value{inner[len(inner)-1], nb.Identity(r.pick(inner))}
			}
			all = append(all, b.If(r.pick(r.conds), branch, branch)...)
		default:
			all = append(all, b.Op([]string{"Add", "Sub", "Mul"}[r.rng.IntN(3)], []*graph.Value{x, y}))
		}
	}
	return all
}

func randomModel(seed uint64) (*graph.Model, error) {
	m := graph.NewModel(17)
	r := &builder{Builder: op.NewBuilder(m, m.Graph), rng: rand.New(rand.NewPCG(seed, 2))}
	t := graph.StaticType(graph.Float64, 2, 2)
	inputs := []*graph.Value{m.Graph.AddInput("x", t), m.Graph.AddInput("y", t)}
	r.conds = []*graph.Value{
		m.Graph.AddInput("p", graph.StaticType(graph.Bool)), m.Graph.AddInput("q", graph.StaticType(graph.Bool)),
		r.Const("on", graph.Scalar(true)),
	}
	all := r.grow(r.Builder, inputs, 20, 2)
	for range 3 {
		m.Graph.AddOutput(r.Identity(r.pick(all)))
	}
	return m, r.Err()
}

// TestRandomModels: cleanup keeps what random models compute, leaves nothing dead, and is done after one run.
func TestRandomModels(t *testing.T) {
	for seed := range uint64(300) {
		m, err := randomModel(seed)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := passtest.Apply(t, m, pass.Options{}, cleanup.Pass)
		feeds := passtest.Feeds(t, m, seed, nil)
		passtest.Same(t, passtest.Eval(t, m, feeds), passtest.Eval(t, got, feeds), 1e-12)
		again, _ := passtest.Apply(t, got, pass.Options{}, cleanup.Pass)
		if err := graph.Equal(got, again); err != nil {
			t.Errorf("a second cleanup changes something: %v", err)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s\n%s", seed, graph.Print(m), graph.Print(got))
		}
	}
}
