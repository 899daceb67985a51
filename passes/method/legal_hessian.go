package method

// Probed reports whether the record's curvature is known by its products with probe vectors.
func (r Record) Probed() bool { return oneOf(r.Curvature.Source, "hvp", "ggnvp") }

// secant reports whether the solve takes secant pairs.
func (r Record) secant() bool { return oneOf(r.Solve.Kind, "bfgs", "lbfgs") }

// hessianRules are the combinations of Hessian-vector products that have no meaning.
var hessianRules = []rule{
	{func(r Record) bool {
		return oneOf(r.Curvature.Matrix, "H", "absH") != (r.Curvature.Source == "hvp")
	}, "the Hessian is known by its products with vectors alone, which give nothing else: curvature.matrix H or absH and curvature.source hvp need each other"},
	{
		func(r Record) bool { return r.Curvature.Source == "ggnvp" && r.Curvature.Matrix != "GGN" },
		"curvature.source ggnvp multiplies vectors with the Gauss-Newton matrix: curvature.matrix must be GGN",
	},
	{func(r Record) bool {
		return r.Probed() && !oneOf(r.Representation.Format, "diag", "kfe_dim") && r.Solve.Kind != "lie_sgd"
	}, "a block of the Hessian is no mean of outer products, so no factors can be taken of it: source hvp and ggnvp need format diag, kfe_dim (in the bases of the gradient's factors), or solve.kind lie_sgd"},
	{func(r Record) bool {
		return r.Probed() != (r.Curvature.Probe != "")
	}, "Hessian-vector products take probe vectors: curvature.probe must be normal or rademacher for source hvp and ggnvp, and empty for others"},
	{func(r Record) bool {
		return (r.Probed() && oneOf(r.Representation.Format, "diag", "kfe_dim")) != (r.Curvature.Estimate != "")
	}, "a diagonal of Hessian-vector products needs curvature.estimate diag, diag_squared or row_squared, and nothing else has one"},
	{func(r Record) bool {
		return r.Representation.Spatial != "" && (r.Representation.Format != "diag" || !r.Probed())
	}, "representation.spatial averages a diagonal of Hessian-vector products"},
	{func(r Record) bool {
		return r.Representation.Block > 1 && (r.Representation.Spatial == "" || r.Curvature.Estimate == "row_squared")
	}, "representation.block is what representation.spatial averages over in matrices: it needs spatial mean or mean_abs, and curvature.estimate diag or diag_squared"},
	{func(r Record) bool {
		return r.Solve.Damping.Kind == "clip" && (r.Representation.Format != "diag" || r.Curvature.Source == "batch")
	}, "damping.kind clip bounds the entries of a direction by a diagonal of source mc, hvp or ggnvp"},
	{func(r Record) bool {
		return r.Solve.Kind == "lie_sgd" && r.Representation.Format != "kf_dim" && (r.Curvature.Matrix != "absH" && r.Curvature.Source != "ggnvp" || r.Representation.Format != "kf_io" || r.Accumulate.Kind != "none")
	}, "lie_sgd learns the inverse of |H|, or of the Gauss-Newton matrix, itself: curvature.matrix must be absH, or curvature.source ggnvp; representation.format kf_io, accumulate.kind none"},
	{
		func(r Record) bool { return (r.Solve.Kind == "lie_sgd") != (r.Solve.Rate != 0) },
		"solve.rate is the step of lie_sgd, which needs one",
	},
	{func(r Record) bool {
		return r.Solve.Kind == "lie_sgd" && !oneOf(r.Solve.Damping.Kind, "iso", "noise", "none") || r.Solve.Damping.Kind == "noise" && r.Solve.Kind != "lie_sgd"
	}, "Hessian-vector products are damped by lambda v or by noise: solve.kind lie_sgd needs solve.damping.kind iso, noise or none, and noise is for nothing else"},
	{func(r Record) bool {
		p := r.Solve.Probability
		return p.Floor > 0 && (r.Solve.Kind != "lie_sgd" || r.Solve.Every > 1 || r.Solve.Warmup > 0)
	}, "a step of lie_sgd is taken at random or at intervals: solve.probability needs solve.kind lie_sgd, solve.probability.floor above 0, solve.every 1 and no solve.warmup; intervals need solve.probability.floor 0"},
	{func(r Record) bool {
		return r.Solve.Kind == "lie_sgd" && !oneOf(r.Representation.OnExceed, "", "diagonal") || r.Representation.OnExceed == "diagonal" && r.Solve.Kind != "lie_sgd" && r.Representation.Format != "kf_dim"
	}, "lie_sgd has diagonal factors for long sides, and so has kf_dim: representation.on_exceed must be diagonal for lie_sgd, and is for nothing else"},
	{func(r Record) bool {
		secant := r.Curvature.Source == "secant"
		return (r.Curvature.Matrix == "bfgs") != secant || r.secant() != secant
	}, "secant pairs serve the BFGS update, and nothing else does: curvature.matrix bfgs, curvature.source secant and solve.kind bfgs or lbfgs need each other"},
	{func(r Record) bool {
		return r.secant() && (r.Representation.Format != "kf_io" || r.Accumulate.Kind != "ema" || r.Representation.Bias == "output" || r.Curvature.Sharing == "reduce")
	}, "BFGS updates inverse factors of a layer from moving averages over rows: solve.kind bfgs and lbfgs need representation.format kf_io, representation.bias joint, curvature.sharing expand and accumulate.kind ema"},
	{func(r Record) bool {
		return r.secant() && !oneOf(r.Solve.Damping.Kind, "lm", "iso", "none") || r.Solve.Damping.Kind == "lm" && !r.secant()
	}, "secant pairs are damped: solve.kind bfgs and lbfgs need solve.damping.kind lm, iso or none, and lm is for nothing else"},
	{func(r Record) bool {
		return r.secant() && (!oneOf(r.Fallback.Norm, "grad", "adam") || !oneOf(r.Fallback.Embedding, "grad", "adam"))
	}, "a secant pair is of a layer with one input and one output factor: with solve.kind bfgs and lbfgs, fallback.norm and fallback.embedding must be grad or adam"},
	{func(r Record) bool {
		return r.Solve.Kind == "lbfgs" && (r.Representation.Rank == 0 || r.Preset == "asdl")
	}, "L-BFGS corrects Kronecker inverses by the newest secant pairs: solve.kind lbfgs needs representation.rank, their number, above 0, and preset paper"},
	{func(r Record) bool {
		return r.Solve.Kind == "divide" && r.Solve.Power == 0
	}, "a division needs solve.power between -1 and 0"},
	{func(r Record) bool {
		return r.Accumulate.Kind == "none" && r.Representation.Format == "diag" && r.Accumulate.Every > 1
	}, "accumulate.kind none keeps no estimate for the steps between: accumulate.every must be 1"},
}
