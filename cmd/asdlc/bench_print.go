package main

import (
	"fmt"
	"io"

	"github.com/asdlc/asdlc/bench"
)

// print prints a table for each model and batch size, a row a cell.
func (r *benchReport) print(w io.Writer) {
	fmt.Fprintf(w, "asdlc %s, %s, %s, %d CPUs; %d windows of at least %g s\n", r.Version, r.Go, r.CPU, r.Cores, r.Windows, r.Seconds)
	var t *table
	for i, res := range r.Results {
		if i == 0 || res.Model != r.Results[i-1].Model || res.Batch != r.Results[i-1].Batch {
			t.flush(w)
			fmt.Fprintf(w, "\n%s, batch %d, %d threads\n", bench.Label(res.Model), res.Batch, res.Threads)
			t = newTable(resultHead...)
		}
		t.add(resultCells(res)...)
	}
	t.flush(w)
	for _, res := range r.Results {
		switch {
		case res.Error != "":
			fmt.Fprintf(w, "\n%s, batch %d, %s: %s\n", bench.Label(res.Model), res.Batch, bench.Label(res.Method), res.Error)
		case res.Failures > 0:
			fmt.Fprintf(w, "\n%s, batch %d, %s: %d solves were not finite; the inverses before them were kept\n", bench.Label(res.Model), res.Batch, bench.Label(res.Method), res.Failures)
		}
	}
}

// flush writes a table if there is one.
func (t *table) flush(w io.Writer) {
	if t != nil {
		t.write(w)
	}
}

var resultHead = []string{"method", "T", "ms a step", "examples/s", "x SGD", "(least-most)", "refresh ms", "other ms", "planned", "resident", "x SGD", "compiled in"}

func resultCells(r *bench.Result) []string {
	every := "-"
	if r.Every > 0 {
		every = fmt.Sprint(r.Every)
	} else if r.Period > 1 {
		every = fmt.Sprint(r.Period)
	}
	cells := []string{bench.Label(r.Method), every}
	if r.Step == 0 {
		cells = append(cells, "failed")
		for len(cells) < len(resultHead) {
			cells = append(cells, "-")
		}
		return cells
	}
	return append(cells, milliseconds(r.Step), fmt.Sprintf("%.0f", r.Examples),
		ratio(r.Throughput.Median), fmt.Sprintf("(%s-%s)", ratio(r.Throughput.Min), ratio(r.Throughput.Max)),
		milliseconds(r.Refresh), milliseconds(r.Plain),
		byteSize(int(r.Plan.Total)), dash(residentText(r.Resident-r.Idle)), ratio(r.Memory), duration(r.Compile+r.Session))
}

// milliseconds writes a time; "-" if there is none.
func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g", 1000*seconds)
}

// ratio writes a ratio; "-" if there is none.
func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

func residentText(n int64) string {
	if n <= 0 {
		return ""
	}
	return byteSize(int(n))
}

// progress tells on a terminal what a long command does: one line that changes, or elsewhere nothing.
type progress struct{ screen io.Writer }

func newProgress(w io.Writer) progress {
	if isTerminal(w) {
		return progress{w}
	}
	return progress{}
}

func (p progress) say(what string) {
	if p.screen != nil {
		fmt.Fprint(p.screen, "\r\x1b[K"+what)
	}
}

func (p progress) clear() { p.say("") }
