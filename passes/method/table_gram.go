package method

// gramMethods are built on rows of gradients, through their Gram matrices.
var gramMethods = []Record{
	{
		Name: "seng", Doc: "SENG: each layer's empirical Fisher matrix, inverted through the Gram matrix of the examples' gradients",
		Cite:           "Yang, Xu, Wen, Chen & Xu, J. Sci. Comput. 92, 2022, arXiv:2006.05924",
		Curvature:      Curvature{Matrix: "F", Source: "emp", Sharing: "per_example"},
		Representation: Representation{Granularity: "layer", Format: "gram", Bias: "joint", Sketch: 256},
		Accumulate:     Accumulate{Kind: "none"},
		Solve:          Solve{Kind: "gram", Power: -1, Every: 1, Damping: Damping{Kind: "iso", Value: 1}},
		Apply:          Apply{Product: "exact"},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Norm: "gram", Embedding: "grad", Other: "grad"},
		Update:         Update{LR: 0.05, Momentum: 0.9, Decay: "coupled"},
		Equations:      "Yang et al. 2022, section 3 (direction by Sherman, Morrison and Woodbury; sketches; implicit form)",
		Oracles:        "TestSENGDense TestSENGSketch TestSENGWays TestSENGSketchExpectation TestSENGWholeSketch TestSENGImplicit TestSENGRank TestGroupsAreLayers TestGramLimits TestWindowTwin TestWindowOfBatch TestWindowStaggered TestGoldenASDL",
	},
	{
		Name: "tonga-unit", Doc: "TONGA by unit: discounted covariance of each unit's gradients, of low rank",
		Cite:           "Le Roux, Manzagol & Bengio, NIPS 2007",
		Curvature:      Curvature{Matrix: "F", Source: "batch"},
		Representation: Representation{Granularity: "unit", Format: "lowrank", Rank: 8},
		Accumulate:     Accumulate{Kind: "discount", Beta: 0.995, Every: 1},
		Solve:          Solve{Kind: "gram", Power: -1, Every: 8, Damping: Damping{Kind: "iso", Value: 1e-2}},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Norm: "unit", Embedding: "adam", Other: "grad"},
		Update:         Update{LR: 0.01, Decay: "coupled"},
		Equations:      "Le Roux et al. 2007, sections 3 (covariance, blocks) and 4.1 (low rank, Gram matrix)",
		Oracles:        "TestTongaDense TestBatchEigen TestGramLimits TestGroupsAreLayers",
	},
}
