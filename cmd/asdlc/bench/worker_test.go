package bench

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/models"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func tiny() (*graph.Model, error) { return models.Build("mlp", models.Options{Widths: []int{6, 5, 3}}) }

// worker compiles the tiny network with settings of K-FAC.
func worker(t *testing.T, settings map[string]string) *Worker {
	t.Helper()
	rec, _ := method.Lookup("kfac")
	for field, value := range settings {
		if err := method.Set(&rec, field, value); err != nil {
			t.Fatal(err)
		}
	}
	w, err := NewWorker(tiny, rec, pass.Options{Batch: 4}, Config{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func TestWindowIsWholePeriods(t *testing.T) {
	w := worker(t, map[string]string{"accumulate.every": "2", "solve.every": "3"})
	if w.Built.Period != 6 || w.step%6 != 0 || w.step == 0 {
		t.Fatalf("period %d, warmed up at step %d", w.Built.Period, w.step)
	}
	for range 2 {
		win, err := w.Window(0)
		if err != nil {
			t.Fatal(err)
		}
		if win.Steps != 6 || win.Refreshes != 4 { // steps 0, 2, 3, 4 of 6
			t.Errorf("%d steps, %d refreshes, want 6 and 4", win.Steps, win.Refreshes)
		}
		if !(win.RefreshSeconds > 0 && win.RefreshSeconds < win.Seconds) || !(win.Loss > 0) {
			t.Errorf("got %+v", win)
		}
	}
	if state, err := w.session.State("asdl/step"); err != nil || kernel.Data[int64](state)[0] != w.step {
		t.Errorf("the step graph has counted %v (%v), the worker %d", state, err, w.step)
	}
}

func TestWindowsBeginAfterWarmUp(t *testing.T) {
	w := worker(t, map[string]string{"every": "4", "accumulate.warmup": "7", "solve.warmup": "7"})
	if w.Built.Period != 4 || w.step != 11 || !w.refreshes(w.step) || w.refreshes(w.step+1) {
		t.Errorf("period %d, warmed up at step %d", w.Built.Period, w.step)
	}
}

// TestSolvesAtRandom: the steps that are measured are those of a long training, not its first, which all solve.
func TestSolvesAtRandom(t *testing.T) {
	rec, _ := method.Lookup("psgd-kron")
	rec.Solve.Probability = method.Probability{Floor: 0.25, Decay: 0.1, Flat: 20}
	w, err := NewWorker(tiny, rec, pass.Options{Batch: 4}, Config{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	if win, err := w.Window(0); err != nil || w.Built.Period != 4 || win.Steps != 4 || win.Refreshes != 0 {
		t.Errorf("period %d, %+v, %v", w.Built.Period, win, err)
	}
	state, err := w.session.State("asdl/step")
	if err != nil {
		t.Fatal(err)
	}
	if at := kernel.Data[int64](state)[0]; at != 20+14+4 { // exp(-1.4) is the first below 0.25
		t.Errorf("after a window the step graph is at step %d", at)
	}
}

// Delayed solves are made: the inverses change from window to window.
func TestDelayedSolvesAreMade(t *testing.T) {
	w := worker(t, map[string]string{"accumulate.every": "1", "solve.every": "3", "solve.delay": "2"})
	var before []float32
	for range 3 {
		if _, err := w.Window(0); err != nil {
			t.Fatal(err)
		}
		inverse, err := w.session.State("asdl/fc1/A_inv")
		if err != nil {
			t.Fatal(err)
		}
		now := kernel.Data[float32](inverse)
		if slices.Equal(before, now) {
			t.Error("the inverse is that of the window before")
		}
		before = now
	}
}

func TestStepsAlikeHaveNoRefreshes(t *testing.T) {
	w := worker(t, map[string]string{"every": "1"})
	win, err := w.Window(1e-3)
	if err != nil || w.Built.Period != 1 || win.Refreshes != 0 || win.Seconds < 1e-3 {
		t.Errorf("period %d, %+v, %v", w.Built.Period, win, err)
	}
}

func TestServe(t *testing.T) {
	w := worker(t, nil)
	var out bytes.Buffer
	if err := Serve(w, strings.NewReader("0\nplan\n0.001\n"), &out); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&out)
	var built Built
	var first, last Window
	var plan Plan
	for _, v := range []any{&built, &first, &plan, &last} {
		if err := dec.Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	if built != w.Built || first.Steps != built.Period || last.Seconds < 0.001 || plan.Total != plan.Memory.Total() || plan.Total <= 0 || dec.More() {
		t.Errorf("answers %+v, %+v, %+v, %+v", built, first, plan, last)
	}
	for _, line := range []string{"-1", "soon", "", "NaN"} {
		if err := Serve(w, strings.NewReader(line+"\n"), &out); err == nil {
			t.Errorf("request %q is accepted", line)
		}
	}
}

func TestSyntheticInputs(t *testing.T) {
	m, err := models.Build("bert-tiny", models.Options{Width: 8, Depth: 1, Heads: 2, Vocab: 13, Context: 8, Classes: 3})
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := method.Lookup("adam")
	r, err := passes.Instrument(m, rec, pass.Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	feeds, err := synthetic(m, r.Step, map[string]int64{"N": 50, "T": 6}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, below := range map[string]int64{"input_ids": 13, "token_type_ids": 2, "target": 3} {
		seen := map[int64]bool{}
		for _, v := range kernel.Data[int64](feeds[name]) {
			if v < 0 || v >= below {
				t.Fatalf("%s holds %d", name, v)
			}
			seen[v] = true
		}
		if len(seen) != int(below) {
			t.Errorf("%s holds %d different numbers of %d", name, len(seen), below)
		}
	}
	for _, v := range kernel.Data[int64](feeds["attention_mask"]) {
		if v != 1 {
			t.Fatalf("the mask holds %d", v)
		}
	}
	if lr := kernel.Data[float32](feeds["lr"]); lr[0] != Rate {
		t.Errorf("learning rate %g", lr[0])
	}
	if _, err := synthetic(m, r.Step, map[string]int64{"N": 50}, 1); err == nil || !strings.Contains(err.Error(), "size of T") {
		t.Errorf("a size is missing: %v", err)
	}
}

// TestPlanIsWhatIsTaken: what is predicted from a compilation of its own is to the byte what the session has taken.
func TestPlanIsWhatIsTaken(t *testing.T) {
	w := worker(t, nil)
	win, err := w.Window(0)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if plan.Program <= 0 || plan.Heap <= plan.Program || plan.Total != plan.Memory.Total() {
		t.Errorf("predicted is %+v", plan)
	}
	plan.Program, plan.Heap = 0, 0
	if plan.Memory != win.Taken {
		t.Errorf("predicted is %+v, taken %+v", plan.Memory, win.Taken)
	}
}
