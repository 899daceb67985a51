package precondition

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// live is a block with its state values as they evolve over the step.
type live struct {
	*block
	e             *engine
	graft         *live
	stats, sols   []*graph.Value // current values
	weight        *graph.Value   // sum of the weights of an EMA that is debiased, or nil
	statIn, solIn []*graph.Value
	weightIn      *graph.Value
	work          works
	dirs          []*graph.Value // directions, if they come first
}

// clocked are the blocks of an engine that follow the same clocks.
type clocked struct {
	blocks      []*live
	stat, solve *graph.Value
}

// emit writes all blocks: states in, statistics, solves, directions, states out.
func (s *shared) emit(engines []*engine) {
	s.b.Prefix = "precond/"
	var groups []clocked
	var all, always []*live
	for _, e := range engines {
		var timed []*live
		for _, bl := range e.blocks {
			lv := e.open(bl)
			all = append(all, lv)
			if bl.graft != nil {
				lv.graft = e.open(bl.graft)
				always = append(always, lv.graft)
			}
			if bl.always {
				always = append(always, lv)
			} else {
				timed = append(timed, lv)
			}
		}
		e.dataSizeIfNeeded(timed)
		groups = append(groups, e.groups(timed)...)
	}
	for _, lv := range all {
		if lv.prepare != nil {
			lv.prepare()
		}
		if lv.lag {
			s.measured(s.b, &lv.work.apply, func() { lv.dirs = lv.e.directions(lv) })
		}
	}
	s.advance(groups)
	s.advance([]clocked{{blocks: always}})
	for _, lv := range all {
		s.measured(s.b, &lv.work.apply, func() { lv.e.direct(lv) })
	}
	s.follow(groups)
	for _, lv := range all {
		if s.sizes != nil {
			lv.note.Cost = lv.cost()
		}
	}
	s.close(all)
}

// dataSizeIfNeeded emits the divisor outside any If, so that branches can share it.
func (e *engine) dataSizeIfNeeded(blocks []*live) {
	if len(blocks) > 0 && e.rec.Tapped() {
		e.dataSize()
		e.damping()
	}
}

// keeps reports whether statistics outlive the step.
func (e *engine) keeps() bool { return e.rec.Accumulate.Kind != "none" }

// open declares a block's state.
func (e *engine) open(bl *block) *live {
	lv := &live{block: bl, e: e}
	if e.keeps() || bl.always {
		lv.statIn = e.state(bl, bl.stats)
		if len(bl.stats) > 0 && e.rec.Accumulate.Debias && !bl.always {
			lv.weightIn = e.state(bl, []slot{{name: "weight", init: "zeros", kind: "curvature"}})[0]
		}
	}
	lv.solIn = e.state(bl, bl.sols)
	lv.stats, lv.sols, lv.weight = lv.statIn, lv.solIn, lv.weightIn
	return lv
}

// advance brings statistics and solutions of blocks to this step. What happens on one clock is in one If, whichever
// record it is for: work that several records share stays inside.
func (s *shared) advance(groups []clocked) {
	var clocks []*graph.Value
	for i, g := range groups {
		groups[i].blocks = withStatistics(g.blocks)
		for _, c := range []*graph.Value{g.stat, g.solve} {
			if len(groups[i].blocks) > 0 && !slices.Contains(clocks, c) {
				clocks = append(clocks, c)
			}
		}
	}
	var both, later []*live
	for _, clock := range clocks { // statistics, and solves on the same clock
		both = both[:0]
		for _, g := range groups {
			if g.stat == clock {
				both = append(both, g.blocks...)
			}
		}
		s.when(clock, both, func(b *op.Builder) {
			for _, g := range groups {
				for _, lv := range g.blocks {
					if g.stat == clock {
						s.measured(b, &lv.work.statistics, func() { lv.e.accumulate(b, lv) })
					}
					if g.stat == clock && g.solve == clock {
						s.measured(b, &lv.work.solve, func() { lv.e.solve(b, lv) })
					}
				}
			}
		})
	}
	for _, clock := range clocks { // solves on a clock of their own
		later = later[:0]
		for _, g := range groups {
			for _, lv := range g.blocks {
				if g.solve == clock && g.stat != clock && lv.solves() {
					later = append(later, lv)
				}
			}
		}
		s.when(clock, later, func(b *op.Builder) {
			for _, lv := range later {
				s.measured(b, &lv.work.solve, func() { lv.e.solve(b, lv) })
			}
		})
	}
	for _, clock := range clocks { // what follows statistics and solves
		later = later[:0]
		for _, g := range groups {
			for _, lv := range g.blocks {
				if g.stat == clock && lv.follow != nil {
					later = append(later, lv)
				}
			}
		}
		s.when(clock, later, func(b *op.Builder) {
			for _, lv := range later {
				lv.e.follow(b, lv)
			}
		})
	}
}

