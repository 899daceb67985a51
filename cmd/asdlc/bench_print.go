package main

import (
	"fmt"
	"io"

	"github.com/asdlc/asdlc/cmd/asdlc/bench"
)

// printResults prints the table of one model and batch size.
func printResults(w io.Writer, results []*bench.Result) {
	first := results[0]
	fmt.Fprintf(w, "\n%s, batch %d, %d threads\n", bench.Label(first.Model), first.Batch, first.Threads)
	t := newTable(resultHead...)
	for _, r := range results {
		t.add(resultCells(r)...)
	}
	t.write(w)
	for _, r := range results {
		switch {
		case r.Error != "":
			fmt.Fprintf(w, "%s: %s\n", bench.Label(r.Method), r.Error)
		case r.Failures > 0:
			fmt.Fprintf(w, "%s: %d solves were not finite; the inverses before them were kept\n", bench.Label(r.Method), r.Failures)
		}
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
	return append(cells, milliseconds(r.Step), rounded(r.Examples),
		ratio(r.Throughput.Median), fmt.Sprintf("(%s-%s)", ratio(r.Throughput.Min), ratio(r.Throughput.Max)),
		milliseconds(r.Refresh), milliseconds(r.Plain),
		byteSize(int(r.Plan.Total)), dash(residentText(r.Own-r.IdleOwn)), ratio(r.Memory), duration(r.Compile+r.Session))
}

// milliseconds writes a time; "-" if there is none.
func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return rounded(1000 * seconds)
}

// rounded writes a number with three digits, or all before the point.
func rounded(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
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
