package method

import "testing"

// Each rule of rows and Gram matrices is broken by a change of one method.
func TestGramRules(t *testing.T) {
	breakRules(t, gramRules, []breach{
		{"seng", []string{"solve.kind=inverse"}, "need solve.kind gram"},
		{"seng", []string{"solve.damping.kind=none"}, "need solve.kind gram"},
		{"tonga-unit", []string{"solve.power=-0.5"}, "need solve.kind gram"},
		{"seng", []string{"fallback.embedding=kron"}, "fallback.embedding must be grad or adam"},
		{"seng", []string{"curvature.source=batch"}, "gradients of single examples"},
		{"seng", []string{"every=10"}, "no state tensor can follow"},
		{"seng", []string{"accumulate.kind=ema"}, "no state tensor can follow"},
		{"skfac", []string{"solve.every=2"}, "no state tensor can follow"},
		{"seng", []string{"accumulate.kind=window"}, "needs accumulate.size"},
		{"kfac", []string{"accumulate.kind=window", "accumulate.size=8"}, "a window keeps"},
		{"seng", []string{"accumulate.size=8"}, "is for nothing else"},
		{"seng", []string{"representation.granularity=unit"}, "units have rows of their own"},
		{"seng", []string{"representation.bias=output"}, "representation.bias must be joint"},
		{"kfac", []string{"curvature.sharing=per_example"}, "are for representation.format gram"},
		{"kfac", []string{"representation.sketch=10"}, "are for representation.format gram"},
		{"kfac", []string{"fallback.norm=gram"}, "are for representation.format gram"},
		{"tonga-unit", []string{"accumulate.kind=ema"}, "add up with a discount"},
		{"adam", []string{"accumulate.kind=discount"}, "add up with a discount"},
		{"tonga-unit", []string{"representation.granularity=layer"}, "granularity unit goes"},
		{"tonga-unit", []string{"curvature.source=emp"}, "rows of mean gradients"},
		{"tonga-unit", []string{"representation.rank=0"}, "representation.rank positive"},
		{"tonga-unit", []string{"representation.rank=60"}, "at most 64"},
		{"adam", []string{"representation.rank=2"}, "representation.rank counts"},
		{"tonga-unit", []string{"accumulate.every=2"}, "one row a step"},
	})
}
