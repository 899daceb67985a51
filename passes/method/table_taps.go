package method

// variant is base with the texts of another method, and with what change sets.
func variant(base, texts Record, change func(r *Record)) Record {
	base.Name, base.Doc, base.Cite, base.Equations, base.Oracles = texts.Name, texts.Doc, texts.Cite, texts.Equations, texts.Oracles
	change(&base)
	return base
}

// tapMethods are built on inputs and output gradients of layers, beside kfac; most are K-FAC in all that they do not set.
var tapMethods = []Record{
	variant(kfac(), Record{
		Name: "kfac-reduce", Doc: "K-FAC with inputs averaged and output gradients summed over the positions of a layer",
		Cite:      "Eschenhagen, Immer, Turner, Schneider & Hennig, NeurIPS 2023, arXiv:2311.00636",
		Equations: "Eschenhagen et al. 2023, equation 22",
		Oracles:   "TestKFACSettings TestKFACExactBlocks TestGroupsAreLayers TestConvolutionIsLinear",
	}, func(r *Record) {
		r.Curvature.Sharing = "reduce"
	}),
	variant(kfac(), Record{
		Name: "kflr", Doc: "KFLR: K-FAC with the exact expectation over labels in the output factor",
		Cite:      "Botev, Ritter & Barber, ICML 2017, arXiv:1706.03662",
		Equations: "Botev et al. 2017, section 3.3",
		Oracles:   "TestKFACDenseTwin TestKFACExactBlocks TestSampledFactorExpectation TestGroupsAreLayers",
	}, func(r *Record) {
		r.Curvature = Curvature{Matrix: "GGN", Source: "exact", Sharing: "expand"}
	}),
	variant(kfac(), Record{
		Name: "kfra", Doc: "KFRA: output factors by a recursion on the averaged Hessian, from layer to layer (chains of linear layers)",
		Cite:      "Botev, Ritter & Barber, ICML 2017, arXiv:1706.03662",
		Equations: "Botev et al. 2017, section 3.4, equation 20",
		Oracles:   "TestRecursion",
	}, func(r *Record) {
		r.Curvature = Curvature{Matrix: "GGN", Source: "recursive"}
		r.Fallback.Norm, r.Fallback.Embedding = "grad", "grad"
	}),
	variant(kfac(), Record{
		Name: "ekfac", Doc: "EKFAC: second moments of each example's gradient in the eigenbasis of K-FAC's factors",
		Cite:      "George, Laurent, Bouthillier, Ballas & Vincent, NeurIPS 2018, arXiv:1806.03884",
		Equations: "George et al. 2018, algorithm 1 and section 3.2 (moving averages)",
		Oracles:   "TestEigenbasisTwin TestEigenbasisFit TestGroupsAreLayers TestConvolutionIsLinear",
	}, func(r *Record) {
		r.Curvature = Curvature{Matrix: "F", Source: "emp", Sharing: "expand"}
		r.Representation.Format, r.Representation.Moments, r.Representation.MaxSide = "kfe_io", "example", 2048
		r.Accumulate.MomentBeta = 0.75
		r.Solve = Solve{Kind: "divide", Power: -1, Kernel: "track", Every: 50, Damping: Damping{Kind: "eig", Value: 1e-2}}
		r.Fallback.Embedding = "grad"
	}),
	variant(kfac(), Record{
		Name: "skfac", Doc: "SKFAC: K-FAC's inverses applied through the B x B products of a batch's samples",
		Cite:      "Tang, Jiang, Gong, Li, Wu, Yu, Wang & Wang, CVPR 2021, pp. 13479-13487",
		Equations: "Tang et al. 2021, equations 9 to 11 (Sherman-Morrison-Woodbury), section 3.3 (positions)",
		Oracles:   "TestDualsAreInverses TestSampleWindowTwin TestWindowOfBatch TestGroupsAreLayers TestConvolutionIsLinear",
	}, func(r *Record) {
		r.Curvature.Sharing = "reduce"
		r.Representation.MaxSide = 0
		r.Accumulate = Accumulate{Kind: "none", Every: 1}
		r.Solve.Kind, r.Solve.Kernel, r.Solve.Every = "gram", "", 1
		r.Fallback.Embedding = "grad"
	}),
	{
		Name: "foof", Doc: "FOOF: gradient descent on layer outputs, by the inverse of the input factor alone",
		Cite:           "Benzing, ICML 2022, arXiv:2201.12250",
		Curvature:      Curvature{Matrix: "none", Source: "none", Sharing: "expand"},
		Representation: Representation{Granularity: "layer", Format: "one_sided", Bias: "joint", MaxSide: 8192},
		Accumulate:     Accumulate{Kind: "ema", Beta: 0.95, Debias: true, Every: 1},
		Solve:          Solve{Kind: "inverse", Power: -1, Kernel: "cholesky", Every: 10, Damping: Damping{Kind: "iso", Value: 1}},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Norm: "grad", Embedding: "kron", Other: "grad"},
		Update:         Update{LR: 0.1, Momentum: 0.9, Decay: "coupled"},
		Equations:      "Benzing 2022, section 4",
		Oracles:        "TestOneSided TestGroupsAreLayers TestConvolutionIsLinear",
	},
	{
		Name: "eva", Doc: "Eva: the mean input and the mean output gradient of each layer, inverted by Sherman-Morrison",
		Cite:           "Zhang, Shi & Li, ICLR 2023",
		Curvature:      Curvature{Matrix: "F", Source: "emp", Sharing: "expand"},
		Representation: Representation{Granularity: "layer", Format: "rank1", Bias: "joint"},
		Accumulate:     Accumulate{Kind: "ema", Beta: 0.05, Debias: true, Every: 1},
		Solve:          Solve{Kind: "gram", Power: -1, Every: 1, Damping: Damping{Kind: "iso", Value: 0.03}},
		Apply:          Apply{KLClip: 1e-3},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Norm: "grad", Embedding: "grad", Other: "grad"},
		Update:         Update{LR: 0.005, Momentum: 0.9, Decay: "coupled"},
		Equations:      "Zhang et al. 2023, equation 13",
		Oracles:        "TestRankOneTwin TestGroupsAreLayers TestConvolutionIsLinear",
	},
	variant(kfac(), Record{
		Name: "unit-ng", Doc: "unit-wise natural gradient: the Fisher block of each unit's incoming weights",
		Cite:      "Ollivier, Information and Inference 4, 2015, arXiv:1303.0818",
		Equations: "Ollivier 2015, section 2.3 (unitwise natural gradient)",
		Oracles:   "TestUnitTwin TestGroupsAreLayers TestConvolutionIsLinear TestGoldenASDL",
	}, func(r *Record) {
		r.Curvature.Sharing = ""
		r.Representation = Representation{Granularity: "unit", Format: "dense", Bias: "joint", MaxBytes: 1 << 30}
		r.Solve.Damping = Damping{Kind: "iso", Value: 1e-3}
		r.Fallback.Embedding = "grad"
	}),
}
