package method

import "math"

// tensorRules are those of methods that see parameters as tensors.
var tensorRules = []rule{
	{
		func(r Record) bool {
			polar := r.Solve.Kind == "polar"
			return r.Representation.Format == "matrix" && !polar || polar && !oneOf(r.Representation.Format, "matrix", "one_sided")
		},
		"the polar factor is taken of the gradient itself, or of the gradient between roots of an input factor: solve.kind polar needs representation.format matrix or one_sided, and matrix needs polar",
	},
	{
		func(r Record) bool { return r.Representation.Format == "matrix" && r.Curvature.Source != "none" },
		"the polar factor needs no statistic: curvature.source must be none",
	},
	{func(r Record) bool {
		return r.Solve.Kind == "polar" && !oneOf(r.Solve.Kernel, "keller", "polar_express", "cubic", "exact")
	}, "the polar factor is iterated for: solve.kernel must be keller, polar_express, cubic or exact"},
	{func(r Record) bool {
		return r.Solve.Kind != "polar" && oneOf(r.Solve.Kernel, "keller", "polar_express", "cubic", "exact")
	}, "keller, polar_express, cubic and exact are kernels of solve.kind polar"},
	{func(r Record) bool {
		return r.Solve.Kind == "polar" && (!oneOf(r.Fallback.Embedding, "grad", "adam") || r.Fallback.Head == "")
	}, "a row of an embedding or of the head is a token or a class, not a direction to be made orthogonal to others: with solve.kind polar, fallback.embedding and fallback.head must be grad or adam"},
	{
		func(r Record) bool { return r.Apply.Nesterov && r.Apply.Beta == 0 },
		"apply.nesterov looks ahead along a moving average: apply.beta must not be 0",
	},
	{
		func(r Record) bool { return r.Apply.Nesterov && r.Representation.Format == "diag" },
		"apply.nesterov is for tensors; representation.format diag has none",
	},
	{
		func(r Record) bool {
			return oneOf(r.Apply.LRScale, "keller", "moonlight") && r.Representation.Format != "matrix"
		},
		"apply.lr_scale keller and moonlight make up for the norm of a polar factor: they need representation.format matrix",
	},
	{func(r Record) bool {
		return r.Representation.Format == "kfe_dim" && !oneOf(r.Solve.Kind, "divide", "root", "sign")
	}, "in the eigenbases of a tensor's sides there is no matrix left: solve.kind must be divide, root or sign"},
	{
		func(r Record) bool { return r.Solve.Kind == "sign" && r.Representation.Format != "kfe_dim" },
		"a sign depends on the basis: solve.kind sign needs representation.format kfe_dim",
	},
	{
		func(r Record) bool {
			return r.Representation.Format == "kfe_dim" && r.Curvature.Source != "batch" && (!r.Probed() || r.Solve.Kind != "divide")
		},
		"kfe_dim follows the gradient in its basis on every step, or for solve.kind divide a diagonal of Hessian-vector products there: curvature.source must be batch, or hvp or ggnvp",
	},
	{
		func(r Record) bool {
			return oneOf(r.Representation.Format, "kfe_dim", "kfe_io") && r.Solve.Kernel != "track"
		},
		"an eigenbasis must keep the order of its vectors: with representation.format kfe_dim or kfe_io, solve.kernel must be track",
	},
	{func(r Record) bool {
		return r.Solve.Kernel == "track" && !oneOf(r.Representation.Format, "kfe_dim", "kfe_io") && (r.Representation.Format != "kf_dim" || r.Solve.Kind != "root")
	}, "solve.kernel track keeps eigenbases, which kfe_dim, kfe_io and roots of kf_dim have"},
	{
		func(r Record) bool { return r.Representation.Format == "kfe_dim" && r.Accumulate.Kind != "ema" },
		"what a basis holds is a moving average: with kfe_dim, accumulate.kind must be ema",
	},
	{func(r Record) bool {
		return r.Representation.Format == "kfe_dim" && r.Solve.Damping.Kind != map[bool]string{true: "none", false: "eps"}[r.Solve.Kind == "sign"]
	}, "in an eigenbasis the damping is added after the root: solve.damping.kind must be eps, and none for signs"},
	{func(r Record) bool {
		return r.Representation.Format == "kfe_dim" && r.Solve.Kind == "divide" && r.Solve.Power != -0.5 && !(r.Probed() && r.Solve.Power == -1)
	}, "Adam in a basis divides by a root: solve.power must be -0.5, or for a diagonal of Hessian-vector products -1"},
	{func(r Record) bool {
		return r.Representation.Fit == "kl" && (!oneOf(r.Representation.Format, "kf_dim", "kfe_dim") || !oneOf(r.Solve.Kind, "root", "inverse"))
	}, "representation.fit kl needs factors to whiten by: representation.format kf_dim or kfe_dim with solve.kind root or inverse"},
	{
		func(r Record) bool { return r.Representation.Fit == "kl" && r.Accumulate.Kind == "sum" },
		"factors fitted by kl are covariances, of which a sum has no meaning: accumulate.kind must be ema",
	},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && r.Solve.Kind == "inverse" &&
			!(r.Solve.Damping.Kind == "trace" && r.Representation.Fit == "" || oneOf(r.Solve.Damping.Kind, "iso", "none") && r.Representation.Fit == "kl")
	}, "second moments of sides share one trace, by which they are brought to the covariance: with kf_dim and solve.kind inverse, solve.damping.kind must be trace, and iso or none with fit kl"},
	{func(r Record) bool {
		return r.Solve.Damping.Kind == "trace" && (r.Representation.Format != "kf_dim" || r.Solve.Kind != "inverse")
	}, "damping.kind trace is for kf_dim with solve.kind inverse"},
	{
		func(r Record) bool {
			return r.Representation.Format == "kf_dim" && r.Solve.Kind == "inverse" && r.Accumulate.Kind == "sum"
		},
		"the sum of a covariance's factors grows without bound and an inverse of it goes to zero: accumulate.kind must be ema",
	},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && r.Solve.Kind == "inverse" && (r.Solve.Power != -1 || !oneOf(r.Solve.Kernel, "", "auto", "cholesky"))
	}, "kf_dim with solve.kind inverse is inverted: solve.power must be -1 and solve.kernel cholesky"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && r.Solve.Kind == "root" && !wholeRoot(r.Solve.Power)
	}, "inverse roots of kf_dim are of a whole order: solve.power must be -1, -1/2, -1/3, ..."},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && r.Solve.Kind == "lie_sgd" &&
			(r.Curvature.Source != "batch" || r.Accumulate.Kind != "none" || r.Accumulate.Init <= 0 || r.Solve.Power != -0.5 || !oneOf(r.Solve.Kernel, "triangular", "inverse_free"))
	}, "kf_dim with solve.kind lie_sgd fits the inverse root of mean gradients: curvature.source batch, accumulate.kind none with accumulate.init above 0, solve.power -0.5, solve.kernel triangular or inverse_free"},
	{func(r Record) bool {
		return oneOf(r.Solve.Kernel, "triangular", "inverse_free") && (r.Representation.Format != "kf_dim" || r.Solve.Kind != "lie_sgd")
	}, "solve.kernel triangular and inverse_free are for kf_dim with solve.kind lie_sgd"},
	{func(r Record) bool {
		return (r.Solve.Balance != 0 || r.Apply.ClipRMS != 0) && (r.Representation.Format != "kf_dim" || r.Solve.Kind != "lie_sgd")
	}, "solve.balance and apply.clip_rms are for kf_dim with solve.kind lie_sgd"},
	{
		func(r Record) bool {
			return r.Solve.Kind == "lie_sgd" && oneOf(r.Apply.Graft, "sgd", "adam") && r.Representation.Format == "kf_dim"
		},
		"what is fitted to white noise has a norm of its own: with solve.kind lie_sgd, apply.graft must be none",
	},
	{
		func(r Record) bool { return r.Representation.Vectors == "full" && r.Representation.Format != "kf_dim" },
		"representation.vectors full is a factor of a tensor of one dimension: it needs kf_dim",
	},
	{
		func(r Record) bool {
			return r.Representation.Sides == "kernel" && !oneOf(r.Representation.Format, "kf_dim", "kfe_dim")
		},
		"representation.sides kernel is for kf_dim and kfe_dim",
	},
	{
		func(r Record) bool {
			return r.Representation.Format == "kf_dim" && r.Representation.Vectors == "diag" && r.Curvature.Source == "mc"
		},
		"vectors of kf_dim with source mc have a factor too, or the fall-back: representation.vectors must be full, grad or empty",
	},
	{
		func(r Record) bool {
			return r.Representation.Vectors == "element" && r.Representation.Format != "kfe_dim"
		},
		"representation.vectors element is kfe_dim without a basis",
	},
	{
		func(r Record) bool {
			return r.Representation.Format == "kfe_dim" && oneOf(r.Representation.Vectors, "diag", "grad")
		},
		"vectors follow kfe_dim's own rule or the fall-back: representation.vectors must be element or empty",
	},
	{
		func(r Record) bool { return r.Solve.Lag && r.Representation.Format != "kfe_dim" },
		"solve.lag is for kfe_dim",
	},
	{
		func(r Record) bool { return r.Fallback.Embedding == "sign" && r.Solve.Kind != "sign" },
		"fallback.embedding sign goes with solve.kind sign",
	},
	{
		func(r Record) bool { return r.Apply.LRScale == "sides" && r.Solve.Kind != "sign" },
		"apply.lr_scale sides makes up for the norm of signs: it needs solve.kind sign",
	},
}

// wholeRoot reports whether a power is -1/p for a whole number p up to 8.
func wholeRoot(power float64) bool {
	for p := 1.0; p <= 8; p++ {
		if math.Abs(power*p+1) < 1e-9 {
			return true
		}
	}
	return false
}
