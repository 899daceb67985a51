package method

import "slices"

// table lists the methods.
var table = slices.Concat(gradientMethods, tapMethods, tensorMethods, hessianMethods, gramMethods)

// gradientMethods are built on gradients and inputs of layers.
var gradientMethods = []Record{
	{
		Name: "sgd", Doc: "stochastic gradient descent with momentum",
		Cite:           "Robbins & Monro 1951; Polyak 1964",
		Curvature:      Curvature{Matrix: "none", Source: "none"},
		Representation: Representation{Granularity: "none", Format: "none"},
		Accumulate:     Accumulate{Kind: "none"},
		Solve:          Solve{Kind: "none", Damping: Damping{Kind: "none"}},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Other: "grad"},
		Update:         Update{LR: 0.1, Momentum: 0.9, Decay: "coupled"},
		Equations:      "Sutskever, Martens, Dahl & Hinton, ICML 2013, equations 1 to 4, with the rate outside the buffer",
		Oracles:        "TestElementTwin TestFallbacks TestMixedUpdate TestGoldenASDL",
	},
	{
		Name: "adagrad", Doc: "AdaGrad: division by the root of the summed squares of the gradient",
		Cite:           "Duchi, Hazan & Singer, JMLR 12, 2011",
		Curvature:      Curvature{Matrix: "F", Source: "batch"},
		Representation: Representation{Granularity: "element", Format: "diag"},
		Accumulate:     Accumulate{Kind: "sum", Every: 1},
		Solve:          Solve{Kind: "divide", Power: -0.5, Damping: Damping{Kind: "eps", Value: 1e-10}},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Other: "grad"},
		Update:         Update{LR: 0.01, Decay: "coupled"},
		Equations:      "Duchi et al. 2011, figure 1 (diagonal matrices)",
		Oracles:        "TestElementTwin TestElementFacts TestPublishedVectors",
	},
	{
		Name: "adam", Doc: "Adam (AdamW with weight_decay): debiased moments, division by the root of the second",
		Cite:           "Kingma & Ba, ICLR 2015; Loshchilov & Hutter, arXiv:1711.05101",
		Curvature:      Curvature{Matrix: "F", Source: "batch"},
		Representation: Representation{Granularity: "element", Format: "diag"},
		Accumulate:     Accumulate{Kind: "ema", Beta: 0.999, Debias: true, Every: 1},
		Solve:          Solve{Kind: "divide", Power: -0.5, Damping: Damping{Kind: "eps", Value: 1e-8}},
		Apply:          Apply{Beta: 0.9},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Other: "grad"},
		Update:         Update{LR: 0.001, Decay: "decoupled"},
		Equations:      "Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter, algorithm 2",
		Oracles:        "TestElementTwin TestElementFacts TestPublishedVectors",
	},
	kfac(),
	{
		Name: "shampoo", Doc: "Shampoo: one factor per side of each tensor, inverse roots",
		Cite:           "Gupta, Koren & Singer, ICML 2018; Anil et al., arXiv:2002.09018 (blocks, grafting)",
		Curvature:      Curvature{Matrix: "F", Source: "batch"},
		Representation: Representation{Granularity: "layer", Format: "kf_dim", Sides: "matrix", Vectors: "diag", MaxSide: 1024, OnExceed: "split"},
		Accumulate:     Accumulate{Kind: "sum", Init: 1e-4, Every: 1},
		Solve:          Solve{Kind: "root", Power: -0.5, Kernel: "auto", Iterations: 40, Tolerance: 1e-5, Every: 10, Damping: Damping{Kind: "rel", Value: 1e-6}},
		Apply:          Apply{Graft: "adam"}, // between refreshes the roots are stale: without it only small rates are stable
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Other: "adam"},
		Update:         Update{LR: 0.001, Momentum: 0.9, Decay: "coupled"},
		Equations:      "Gupta et al. 2018, algorithms 1 and 2",
		Oracles:        "TestShampooFirstStep TestShampooTwin TestShampooRotation TestShampooBlocks TestShampooGrafting TestShampooBound TestGoldenASDL",
	},
}

// Names lists the methods in table order.
func Names() []string {
	names := make([]string, len(table))
	for i, r := range table {
		names[i] = r.Name
	}
	return names
}

// Lookup returns a copy of the record of that name, with the conventions of its paper.
func Lookup(name string) (Record, bool) {
	for _, r := range table {
		if r.Name == name {
			r.Preset = "paper"
			return r, true
		}
	}
	return Record{}, false
}

