package bench

import (
	"slices"

	"github.com/asdlc/asdlc/runtime"
)

// Result is what is known of a cell. Ratios are to stochastic gradient descent on the same model and batch size; they, and
// what depends on a refresh, are 0 where there is nothing to compare. Times are in seconds, memory in bytes.
type Result struct {
	Cell
	Built
	Error string `json:"error,omitempty"` // why there are no numbers, or not all

	Step       float64   `json:"step_seconds"` // median over windows of the mean time of a step
	Examples   float64   `json:"examples_per_second"`
	Throughput Ratio     `json:"throughput"`           // to that of SGD, by rounds
	Refresh    float64   `json:"refresh_step_seconds"` // of a step that takes statistics or solves
	Plain      float64   `json:"plain_step_seconds"`   // of the others
	Steps      []float64 `json:"window_step_seconds"`  // of each window

	Resident int64   `json:"resident_bytes"` // the most that was resident while stepping
	Own      int64   `json:"own_bytes"`      // the process's own while stepping, see Usage
	Memory   float64 `json:"memory"`         // what the model adds to the process's own, over that of SGD
	Plan     Plan    `json:"plan"`
	// Taken is what the session counts of its memory at the end, which Plan predicts with the same names.
	Taken   runtime.Memory `json:"taken"`
	Planned float64        `json:"planned_memory"` // over that of SGD

	Loss     float64 `json:"loss"`
	Failures int64   `json:"failures"`
}

// Ratio is a median over rounds, with the extremes.
type Ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Median is the middle of the values, or the mean of the two in the middle; 0 of none.
func Median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Summarize fills in what follows from the windows of a cell and from those of stochastic gradient descent of the same
// rounds; sgd and its series may be the cell's own.
func (r *Result) Summarize(s Series, sgd *Result, base Series) {
	if len(s.Windows) == 0 {
		return
	}
	r.Steps = nil
	var refresh, plain, ratios []float64
	for i, w := range s.Windows {
		r.Steps = append(r.Steps, w.Step())
		if w.Refreshes > 0 && w.Refreshes < w.Steps {
			refresh = append(refresh, w.RefreshSeconds/float64(w.Refreshes))
			plain = append(plain, (w.Seconds-w.RefreshSeconds)/float64(w.Steps-w.Refreshes))
		}
		if i < len(base.Windows) {
			ratios = append(ratios, base.Windows[i].Step()/w.Step())
		}
	}
	r.Step, r.Refresh, r.Plain = Median(r.Steps), Median(refresh), Median(plain)
	r.Examples = float64(r.Batch) / r.Step
	if len(ratios) > 0 {
		r.Throughput = Ratio{Median(ratios), slices.Min(ratios), slices.Max(ratios)}
	}
	last := s.Windows[len(s.Windows)-1]
	r.Resident, r.Own, r.Taken, r.Loss, r.Failures = last.Resident, last.Own, last.Taken, last.Loss, last.Failures
	r.Memory = over(r.Own-r.IdleOwn, sgd.Own-sgd.IdleOwn)
	r.Planned = over(r.Plan.Total, sgd.Plan.Total)
}

// over is a ratio of numbers of bytes; 0 where one is not known.
func over(a, b int64) float64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}