// follow runs what comes after the directions.
func (s *shared) follow(groups []clocked) {
	for _, g := range groups {
		blocks := slices.DeleteFunc(slices.Clone(g.blocks), func(lv *live) bool { return lv.after == nil })
		s.when(g.solve, blocks, func(b *op.Builder) {
			for _, lv := range blocks {
				s.measured(b, &lv.work.solve, func() { lv.e.settle(b, lv, lv.after(b, debiased(b, lv), slices.Clone(lv.sols))) })
			}
		})
	}
}

func withStatistics(blocks []*live) []*live {
	var out []*live
	for _, lv := range blocks {
		if len(lv.block.stats) > 0 || lv.renew != nil || lv.block.follow != nil {
			out = append(out, lv)
		}
	}
	return out
}

// when runs emit under a clock: all values of the blocks that emit changes come out of one If, whose other branch
// leaves them as they are.
func (e *shared) when(clock *graph.Value, blocks []*live, emit func(b *op.Builder)) {
	if len(blocks) == 0 {
		return
	}
	if clock == nil {
		emit(e.b)
		return
	}
	before := snapshot(blocks)
	failures := e.guards
	e.guards = nil
	nested := e.b.Nested("then")
	nested.Prefix = e.b.Prefix
	emit(nested)
	after := snapshot(blocks)
	var changed []*graph.Value // new values, and the old ones at the same index
	var kept []*graph.Value
	var places []**graph.Value
	for i := range after {
		if *after[i].place != before[i].value {
			changed, kept, places = append(changed, *after[i].place), append(kept, before[i].value), append(places, after[i].place)
		}
	}
	guarded := len(e.guards) > 0
	if guarded {
		changed = append(changed, sumInts(nested, e.guards))
	}
	if err := nested.Err(); err != nil {
		e.b.Fail(err)
	}
	nested.Graph.SetOutputs(changed...)
	other := e.b.Nested("else")
	if guarded {
		kept = append(kept, other.Int(0))
	}
	// A value that the step does not keep has no old value: it exists only on a tick.
	other.Graph.SetOutputs(kept...)
	outs := e.b.Node("", "If", []*graph.Value{clock}, len(changed), graph.G("then_branch", nested.Graph), graph.G("else_branch", other.Graph)).Outputs()
	for i, p := range places {
		*p = outs[i]
	}
	e.guards = failures
	if guarded {
		e.guards = append(e.guards, outs[len(outs)-1])
	}
}

type place struct {
	place **graph.Value
	value *graph.Value
}

// snapshot lists where the blocks keep values that outlive the step, with the present ones.
func snapshot(blocks []*live) []place {
	var ps []place
	for _, lv := range blocks {
		if lv.statIn != nil {
			for i := range lv.stats {
				ps = append(ps, place{&lv.stats[i], lv.stats[i]})
			}
		}
		if lv.weight != nil {
			ps = append(ps, place{&lv.weight, lv.weight})
		}
		for i := range lv.sols {
			ps = append(ps, place{&lv.sols[i], lv.sols[i]})
		}
	}
	return ps
}

