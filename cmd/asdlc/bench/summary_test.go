package bench

import (
	"math"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/runtime"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 100, 1, 2}, 3}, {[]float64{5, 5, 1}, 5}} {
		values := slices.Clone(c.values)
		if got := Median(values); got != c.want || !slices.Equal(values, c.values) {
			t.Errorf("median of %v: %g (values now %v), want %g", c.values, got, values, c.want)
		}
	}
}

// windows makes a window for each mean time of a step.
func windows(steps ...float64) Series {
	var s Series
	for _, v := range steps {
		s.Windows = append(s.Windows, Window{Steps: 10, Seconds: 10 * v, Own: 300})
	}
	return s
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// TestSummarizeComparesWithinRounds has a machine that is twice as slow in the second of three rounds, and slow for one
// window of one side in the third.
func TestSummarizeComparesWithinRounds(t *testing.T) {
	base, own := windows(1, 2, 1), windows(4, 8, 40)
	sgd, r := &Result{Cell: Cell{Batch: 8}, Built: Built{IdleOwn: 100}}, &Result{Cell: Cell{Batch: 8}, Built: Built{IdleOwn: 50}}
	own.Windows[2].Own = 550
	sgd.Plan, r.Plan = Plan{Memory: runtime.Memory{}, Total: 40}, Plan{Total: 60}
	sgd.Summarize(base, sgd, base)
	r.Summarize(own, sgd, base)
	if sgd.Throughput != (Ratio{1, 1, 1}) || sgd.Memory != 1 || sgd.Planned != 1 {
		t.Errorf("SGD beside itself: %+v", sgd)
	}
	if r.Throughput != (Ratio{0.25, 0.025, 0.25}) {
		t.Errorf("throughput %+v, want the median of 1/4, 2/8, 1/40", r.Throughput)
	}
	if r.Step != 8 || r.Examples != 1 || r.Memory != 2.5 || r.Planned != 1.5 || r.Refresh != 0 || r.Plain != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestSummarizeTellsRefreshes(t *testing.T) {
	s := windows(1, 1, 1)
	for i, refresh := range []float64{3, 5, 4} { // two of ten steps each
		s.Windows[i].Refreshes, s.Windows[i].RefreshSeconds = 2, 2*refresh
	}
	r := &Result{Cell: Cell{Batch: 1}}
	r.Summarize(s, r, s)
	if !near(r.Refresh, 4) || !near(r.Plain, 0.25) {
		t.Errorf("refresh %g, plain %g, want 4 and (10 - 8)/8", r.Refresh, r.Plain)
	}
}

func TestSummarizeOfNothing(t *testing.T) {
	r := &Result{}
	r.Summarize(Series{Err: errBroken}, r, Series{})
	if r.Step != 0 || r.Throughput.Median != 0 {
		t.Errorf("got %+v", r)
	}
}