// WithPreset returns r under a preset: "paper" leaves it as it is; "asdl" takes over the conventions of the PyTorch
// library ASDL: K-FAC without moving average, with the bias outside the input factor and no debiasing; Shampoo with one
// factor a dimension and the ridge kept in the statistic; SENG with its factors of sketches and its estimate of products;
// intervals of 1, and no grafting, clipping or guards.
func WithPreset(r Record, preset string) (Record, error) {
	switch preset {
	case "", "paper":
		r.Preset = "paper"
		return r, nil
	case "asdl":
	default:
		return r, &SettingError{Field: "preset", Value: preset, Want: "paper or asdl"}
	}
	r.Preset = preset
	switch {
	case r.Solve.Kind == "bfgs":
		r.Solve.Damping.Kind = "iso"
		r.Accumulate.Debias, r.Apply.Beta = false, 0
	case r.Solve.Kind == "lie_sgd":
		r.Representation.MaxSide = 0
		r.Solve.Damping = Damping{Kind: "none"}
	case r.Representation.Format == "gram":
		r.Representation.Bias, r.Curvature.Sharing, r.Apply.Product = "output", "expand", "implicit"
		r.Fallback = Fallback{Norm: "grad", Embedding: "grad", Other: "grad"}
	case r.Representation.Format == "kf_io":
		r.Representation.Bias, r.Representation.MaxSide = "output", 0
		r.Accumulate = Accumulate{Kind: "none", Every: 1}
		r.Solve.Damping = Damping{Kind: "factor_pi", Value: 1e-7, Floor: 1e-7}
		r.Solve.Every = 1
		r.Fallback = Fallback{Norm: "unit", Embedding: "grad", Other: "grad"}
	case r.Representation.Format == "dense" || r.Representation.Format == "moments":
		r.Representation.MaxBytes = 0
		r.Accumulate = Accumulate{Kind: "none", Every: 1}
		r.Solve.Damping = Damping{Kind: "iso", Value: 1e-7}
		r.Solve.Every = 1
	case r.Representation.Format == "kf_dim":
		r.Representation = Representation{Granularity: "layer", Format: "kf_dim", Sides: "modes", Vectors: "grad"}
		r.Accumulate = Accumulate{Kind: "sum", Init: 1e-12, Every: 1}
		r.Solve = Solve{
			Kind: "root", Power: -0.5, Kernel: "newton", Iterations: 100, Tolerance: 1e-6, Every: 1,
			Damping: Damping{Kind: "rel", Value: 1e-7, Keep: true},
		}
		r.Apply.Graft = "none"
		r.Fallback = Fallback{Other: "grad"}
	}
	r.Apply.KLClip = 0
	r.Guards = Guards{}
	r.Update.Momentum = 0
	return r, nil
}

// kfac is K-FAC, of which other records of the table are made.
func kfac() Record {
	return Record{
		Name: "kfac", Doc: "K-FAC: Kronecker factors of inputs and output gradients, inverted",
		Cite:           "Martens & Grosse, ICML 2015; Grosse & Martens, ICML 2016 (convolutions); Eschenhagen et al. 2023 (weight sharing)",
		Curvature:      Curvature{Matrix: "F", Source: "mc", Samples: 1, Sharing: "expand"},
		Representation: Representation{Granularity: "layer", Format: "kf_io", Bias: "joint", MaxSide: 8192},
		Accumulate:     Accumulate{Kind: "ema", Beta: 0.95, Debias: true, Every: 1},
		Solve:          Solve{Kind: "inverse", Power: -1, Kernel: "cholesky", Every: 10, Damping: Damping{Kind: "factor_pi", Value: 0.03}},
		Apply:          Apply{KLClip: 1e-3},
		Guards:         Guards{Finite: true},
		Fallback:       Fallback{Norm: "unit", Embedding: "kron", Other: "grad"},
		Update:         Update{LR: 0.02, Momentum: 0.9, Decay: "coupled"},
		Equations:      "Martens & Grosse 2015, sections 3 (factors), 4.2 (inverse of a block), 5 (moving averages), 6.3 (damping); Ba, Grosse & Martens 2017, section 5 (clipping)",
		Oracles:        "TestKFACDenseTwin TestKFACSettings TestKFACSingleExample TestKFACExactBlocks TestSampledFactorExpectation TestKFACConvolutionIsLinear TestKFACEmbeddingIsLinear TestAffineInvariance TestBatchNormUnits TestGoldenASDL",
	}
}
