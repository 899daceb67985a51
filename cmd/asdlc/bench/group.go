package bench

import (
	"fmt"
	"os/exec"
	"slices"
)

// Group measures cells of one model and batch size against each other.
type Group struct {
	Command func(Cell) *exec.Cmd // that serves a cell
	Rounds  int                  // windows of each cell
	Seconds float64              // of a window, at least
	// Limit in bytes on what the processes that take turns may hold together: those that do not fit take turns with
	// stochastic gradient descent later. 0 is none.
	Limit int64
	// Progress, if set, is told what is going on.
	Progress func(string)
}

// member is a cell with its process, or what went wrong.
type member struct {
	*Result
	process *Process
	err     error
}

// Measure measures cells, of which the first is stochastic gradient descent. A method that turns out to have no interval is
// measured once, not for each interval that is asked for. What fails has the reason in its result; the first of the errors is
// returned as well. Without stochastic gradient descent there is nothing to measure against, and the others are left out.
func (g *Group) Measure(cells []Cell) ([]*Result, error) {
	sgd := g.start(cells[0])
	defer sgd.close()
	all := []*member{sgd}
	var base Series // of stochastic gradient descent, of all parts
	for rest := cells[1:]; sgd.err == nil; {
		part := []*member{sgd}
		for held := sgd.Build; len(rest) > 0 && (len(part) == 1 || g.Limit == 0 || held < g.Limit); rest = rest[1:] {
			m := g.start(rest[0])
			if m.err == nil && m.isRepetition(all) {
				m.close()
				continue
			}
			all = append(all, m)
			if m.err == nil {
				part, held = append(part, m), held+m.Build
			}
		}
		if len(part) > 1 || len(base.Windows) == 0 {
			g.measure(part, &base)
		}
		if len(rest) == 0 {
			break
		}
	}
	var failed error
	results := make([]*Result, len(all))
	for i, m := range all {
		results[i] = m.Result
		if m.err != nil {
			m.Error = m.err.Error()
			if failed == nil {
				failed = fmt.Errorf("%s, batch %d, %s: %w", m.Model, m.Batch, m.Method, m.err)
			}
		}
	}
	return results, failed
}

// measure takes the windows of processes, of which the first is stochastic gradient descent, and ends the others.
func (g *Group) measure(part []*member, base *Series) {
	sources := make([]Windows, len(part))
	for i, m := range part {
		sources[i] = m.process
	}
	n := 0
	series := Take(sources, g.Rounds, g.Seconds, func() {
		n++
		g.tell(fmt.Sprintf("window %d of %d", n, g.Rounds*len(part)))
	})
	for i, m := range part {
		if m.err = series[i].Err; m.err == nil {
			m.Plan, m.err = m.process.Plan()
		}
	}
	sgd := part[0].Result
	base.Windows = append(base.Windows, series[0].Windows...)
	sgd.Summarize(*base, sgd, *base)
	for i, m := range part[1:] {
		m.Summarize(series[i+1], sgd, series[0])
		m.close()
	}
}

func (g *Group) start(c Cell) *member {
	g.tell(fmt.Sprintf("compiling %s, batch %d, %s", c.Model, c.Batch, c.Method))
	m := &member{Result: &Result{Cell: c}}
	if m.process, m.err = Start(g.Command(c)); m.err == nil {
		m.Built = m.process.Built
		if m.Every > 1 && m.Period == 1 { // the method has no interval
			m.Every = 0
		}
	}
	return m
}

// isRepetition tells whether a cell without an interval is of a method that is there already.
func (m *member) isRepetition(all []*member) bool {
	return m.Every == 0 && slices.ContainsFunc(all, func(o *member) bool { return o.Method == m.Method })
}

func (m *member) close() {
	if m.process != nil {
		_ = m.process.Close()
	}
}

func (g *Group) tell(what string) {
	if g.Progress != nil {
		g.Progress(what)
	}
}