// accumulate folds this step's statistics into the kept ones. Statistics that are not finite leave them as they are.
func (e *engine) accumulate(b *op.Builder, lv *live) {
	if lv.next != nil {
		next := lv.next(b, lv.stats)
		if e.rec.Guards.Finite && !lv.held {
			ok := e.finite(b, next...)
			for i := range next {
				next[i] = b.Where(ok, next[i], lv.stats[i])
			}
		}
		lv.stats = next
		return
	}
	if len(lv.block.stats) == 0 {
		return
	}
	acc := e.rec.Accumulate
	var fresh []*graph.Value
	if lv.observe != nil {
		fresh = e.scaled(b, lv.observe(b, lv))
	} else {
		fresh = e.scaled(b, lv.fresh(b))
	}
	if lv.statIn == nil {
		lv.stats = fresh
		return
	}
	next := make([]*graph.Value, len(fresh))
	for i, x := range fresh {
		old := lv.stats[i]
		switch acc.Kind {
		case "ema":
			next[i] = b.Add(b.Scale(old, acc.Beta), b.Scale(x, 1-acc.Beta))
		case "window": // of blocks that keep no rows: the newest batch
			next[i] = x
		default:
			next[i] = b.Add(old, x)
		}
	}
	weight := lv.weight
	switch {
	case weight == nil:
	case acc.Kind == "ema":
		weight = b.Add(b.Scale(weight, acc.Beta), b.Float(e.elem, 1-acc.Beta))
	default:
		weight = b.Add(weight, b.Float(e.elem, 1))
	}
	if e.rec.Guards.Finite && !lv.always {
		ok := e.finite(b, fresh...)
		for i := range next {
			next[i] = b.Where(ok, next[i], lv.stats[i])
		}
		if weight != nil {
			weight = b.Where(ok, weight, lv.weight)
		}
	}
	lv.stats, lv.weight = next, weight
}

func (e *engine) scaled(b *op.Builder, fresh []*graph.Value) []*graph.Value {
	if s := e.rec.Curvature.Scale; s != 0 && s != 1 {
		for i := range fresh {
			fresh[i] = b.Scale(fresh[i], s)
		}
	}
	return fresh
}

// solve makes the solutions from the statistics. One that is not finite leaves the last good one in place.
func (e *engine) solve(b *op.Builder, lv *live) {
	if !lv.solves() {
		return
	}
	var sols, damped []*graph.Value
	if lv.renew != nil {
		sols = lv.renew(b, debiased(b, lv), slices.Clone(lv.sols))
	} else {
		sols, damped = lv.block.solve(b, debiased(b, lv))
	}
	if damped != nil {
		lv.stats = damped
	}
	e.settle(b, lv, sols)
}

// settle makes sols the block's solutions, if all new ones are finite.
func (e *engine) settle(b *op.Builder, lv *live, sols []*graph.Value) {
	if fresh := moved(sols, lv.sols); e.rec.Guards.Finite && !lv.always && len(fresh) > 0 {
		ok := e.finite(b, fresh...)
		for i, v := range sols {
			if v != lv.sols[i] {
				sols[i] = b.Where(ok, v, lv.sols[i])
			}
		}
	}
	lv.sols = sols
}

// debiased are the statistics divided by the sum of their weights, if the record says so.
func debiased(b *op.Builder, lv *live) []*graph.Value {
	stats := append([]*graph.Value{}, lv.stats...)
	if lv.weight != nil {
		for i := range stats {
			stats[i] = b.Div(stats[i], lv.weight)
		}
	}
	return stats
}

// moved lists the values that differ from the old ones.
func moved(next, old []*graph.Value) []*graph.Value {
	var list []*graph.Value
	for i, v := range next {
		if v != old[i] {
			list = append(list, v)
		}
	}
	return list
}

// follow brings the sols that change on the clock of the statistics to this step. Those that are not finite stay.
func (e *engine) follow(b *op.Builder, lv *live) {
	e.settle(b, lv, lv.block.follow(b, lv.sols))
}

// finite is a bool scalar: all entries of all values are finite. Each failure is counted.
func (e *shared) finite(b *op.Builder, vs ...*graph.Value) *graph.Value {
	var sum *graph.Value
	for _, v := range vs {
		s := b.Sum(v)
		if sum == nil {
			sum = s
		} else {
			sum = b.Add(sum, s)
		}
	}
	zero := b.Mul(sum, b.Float(e.elem, 0)) // NaN if the sum is NaN or infinite
	ok := b.Compare("Equal", zero, zero)
	e.guards = append(e.guards, b.Cast(b.Unary("Not", ok), graph.Int64))
	return ok
}

