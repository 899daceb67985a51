package legalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// clocks replaces each Every tag by its condition on the step counter, that of Tick; one that ticks at random by
// uniform < probability.
func (l *lowering) clocks() error {
	for _, n := range pass.Tags(l.m.Graph, graph.TagEvery) {
		b := op.NewBuilder(l.m, n.Graph())
		b.At, b.Prefix = n, "clock/"
		tick := condition(b, n)
		n.Out(0).ReplaceUses(tick)
		n.Remove()
		if err := b.Err(); err != nil {
			return err
		}
	}
	return nil
}

func condition(b *op.Builder, n *graph.Node) *graph.Value {
	step := n.In(0)
	if pass.Tossed(n) {
		return tossed(b, n)
	}
	if s := n.Str("schedule", ""); s != "" {
		return scheduled(b, step, s)
	}
	every, warmup, phase := n.Int("every", 1), n.Int("warmup", 0), n.Int("phase", 0)
	zero := b.Int(0)
	if warmup == 0 && phase == 0 {
		return b.Compare("Equal", b.Op("Mod", []*graph.Value{step, b.Int(every)}), zero)
	}
	since := b.Sub(step, b.Int(warmup))
	regular := b.Compare("Equal", b.Op("Mod", []*graph.Value{since, b.Int(every)}), b.Int(phase))
	return b.Op("Or", []*graph.Value{b.Compare("Less", since, b.Int(min(phase, 1))), regular})
}

// tossed is uniform < max(floor, exp(-decay max(0, step - flat))), in the type of the random number.
func tossed(b *op.Builder, n *graph.Node) *graph.Value {
	u := b.Reshape(n.In(1))
	since := b.Cast(b.Op("Max", []*graph.Value{b.Sub(n.In(0), b.Int(n.Int("flat", 0))), b.Int(0)}), u.Type.Elem)
	p := b.Unary("Exp", b.Scale(since, -float64(n.Float("decay", 0))))
	return b.Compare("Less", u, b.Op("Max", []*graph.Value{p, b.Float(u.Type.Elem, float64(n.Float("floor", 0)))}))
}

func scheduled(b *op.Builder, step *graph.Value, schedule string) *graph.Value {
	ticks := make([]bool, len(schedule)+1) // the last entry is for every later step
	for i, c := range schedule {
		ticks[i] = c == '1'
	}
	table := b.Const("schedule", graph.TensorOf(ticks, int64(len(ticks))))
	at := b.Op("Min", []*graph.Value{step, b.Int(int64(len(schedule)))})
	return b.Gather(table, at, 0)
}

// Tick tells whether an Every tag ticks at a step, the host's side of split step graphs: on the steps up to and with warmup, and
// where (step - warmup) mod every = phase; with a schedule, where its entry says so, and never beyond its end.
func Tick(every, warmup, phase int64, schedule string, step int64) bool {
	if schedule != "" {
		return step < int64(len(schedule)) && schedule[step] == '1'
	}
	return step <= warmup || (step-warmup)%max(every, 1) == phase
}
