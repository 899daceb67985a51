package method

import "testing"

func TestTensorRules(t *testing.T) {
	breakRules(t, tensorRules, []breach{
		{"muon", []string{"representation.format=kf_dim"}, "solve.kind polar and representation.format matrix go together"},
		{"muon", []string{"curvature.source=batch"}, "curvature.source must be none"},
		{"muon", []string{"solve.kernel=newton"}, "solve.kernel must be keller"},
		{"shampoo", []string{"solve.kernel=exact"}, "kernels of solve.kind polar"},
		{"muon", []string{"fallback.head="}, "fallback.embedding and fallback.head must be grad or adam"},
		{"muon", []string{"fallback.embedding=kron"}, "fallback.embedding and fallback.head must be grad or adam"},
		{"muon", []string{"apply.beta=0"}, "apply.beta must not be 0"},
		{"adam", []string{"apply.nesterov=true"}, "representation.format diag has none"},
		{"shampoo", []string{"apply.lr_scale=keller"}, "needs representation.format matrix"},
	})
}
