package passes_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// all asks for every output and for the draws as inputs.
var all = pass.Options{Noise: "input", OutputGrad: true, OutputPrecond: true}

// follow runs a step graph beside a twin for some steps and compares gradients, directions and parameters.
func follow(t *testing.T, n *net, rec method.Record, steps int, tol float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 3))
	params := n.params(rng)
	s := instrument(t, source(n.body, params), rec, all)
	tw := newKFACTwin(n, rec, params)
	samples := max(1, rec.Curvature.Samples)
	for k := range steps {
		const batch = 5
		x := n.inputs(rng, batch)
		target := labels(rng, n.classes, n.labelShape(batch)...)
		draws := labels(rng, n.classes, samples, batch*n.rows)
		var sampled []array
		for i := range samples {
			sampled = append(sampled, array{[]int{batch * n.rows}, draws.v[i*batch*n.rows : (i+1)*batch*n.rows]})
		}
		out := s.step(arrays{"x": x, "target": target, "asdl/noise/labels": draws})
		grads, dirs := tw.step(k, x, crossEntropyOf(target), sampled)
		at := fmt.Sprintf("step %d", k)
		nearAll(t, at+" gradient", outputsOf(out, "grad/", ""), grads, tol)
		nearAll(t, at+" direction", outputsOf(out, "precond/", ""), dirs, tol)
		next := outputsOf(out, "", "/next")
		nearAll(t, at+" parameters", next, tw.params, tol)
		for _, l := range n.layers {
			if l.kind != "unit" && len(tw.stats[l.name]) == 2 && rec.Accumulate.Kind == "ema" && l.name != "emb" {
				near(t, at+" A of "+l.name, next["asdl/"+l.name+"/A"].v, flat(tw.stats[l.name][0]), tol)
				near(t, at+" S of "+l.name, next["asdl/"+l.name+"/S"].v, flat(tw.stats[l.name][1]), tol)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestKFACDenseTwin compares every network under every source with explicit Kronecker blocks, over several steps.
func TestKFACDenseTwin(t *testing.T) {
	for _, n := range allNets() {
		for _, source := range []string{"mc", "emp", "exact"} {
			t.Run(n.name+"/"+source, func(t *testing.T) {
				follow(t, n, record(t, "kfac", "curvature.source="+source, "solve.every=1"), 3, 1e-9)
			})
		}
	}
}

// kfacSettings vary one thing each against the same twin.
var kfacSettings = [][]string{
	{"accumulate.kind=none", "solve.every=1"},
	{"accumulate.kind=none", "solve.every=3"},
	{"accumulate.debias=false", "solve.every=2"},
	{"accumulate.every=3", "accumulate.warmup=2", "solve.every=2", "solve.warmup=1"},
	{"accumulate.every=2", "accumulate.warmup=3", "solve.every=2", "solve.warmup=3"},
	{"accumulate.schedule=10110"},
	{"accumulate.beta=0.5", "accumulate.every=2", "solve.every=4"},
	{"accumulate.every=3", "solve.every=2"},
	{"solve.damping.kind=iso", "damping=0.3"},
	{"representation.bias=output", "solve.every=1"},
	{"curvature.sharing=reduce", "solve.every=1"},
	{"curvature.source=mc", "curvature.samples=3", "solve.every=1"},
	{"apply.kl_clip=0", "update.momentum=0"},
	{"apply.kl_clip=0.0001", "update.lr=0.5"},
	{"update.nesterov=true", "update.weight_decay=0.1"},
	{"update.decay=decoupled", "update.weight_decay=0.1"},
	{"update.clip_norm=0.01", "apply.kl_clip=0"},
	{"update.clip_norm=0.001", "apply.kl_clip=0.0001"},
}

// TestKFACSettings follows the twin under each setting, on a network with shared positions and all parameters covered.
func TestKFACSettings(t *testing.T) {
	for _, set := range kfacSettings {
		t.Run(fmt.Sprint(set), func(t *testing.T) {
			follow(t, sequenceNet(true), record(t, "kfac", set...), 5, 1e-9)
		})
	}
}
