package method

// ofRows reports whether the representation is made of rows of gradients.
func ofRows(r Record) bool { return oneOf(r.Representation.Format, "gram", "lowrank") }

// gramRules are the combinations of rows and their Gram matrices that have no meaning.
var gramRules = []rule{
	{func(r Record) bool {
		return ofRows(r) && (r.Solve.Kind != "gram" || r.Solve.Power != -1 || r.Solve.Damping.Kind != "iso" || !oneOf(r.Solve.Kernel, "", "auto", "cholesky"))
	}, "rows are inverted through their Gram matrix, with a multiple of the identity: representation.format gram and lowrank need solve.kind gram, solve.damping.kind iso, solve.power -1 and solve.kernel cholesky"},
	{
		func(r Record) bool { return ofRows(r) && oneOf(r.Fallback.Embedding, "", "kron") },
		"an embedding's gradients are rows of tokens, for which there is no Gram matrix: with representation.format gram and lowrank, fallback.embedding must be grad or adam",
	},
	{func(r Record) bool {
		return r.Representation.Format == "gram" && !oneOf(r.Curvature.Source, "emp", "mc", "exact")
	}, "the rows of format gram are gradients of single examples: source must be emp, mc or exact"},
	{func(r Record) bool {
		gram := r.Representation.Format == "gram" || r.Representation.Format == "kf_io" && r.Solve.Kind == "gram"
		return gram && r.Accumulate.Kind != "window" && (r.Accumulate.Kind != "none" || r.Accumulate.Every > 1 || r.Solve.Every > 1 || r.Accumulate.Schedule != "")
	}, "the rows of a batch are as many as it has examples, a number that no state tensor can follow, so that nothing is kept for later steps: accumulate.kind must be none and accumulate.every and solve.every 1; or accumulate.kind window, which keeps accumulate.size rows"},
	{func(r Record) bool {
		gram := r.Representation.Format == "gram" || r.Representation.Format == "kf_io" && r.Solve.Kind == "gram"
		window := r.Accumulate.Kind == "window"
		return window != (r.Accumulate.Size > 0) || window && (!gram || r.Accumulate.Debias || r.Preset == "asdl")
	}, "a window keeps accumulate.size rows of single examples: accumulate.kind window needs accumulate.size above 0, which is for nothing else, and representation.format gram, or kf_io with solve.kind gram, no accumulate.debias, and preset paper"},
	{func(r Record) bool {
		return r.Representation.Format == "gram" && r.Representation.Granularity == "unit" &&
			(r.Representation.Sketch > 0 || r.Apply.Product == "implicit" || r.Fallback.Norm == "gram" || r.Representation.Bias == "output")
	}, "units have rows of their own, short ones: with representation.granularity unit and format gram there is no representation.sketch, no apply.product implicit, no fallback.norm gram, and representation.bias is joint"},
	{func(r Record) bool {
		return r.Representation.Format == "gram" && r.Representation.Bias == "output" && r.Preset != "asdl"
	}, "a Gram matrix without the bias is of other rows than those that it corrects, which only preset asdl accepts: representation.bias must be joint"},
	{func(r Record) bool {
		return r.Representation.Format != "gram" && (r.Curvature.Sharing == "per_example" || r.Representation.Sketch > 0 || r.Apply.Product != "" || r.Fallback.Norm == "gram")
	}, "curvature.sharing per_example, representation.sketch, apply.product and fallback.norm gram are for representation.format gram"},
	{func(r Record) bool {
		return (r.Representation.Format == "lowrank") != (r.Accumulate.Kind == "discount")
	}, "rows of the past and the newest add up with a discount: representation.format lowrank and accumulate.kind discount need each other"},
	{
		func(r Record) bool { return r.Representation.Format == "lowrank" && r.Curvature.Source != "batch" },
		"format lowrank keeps rows of mean gradients: source must be batch",
	},
	{func(r Record) bool {
		n := r.Representation.Rank + max(1, r.Solve.Every)
		return r.Representation.Format == "lowrank" && (n > 64 || r.Representation.Rank == 0)
	}, "format lowrank keeps representation.rank rows of the past and solve.every new ones, whose Gram matrices are diagonalised by rotations, for small matrices: their sum must be at most 64, and representation.rank positive"},
	{func(r Record) bool {
		residual := r.Representation.Format == "kf_io" && (r.Solve.Kind == "inverse" || r.secant())
		return r.Representation.Rank > 0 && !ofRows(r) && (!residual || r.Representation.Bias == "output" || r.Preset == "asdl")
	}, "representation.rank counts the rows of lowrank, the singular values of gram, those kept beside Kronecker factors, or secant pairs: it needs format lowrank or gram, or kf_io with solve.kind inverse, bfgs or lbfgs, representation.bias joint and preset paper"},
	{func(r Record) bool {
		return r.Representation.Format == "lowrank" && (r.Accumulate.Every > 1 || r.Accumulate.Schedule != "" || r.Solve.Warmup > 0)
	}, "format lowrank takes one row a step, and makes room after solve.every of them: accumulate.every must be 1, and there can be no accumulate.schedule or solve.warmup"},
}
