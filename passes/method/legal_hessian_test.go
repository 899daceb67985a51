package method

import "testing"

// Each rule about Hessian-vector products is broken by a change of one method.
func TestHessianRules(t *testing.T) {
	breakRules(t, hessianRules, []breach{
		{"esgd", []string{"curvature.matrix=F"}, "need each other"},
		{"esgd", []string{"representation.format=kf_dim"}, "source hvp and ggnvp need"},
		{"psgd-kf", []string{"curvature.source=ggnvp"}, "curvature.matrix must be GGN"},
		{"esgd", []string{"curvature.probe="}, "curvature.probe must be"},
		{"adam", []string{"curvature.estimate=diag"}, "nothing else has one"},
		{"adam", []string{"representation.spatial=mean"}, "representation.spatial"},
		{"adam", []string{"solve.damping.kind=clip"}, "damping.kind clip"},
		{"psgd-kf", []string{"accumulate.kind=ema"}, "lie_sgd learns"},
		{"psgd-kf", []string{"solve.rate=0"}, "solve.rate is the step"},
		{"psgd-kf", []string{"solve.damping.kind=factor_pi"}, "damped by lambda v"},
		{"psgd-kf", []string{"representation.on_exceed=split"}, "lie_sgd has diagonal factors"},
		{"k-bfgs", []string{"curvature.source=emp"}, "need each other"},
		{"k-bfgs", []string{"accumulate.kind=none"}, "BFGS updates inverse factors"},
		{"k-bfgs", []string{"solve.damping.kind=factor_pi"}, "secant pairs are damped"},
		{"k-bfgs", []string{"fallback.norm=unit"}, "fallback.norm and fallback.embedding"},
		{"k-bfgs", []string{"solve.kind=lbfgs"}, "representation.rank, their number"},
		{"psgd-kron", []string{"solve.every=5"}, "at random or at intervals"},
		{"esgd", []string{"representation.block=4"}, "representation.block is"},
		{"esgd", []string{"solve.power=0"}, "a division needs"},
		{"esgd", []string{"accumulate.kind=none"}, "keeps no estimate"},
	})
}