func sumInts(b *op.Builder, vs []*graph.Value) *graph.Value {
	s := vs[0]
	for _, v := range vs[1:] {
		s = b.Add(s, v)
	}
	return s
}

// directions are those of a block's parameters.
func (e *engine) directions(lv *live) []*graph.Value {
	grads := make([]*graph.Value, len(lv.params))
	for i, p := range lv.params {
		grads[i] = e.grads[p.Value]
		if s := e.rec.Apply.Scale; s != 0 && s != 1 && !lv.note.Fallback {
			grads[i] = e.b.Scale(grads[i], s)
		}
		if lv.moment != 0 {
			m := e.firstMoment(p, grads[i], lv.moment)
			if e.rec.Apply.Nesterov {
				m = e.moving(e.b, m, grads[i], lv.moment)
			}
			grads[i] = m
		}
	}
	var dirs []*graph.Value
	if lv.play != nil {
		dirs = lv.play(e.b, lv, grads)
	} else {
		dirs = lv.apply(e.b, grads, e.applied(lv), lv.sols)
	}
	switch {
	case lv.graft != nil:
		dirs[0] = e.grafted(e.b, dirs[0], lv.graft.apply(e.b, grads, lv.graft.stats, nil)[0])
	case e.rec.Apply.Graft == "sgd" && lv.solves():
		for i := range dirs {
			dirs[i] = e.grafted(e.b, dirs[i], grads[i])
		}
	}
	if lv.guard && e.rec.Guards.Finite {
		for i, d := range dirs {
			dirs[i] = e.b.Where(e.finite(e.b, d), d, e.b.Float(e.elem, 0))
		}
	}
	return dirs
}

// direct tags the directions of a block's parameters.
func (e *engine) direct(lv *live) {
	dirs := lv.dirs
	if dirs == nil {
		dirs = e.directions(lv)
	}
	for i, p := range lv.params {
		attrs := []graph.Attr{graph.S("of", p.Name())}
		if lv.rule != "" {
			attrs = append(attrs, graph.S("rule", lv.rule))
		}
		if lv.note.Fallback || e.rec.Representation.Format == "none" {
			attrs = append(attrs, graph.I("plain", 1))
		}
		if lv.squares || lv.block.graft != nil {
			attrs = append(attrs, graph.I("squared", 1))
		}
		in := []*graph.Value{dirs[i], p.Value}
		if lv.inner != nil && i == 0 {
			in = append(in, lv.inner)
		} else if lv.inner != nil {
			attrs = append(attrs, graph.I("counted", 1))
		}
		e.b.Named(graph.Asdl, graph.TagPrecond, in, []string{"precond/" + p.Name()}, attrs...)
	}
}

// applied are the statistics as apply takes them. Those to be debiased are ones before the first good estimate.
func (e *engine) applied(lv *live) []*graph.Value {
	if !lv.block.debiased || lv.weight == nil {
		return lv.stats
	}
	b, stats := e.b, debiased(e.b, lv)
	for i := range stats {
		stats[i] = b.Where(b.Compare("Greater", lv.weight, b.Float(e.elem, 0)), stats[i], b.Float(e.elem, 1))
	}
	return stats
}

// close makes the next values outputs.
func (e *shared) close(all []*live) {
	for _, lv := range all {
		if lv.graft != nil {
			e.keep(lv.graft)
		}
		e.keep(lv)
	}
	if len(e.guards) > 0 {
		pass.Count(e.b, sumInts(e.b, e.guards))
	}
}

// keep makes the next values of one block outputs.
func (e *shared) keep(lv *live) {
	for i, in := range lv.statIn {
		pass.Next(e.b, in, lv.stats[i])
	}
	if lv.weightIn != nil {
		pass.Next(e.b, lv.weightIn, lv.weight)
	}
	for i, in := range lv.solIn {
		pass.Next(e.b, in, lv.sols[i])
	}
}
