// Package bench measures training steps: methods beside stochastic gradient descent on the same model and batch size,
// each in a process of its own, in windows that take turns, so that whatever else the machine does falls on all alike.
//
//	Worker   compiles one cell of a bench and steps through windows of it
//	Serve    a worker's side of the protocol on standard input and output
//	Process  the other side: a worker in a process of its own
//	Take     windows of several processes in turn
//	Summarize  medians of windows, ratios to stochastic gradient descent
//	Figure   the bars of throughput and memory
package bench

import (
	"path/filepath"
	"strings"

	"github.com/asdlc/asdlc/runtime"
)

// Cell is what is measured: a method on a model at a batch size.
type Cell struct {
	Model  string `json:"model"`
	Batch  int64  `json:"batch"`
	Method string `json:"method"`
	// Every is the number of steps between new statistics and solves; 0 is the method's own, or that it has none.
	Every int `json:"every"`
}

// Built is what a worker says of itself when it is ready: the first line of the protocol. Times are in seconds.
type Built struct {
	Threads int   `json:"threads"`
	Period  int64 `json:"period"` // steps after which refreshes repeat: a window is of whole periods

	Compile   float64 `json:"compile_seconds"`    // of the model into a step graph
	Session   float64 `json:"session_seconds"`    // kernels chosen, initial state computed
	FirstStep float64 `json:"first_step_seconds"` // memory planned, and the first step itself

	Idle  int64 `json:"idle_bytes"`  // resident before the process had a model, once it was awake; 0 where it is not known
	Build int64 `json:"build_bytes"` // the most that was resident up to here
	// IdleOwn is the part of Idle that was the process's own.
	IdleOwn int64 `json:"idle_own_bytes"`
}

// Window is one measurement: whole periods of steps, one after another.
type Window struct {
	Steps   int64   `json:"steps"`
	Seconds float64 `json:"seconds"`
	// Refreshes are those of the steps on which statistics are taken or solved for, where there are others as well.
	Refreshes      int64   `json:"refreshes"`
	RefreshSeconds float64 `json:"refresh_seconds"`

	Loss     float64 `json:"loss"`           // of the last step
	Failures int64   `json:"failures"`       // solves so far that were not finite, so that the inverse before was kept
	Resident int64   `json:"resident_bytes"` // the most that was resident while stepping, so far; 0 where it is not known
	Own      int64   `json:"own_bytes"`      // what the process had of its own, see Usage; 0 where it is not known
	// Taken is what the session counts of that: arena, states, constants and inputs.
	Taken runtime.Memory `json:"taken"`
}

// Step is the mean time of a step in seconds.
func (w Window) Step() float64 { return w.Seconds / float64(w.Steps) }

// Plan is what the planner predicts of a step's memory.
type Plan struct {
	runtime.Memory
	Total int64 `json:"total"`
}

// Label is the short name of a model or method that may be a file.
func Label(name string) string {
	if ext := filepath.Ext(name); ext != "" {
		return strings.TrimSuffix(filepath.Base(name), ext)
	}
	return name
}
