package method

import "testing"

// Each rule about statistics of inputs and output gradients is broken by a change of one method.
func TestTapRules(t *testing.T) {
	breakRules(t, tapRules, []breach{
		{"ekfac", []string{"curvature.source=batch"}, "kfe_io, dense and moments need"},
		{"eva", []string{"curvature.source=mc"}, "rank1 needs source emp"},
		{"eva", []string{"curvature.scale=2"}, "curvature.scale multiplies"},
		{"foof", []string{"curvature.source=mc"}, "source must be none"},
		{"ekfac", []string{"curvature.source=recursive"}, "it needs kf_io and solve.kind inverse"},
		{"kfra", []string{"curvature.sharing=reduce"}, "curvature.sharing must be empty"},
		{"ekfac", []string{"solve.damping.kind=iso"}, "solve.damping.kind eig"},
		{"kfac", []string{"solve.damping.kind=eig"}, "it needs kfe_io"},
		{"ekfac", []string{"accumulate.kind=none"}, "with kfe_io, accumulate.kind must be ema"},
		{"kfac", []string{"solve.warm=true"}, "solve.warm keeps"},
		{"kfac", []string{"accumulate.moment_beta=0.5"}, "for the second moments of kfe_io"},
		{"foof", []string{"solve.damping.kind=factor_pi"}, "one_sided, dense and moments are inverted"},
		{"eva", []string{"solve.kind=inverse"}, "rank1 needs solve.kind gram"},
		{"skfac", []string{"solve.damping.kind=none"}, "without damping"},
		{"foof", []string{"solve.kind=gram"}, "it needs kf_io, rank1, gram or lowrank"},
		{"unit-ng", []string{"accumulate.kind=sum"}, "sums grow without bound"},
		{"ekfac", []string{"representation.bias=output"}, "representation.bias must be joint"},
		{"kfac", []string{"representation.max_bytes=5"}, "representation.max_bytes bounds"},
		{"unit-ng", []string{"representation.format=moments", "accumulate.kind=none", "accumulate.every=2"}, "nothing is kept of a diagonal"},
		{"kfac", []string{"representation.granularity=unit"}, "granularity unit goes"},
	})
}
