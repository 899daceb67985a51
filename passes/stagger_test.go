package passes_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// TestStagger: under solve.stagger each block solves once an interval, in another step than the others, and what it then makes is what
// the graph in which all solve at once makes of the same statistics; on other steps its solutions stay.
func TestStagger(t *testing.T) {
	const every, warmup = 4, 2
	n := mlpNet()
	for name, settings := range map[string][]string{
		"kfac":    {"curvature.source=emp"},
		"foof":    nil,
		"shampoo": nil,
	} {
		settings = append(settings, "accumulate.every=1", fmt.Sprint("solve.every=", every), fmt.Sprint("solve.warmup=", warmup))
		rng := rand.New(rand.NewPCG(9, 27))
		text := source(n.body, n.params(rng))
		staggered := instrument(t, text, record(t, name, append(settings, "solve.stagger=true")...), pass.Options{})
		whole := instrument(t, text, record(t, name, settings...), pass.Options{})
		solved := map[string][]int{} // block: steps
		for step := range warmup + 3*every + 1 {
			before := staggered.copyState(whole)
			must(whole.session.SetState("asdl/step", number(warmup).tensor(graph.Int64))) // all solve
			d := n.batch(rng, 6)
			all, own := whole.step(d), staggered.step(d)
			for in, old := range before {
				out := in + "/next"
				if !strings.Contains(in, "_inv") && !strings.Contains(in, "/root") || slices.Equal(own[out].v, old.v) {
					continue
				}
				near(t, fmt.Sprintf("%s, step %d: %s", name, step, out), own[out].v, all[out].v, 1e-12)
				block := strings.Split(in, "/")[1]
				if steps := solved[block]; len(steps) == 0 || steps[len(steps)-1] != step {
					solved[block] = append(steps, step)
				}
			}
		}
		checkTurns(t, name, solved, warmup, every)
	}
}

// checkTurns: all blocks solve up to step warmup, then once in every interval, on the same step of it; not all on one.
func checkTurns(t *testing.T, name string, solved map[string][]int, warmup, every int) {
	t.Helper()
	turns := map[int]bool{}
	for block, steps := range solved {
		phase := (steps[len(steps)-1] - warmup) % every
		turns[phase] = true
		var want []int
		for step := range warmup + 3*every + 1 {
			if step <= warmup || (step-warmup)%every == phase {
				want = append(want, step)
			}
		}
		if !slices.Equal(steps, want) {
			t.Errorf("%s: %s solved on steps %v, want %v", name, block, steps, want)
		}
	}
	if len(turns) < 2 {
		t.Errorf("%s: all blocks solve on the same steps: %v", name, solved)
	}
}
