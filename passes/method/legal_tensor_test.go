package method

import "testing"

func TestTensorRules(t *testing.T) {
	breakRules(t, tensorRules, []breach{
		{"muon", []string{"representation.format=kf_dim"}, "solve.kind polar needs representation.format matrix or one_sided"},
		{"muon", []string{"curvature.source=batch"}, "curvature.source must be none"},
		{"muon", []string{"solve.kernel=newton"}, "solve.kernel must be keller"},
		{"shampoo", []string{"solve.kernel=exact"}, "kernels of solve.kind polar"},
		{"muon", []string{"fallback.head="}, "fallback.embedding and fallback.head must be grad or adam"},
		{"muon", []string{"fallback.embedding=kron"}, "fallback.embedding and fallback.head must be grad or adam"},
		{"muon", []string{"apply.beta=0"}, "apply.beta must not be 0"},
		{"adam", []string{"apply.nesterov=true"}, "representation.format diag has none"},
		{"shampoo", []string{"apply.lr_scale=keller"}, "need representation.format matrix"},
		{"soap", []string{"solve.kind=inverse"}, "solve.kind must be divide, root or sign"},
		{"adam", []string{"solve.kind=sign"}, "needs representation.format kfe_dim"},
		{"soap", []string{"curvature.source=mc"}, "curvature.source must be batch, or hvp"},
		{"soap", []string{"solve.kernel=newton"}, "solve.kernel must be track"},
		{"kfac", []string{"solve.kernel=track"}, "keeps eigenbases"},
		{"tnt", []string{"representation.fit=kl"}, "solve.damping.kind must be trace, and iso or none with fit kl"},
		{"shampoo", []string{"representation.fit=kl"}, "factors fitted by kl are covariances"},
		{"shampoo", []string{"solve.damping.kind=trace"}, "damping.kind trace is for"},
		{"tnt", []string{"accumulate.kind=sum"}, "grows without bound"},
		{"tnt", []string{"solve.power=-0.5"}, "kf_dim with solve.kind inverse is inverted"},
		{"shampoo", []string{"solve.power=-0.3"}, "of a whole order"},
		{"psgd-kron", []string{"solve.power=-1"}, "fits the inverse root of mean gradients"},
		{"shampoo", []string{"solve.kernel=triangular"}, "triangular and inverse_free are for"},
		{"shampoo", []string{"apply.clip_rms=1"}, "solve.balance and apply.clip_rms"},
		{"psgd-kron", []string{"apply.graft=sgd"}, "a norm of its own"},
		{"adam", []string{"representation.vectors=full"}, "needs kf_dim"},
		{"muon", []string{"representation.sides=kernel"}, "representation.sides kernel"},
		{"tnt", []string{"representation.vectors=diag"}, "vectors of kf_dim with source mc"},
		{"soap", []string{"accumulate.kind=sum"}, "accumulate.kind must be ema"},
		{"splus", []string{"solve.damping.kind=eps"}, "must be eps, and none for signs"},
		{"soap", []string{"solve.power=-1"}, "divides by a root"},
		{"soap", []string{"representation.fit=kl"}, "needs factors to whiten by"},
		{"shampoo", []string{"representation.vectors=element"}, "kfe_dim without a basis"},
		{"soap", []string{"representation.vectors=diag"}, "must be element or empty"},
		{"shampoo", []string{"solve.lag=true"}, "solve.lag is for kfe_dim"},
		{"soap", []string{"fallback.embedding=sign"}, "goes with solve.kind sign"},
		{"soap", []string{"apply.lr_scale=sides"}, "needs solve.kind sign"},
	})
}
