package vm

import (
	"fmt"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

const (
	layers     = 8
	side       = 256
	matrixSize = side * side * 4
)

// layered makes a step graph with a matrix of state for each layer.
func layered(make func(b *op.Builder, states []*graph.Value) (next []*graph.Value)) (*graph.Model, []StatePair) {
	m := graph.NewModel(17)
	var states []*graph.Value
	var pairs []StatePair
	for i := range layers {
		states = append(states, m.Graph.AddInput(fmt.Sprintf("s%d", i), graph.StaticType(graph.Float32, side, side)))
		pairs = append(pairs, StatePair{In: i, Out: i})
	}
	for _, v := range make(op.NewBuilder(m, m.Graph), states) {
		m.Graph.AddOutput(v)
	}
	return m, pairs
}

// finite is whether all elements of x are.
func finite(b *op.Builder, x *graph.Value) *graph.Value {
	zero := b.Scale(b.Sum(x, 0, 1), 0)
	return b.Compare("Equal", zero, zero)
}

// holds checks that no more than so many matrices of the arena live at a time, and that states are written in place.
func holds(t *testing.T, m *graph.Model, pairs []StatePair, matrices float64) {
	t.Helper()
	p := ready(t, m, pairs).plans[0].plan
	if most := int(matrices * matrixSize); p.size > most {
		t.Errorf("an arena of %.1f matrices, want at most %.1f", float64(p.size)/matrixSize, matrices)
	}
	if len(p.commits) > 0 {
		t.Errorf("%d states are copied", len(p.commits))
	}
}

// Solutions of all layers, of which each is guarded at the very end, are not there at the same time.
func TestGuardsComeEarly(t *testing.T) {
	m, pairs := layered(func(b *op.Builder, states []*graph.Value) (next []*graph.Value) {
		var solved, ok []*graph.Value
		for _, s := range states {
			x := b.MatMul(s, s)
			solved, ok = append(solved, x), append(ok, finite(b, x))
		}
		for i, s := range states {
			next = append(next, b.Where(ok[i], solved[i], s))
		}
		return next
	})
	holds(t, m, pairs, 4) // a product, what it is packed into, and scalars
}

// Statistics of all layers, which wait for a guard over all gradients, are taken when that is known.
func TestStatisticsComeLate(t *testing.T) {
	const batch = 8
	m, pairs := layered(func(b *op.Builder, states []*graph.Value) (next []*graph.Value) {
		x := b.Graph.AddInput("x", graph.StaticType(graph.Float32, batch, side))
		var stats, ok []*graph.Value
		for _, s := range states {
			stat := b.Gemm(x, x, true, false)
			stats, ok = append(stats, b.Add(b.Scale(s, 0.9), b.Scale(stat, 0.1))), append(ok, finite(b, stat))
			x = b.Unary("Tanh", b.MatMul(x, s))
		}
		all := finite(b, x)
		for i, s := range states {
			next = append(next, b.Where(b.Op("And", []*graph.Value{ok[i], all}), stats[i], s))
		}
		return next
	})
	holds(t, m, pairs, 4)
}
