package passes_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime"
)

// TestDelay: under solve.delay the solutions that a step graph without delay would make on step k are in use from step k + delay on,
// and the ones before until then; up to warm-up they are in use at once.
func TestDelay(t *testing.T) {
	const every, warmup = 4, 1
	n := mlpNet()
	for name, settings := range map[string][]string{"kfac": {"curvature.source=emp"}, "foof": nil, "shampoo": nil, "unit-ng": {"curvature.source=emp"}} {
		for _, delay := range []int{1, 3, every} {
			settings := append(slices.Clone(settings), "accumulate.every=1", fmt.Sprint("solve.every=", every), fmt.Sprint("solve.warmup=", warmup))
			rng := rand.New(rand.NewPCG(11, 27))
			text := source(n.body, n.params(rng))
			r := compile(t, text, record(t, name, append(settings, fmt.Sprint("solve.delay=", delay))...), pass.Options{})
			late := begin(t, r)
			solves, err := runtime.NewBackground(late.session, r.SolveGraphs())
			must(err)
			whole := instrument(t, text, record(t, name, settings...), pass.Options{})
			due := map[int]arrays{} // solutions by the step from which on they are in use
			for step := range warmup + 4*every {
				must(solves.Before())
				before := late.copyState(whole)
				for in, want := range due[step] {
					near(t, fmt.Sprintf("%s, delay %d, step %d: %s", name, delay, step, in), before[in].v, want.v, 1e-12)
				}
				d := n.batch(rng, 6)
				all, own := whole.step(d), late.step(d)
				must(solves.After())
				made := arrays{}
				for in, old := range before {
					if !strings.Contains(in, "_inv") && !strings.Contains(in, "/root") && !strings.HasSuffix(in, "/inv") {
						continue
					}
					made[in] = all[in+"/next"]
					if want := old; step > warmup && !slices.Equal(own[in+"/next"].v, want.v) {
						t.Errorf("%s, delay %d: step %d changes %s", name, delay, step, in)
					} else if step <= warmup {
						near(t, fmt.Sprintf("%s, step %d: %s", name, step, in), own[in+"/next"].v, made[in].v, 1e-12)
					}
				}
				if step > warmup && (step-warmup)%every == 0 {
					due[step+delay] = made
				}
			}
			if len(due) != 3 || len(due[warmup+every+delay]) == 0 {
				t.Errorf("%s, delay %d: solves due %v", name, delay, due)
			}
			must(solves.Close())
		}
	}
}

// TestDelayHeld: a step whose gradients are not finite leaves no trace, when solves are delayed neither.
func TestDelayHeld(t *testing.T) {
	n := mlpNet()
	rec := record(t, "kfac", "curvature.source=emp", "accumulate.every=1", "solve.every=3", "solve.delay=2")
	run := func(held ...int) arrays {
		rng := rand.New(rand.NewPCG(13, 27))
		r := compile(t, source(n.body, n.params(rng)), rec, pass.Options{})
		s := begin(t, r)
		solves, err := runtime.NewBackground(s.session, r.SolveGraphs())
		must(err)
		defer func() { must(solves.Close()) }()
		step := func(d arrays) {
			must(solves.Before())
			s.step(d)
			must(solves.After())
		}
		for k := range 12 {
			d := n.batch(rng, 6)
			if slices.Contains(held, k) {
				bad := maps.Clone(d)
				bad["x"] = array{shape: d["x"].shape, v: slices.Repeat([]float64{math.NaN()}, len(d["x"].v))}
				step(bad)
			}
			step(d)
		}
		return s.states()
	}
	want := run()
	for _, held := range [][]int{{0}, {3}, {4}, {5}, {3, 4, 5, 8}} {
		got := run(held...)
		delete(got, "asdl/guards")
		for name, x := range got {
			if !slices.Equal(x.v, want[name].v) {
				t.Errorf("held back before steps %v: %s differs", held, name)
			}
		}
	}
}

// TestDelayRefused: solves that read the step's batch, or whose results change in between, cannot come later.
func TestDelayRefused(t *testing.T) {
	n := mlpNet()
	text := source(n.body, n.params(rand.New(rand.NewPCG(12, 27))))
	for name, says := range map[string]string{
		"ekfac": "changes on the steps between two solves", "k-bfgs": "solves on the step itself", "soap": "solve.delay", "eva": "solves nothing at intervals",
	} {
		rec := record(t, name, "solve.every=4", "solve.delay=2")
		_, err := passes.Instrument(passtest.Parse(t, text), rec, pass.Options{}, "")
		var option *pass.OptionError
		if err == nil || !errors.Is(err, graph.ErrUnsupported) && !errors.As(err, &option) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rec := record(t, "seng", "accumulate.kind=window", "accumulate.size=8", "every=4", "solve.delay=2", "representation.sketch=2")
	if _, err := passes.Instrument(passtest.Parse(t, text), rec, pass.Options{}, ""); !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "draws random numbers (sketch/") {
		t.Errorf("a sketch: %v", err)
	}
	if _, err := passes.Instrument(passtest.Parse(t, text), record(t, "kfac", "solve.delay=2"), pass.Options{Split: true}, ""); err == nil {
		t.Error("split and delay are accepted together")
	}
}
