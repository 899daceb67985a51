package precondition

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// groups divides blocks by the step of the interval on which they solve.
func (e *engine) groups(blocks []*live) []clocked {
	var groups []clocked
	phases := e.phases(blocks)
	for i, lv := range blocks {
		c := e.clocksAt(phases[i])
		at := slices.IndexFunc(groups, func(g clocked) bool { return g.solve == c.solve })
		if at < 0 {
			at, groups = len(groups), append(groups, c)
		}
		groups[at].blocks = append(groups[at].blocks, lv)
	}
	return groups
}

// phases are the steps of the interval on which the blocks solve: 0, or under solve.stagger such that the steps have about equal
// work. The blocks with the most are placed first, each on the step that has least so far.
func (e *engine) phases(blocks []*live) []int {
	phases := make([]int, len(blocks))
	if !e.rec.Solve.Stagger {
		return phases
	}
	order := make([]int, len(blocks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(solveWork(blocks[j]), solveWork(blocks[i])) })
	work := make([]float64, min(e.rec.Solve.Every, len(blocks)))
	for _, i := range order {
		least := slices.Index(work, slices.Min(work))
		work[least] += solveWork(blocks[i])
		phases[i] = least * e.rec.Solve.Every / len(work)
	}
	return phases
}

// solveWork is the work of a block's solve up to a factor that all blocks share: what a product of each matrix that it makes
// with a square one would cost.
func solveWork(lv *live) float64 {
	sum := 0.0
	for _, s := range lv.block.sols {
		if len(s.shape) < 2 {
			continue
		}
		work := float64(min(s.shape[len(s.shape)-2], s.shape[len(s.shape)-1]))
		for _, d := range s.shape {
			work *= float64(d)
		}
		sum += work
	}
	return sum
}

// clocksAt are the clocks of the record's intervals, for blocks that solve in that phase.
func (e *engine) clocksAt(phase int) clocked {
	acc, sol := e.rec.Accumulate, e.rec.Solve
	c := clocked{stat: e.clock("statistics", interval{every: acc.Every, warmup: acc.Warmup, schedule: acc.Schedule})}
	c.solve = c.stat
	if sol.Every != acc.Every || sol.Warmup != acc.Warmup || phase > 0 || sol.Delay > 0 {
		c.solve = e.clock("solve", interval{sol.Every, sol.Warmup, phase, sol.Delay, acc.Schedule})
	}
	if sol.Probability.Floor > 0 {
		c.solve = e.tossed()
	}
	if acc.Kind == "none" {
		c.stat = c.solve
	}
	return c
}

// tossed is a clock that ticks at random, with the record's probability at this step.
func (e *engine) tossed() *graph.Value {
	if e.toss == nil {
		b, p := e.b, e.rec.Solve.Probability
		name := pass.Labelled("clock/solve", e.label)
		uniform := b.Tag(graph.TagNoise, []*graph.Value{b.Ints(1)}, graph.S("name", name), graph.S("kind", "uniform"), graph.I("draw", 0), graph.I("dtype", int64(e.elem)))
		e.toss = b.Tag(graph.TagEvery, []*graph.Value{e.stepValue(), uniform}, graph.S("clock", "solve"),
			graph.F("floor", float32(p.Floor)), graph.F("decay", float32(p.Decay)), graph.I("flat", int64(p.Flat)))
	}
	return e.toss
}

// interval says on which steps a clock ticks, and how many steps later its results are used.
type interval struct {
	every, warmup, phase, delay int
	schedule                    string
}

// clock is a bool scalar that says whether an interval ticks at this step; nil if it always does. Engines with equal
// intervals share a clock.
func (e *engine) clock(name string, in interval) *graph.Value {
	if in.every <= 1 && in.schedule == "" {
		return nil
	}
	if tick := e.ticks[in]; tick != nil {
		return tick
	}
	if e.label != "" {
		name += "." + e.label
	}
	if in.phase > 0 {
		name += fmt.Sprint(".", in.phase)
	}
	attrs := []graph.Attr{graph.S("clock", name), graph.I("every", int64(max(in.every, 1))), graph.I("warmup", int64(in.warmup))}
	for _, a := range []graph.Attr{graph.I("phase", int64(in.phase)), graph.I("delay", int64(in.delay))} {
		if a.I > 0 {
			attrs = append(attrs, a)
		}
	}
	if in.schedule != "" {
		attrs = append(attrs, graph.S("schedule", in.schedule))
	}
	e.ticks[in] = e.b.Tag(graph.TagEvery, []*graph.Value{e.stepValue()}, attrs...)
	return e.ticks[in]
}
