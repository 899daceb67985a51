package method

// tapFormats are the representations built on inputs and output gradients of layers.
var tapFormats = []string{"kf_io", "kfe_io", "one_sided", "rank1", "dense", "moments", "gram"}

// Tapped reports whether the record's statistics come from inputs and output gradients of layers.
func (r Record) Tapped() bool {
	return oneOf(r.Representation.Format, tapFormats...) && !r.Probed()
}

// tapRules are the legality rules of representations built on inputs and output gradients of layers.
var tapRules = []rule{
	{func(r Record) bool {
		return oneOf(r.Representation.Format, "kfe_io", "dense", "moments") && !oneOf(r.Curvature.Source, "mc", "emp", "exact")
	}, "kfe_io, dense and moments need output gradients of each example: source must be mc, emp or exact"},
	{
		func(r Record) bool { return r.Representation.Format == "rank1" && r.Curvature.Source != "emp" },
		"the mean output gradient of sampled labels is noise around zero: rank1 needs source emp",
	},
	{func(r Record) bool {
		return r.Solve.Kind == "gram" && r.Curvature.Scale != 0
	}, "curvature.scale multiplies second moments, which solve.kind gram does not form"},
	{
		func(r Record) bool { return r.Representation.Format == "one_sided" && r.Curvature.Source != "none" },
		"one_sided needs inputs of layers alone: source must be none",
	},
	{func(r Record) bool {
		return r.Curvature.Source == "recursive" && (r.Representation.Format != "kf_io" || r.Solve.Kind != "inverse")
	}, "source recursive makes output factors from those of the layer above: it needs kf_io and solve.kind inverse"},
	{
		func(r Record) bool { return r.Curvature.Source == "recursive" && r.Curvature.Sharing == "reduce" },
		"source recursive is for layers used at one position: curvature.sharing must be empty",
	},
	{func(r Record) bool {
		return r.Representation.Format == "kfe_io" && (r.Solve.Kind != "divide" || r.Solve.Power != -1 || r.Solve.Damping.Kind != "eig")
	}, "in the eigenbasis the matrix is diagonal: kfe_io needs solve.kind divide, solve.power -1 and solve.damping.kind eig"},
	{
		func(r Record) bool { return r.Solve.Damping.Kind == "eig" && r.Representation.Format != "kfe_io" },
		"damping.kind eig adds to the second moments in an eigenbasis: it needs kfe_io",
	},
	{
		func(r Record) bool { return r.Representation.Format == "kfe_io" && r.Accumulate.Kind != "ema" },
		"the basis follows moving averages of the factors: with kfe_io, accumulate.kind must be ema",
	},
	{func(r Record) bool {
		return r.Representation.Format != "kfe_io" && (r.Representation.Moments != "" || r.Accumulate.MomentBeta != 0)
	}, "representation.moments and accumulate.moment_beta are for the second moments of kfe_io"},
	{
		func(r Record) bool { return r.Solve.Warm && r.Representation.Format != "kfe_io" },
		"solve.warm keeps the second moments of kfe_io",
	},
	{func(r Record) bool {
		inverse := r.Solve.Kind == "inverse" && r.Solve.Power == -1
		polar := r.Representation.Format == "one_sided" && r.Solve.Kind == "polar" && r.Solve.Power == -0.5
		return oneOf(r.Representation.Format, "one_sided", "dense", "moments") && (!inverse && !polar || !oneOf(r.Solve.Damping.Kind, "iso", "none"))
	}, "one_sided, dense and moments are inverted: solve.kind must be inverse and solve.power -1, or for one_sided polar and -0.5; solve.damping.kind iso or none"},
	{func(r Record) bool {
		return r.Representation.Format == "rank1" && (r.Solve.Kind != "gram" || r.Solve.Power != -1 || r.Solve.Damping.Kind != "iso")
	}, "a matrix of rank one is inverted by Sherman-Morrison: rank1 needs solve.kind gram, solve.power -1 and solve.damping.kind iso"},
	{func(r Record) bool {
		return r.Solve.Kind == "gram" && r.Representation.Format == "kf_io" && !oneOf(r.Solve.Damping.Kind, "factor_pi", "iso")
	}, "without damping the samples of a batch have no inverse: solve.damping.kind must be factor_pi or iso"},
	{
		func(r Record) bool {
			return r.Solve.Kind == "gram" && !oneOf(r.Representation.Format, "kf_io", "rank1", "gram", "lowrank")
		},
		"solve.kind gram inverts what is made of samples: it needs kf_io, rank1, gram or lowrank",
	},
	{func(r Record) bool {
		return r.Accumulate.Kind == "sum" && oneOf(r.Representation.Format, "one_sided", "rank1", "dense", "moments")
	}, "sums grow without bound and their inverse goes to zero: accumulate.kind must be none or ema"},
	{func(r Record) bool {
		return r.Representation.Bias == "output" && oneOf(r.Representation.Format, "kfe_io", "one_sided", "rank1", "dense", "moments")
	}, "without an output factor there is none for the bias: representation.bias must be joint"},
	{func(r Record) bool {
		return r.Representation.Format == "moments" && r.Accumulate.Kind == "none" && (r.Accumulate.Every > 1 || r.Accumulate.Schedule != "")
	}, "nothing is kept of a diagonal for the steps between: accumulate.every must be 1"},
	{
		func(r Record) bool { return r.Representation.MaxBytes != 0 && r.Representation.Format != "dense" },
		"representation.max_bytes bounds dense blocks",
	},
	{
		func(r Record) bool {
			unit := r.Representation.Granularity == "unit"
			return oneOf(r.Representation.Format, "dense", "lowrank") && !unit || unit && !oneOf(r.Representation.Format, "dense", "lowrank", "gram")
		},
		"granularity unit goes with representation.format dense, lowrank or gram, and dense and lowrank with it",
	},
}
