package method

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// rule is a row of the legality table: a record for which Breaks holds is refused, with the reason.
type rule struct {
	Breaks func(Record) bool
	Reason string
}

func oneOf(s string, list ...string) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}

// rules are the combinations that have no meaning.
var rules = []rule{
	{func(r Record) bool {
		return r.Representation.Format == "kf_io" && oneOf(r.Solve.Kind, "inverse", "gram") && !oneOf(r.Curvature.Source, "mc", "emp", "exact", "recursive")
	}, "kf_io needs inputs and output gradients of each example: source must be mc, emp, exact or recursive"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && !oneOf(r.Curvature.Source, "batch", "mc")
	}, "kf_dim is built from gradients of whole batches: source must be batch, or mc (under sampled labels)"},
	{func(r Record) bool {
		return r.Representation.Format == "diag" && !oneOf(r.Curvature.Source, "batch", "mc", "hvp", "ggnvp")
	}, "diag is built from mean gradients, those of sampled labels, or products of the curvature with vectors: source must be batch, mc, hvp or ggnvp"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_io" && (!oneOf(r.Solve.Kind, "inverse", "gram", "lie_sgd", "bfgs", "lbfgs") || r.Solve.Power != -1)
	}, "kf_io is inverted, or its inverse learned: solve.kind must be inverse, gram, lie_sgd, bfgs or lbfgs and solve.power -1"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && !oneOf(r.Solve.Kind, "root", "inverse", "lie_sgd")
	}, "kf_dim's factors are inverted, or taken inverse roots of, or fitted: solve.kind must be root, inverse or lie_sgd"},
	{func(r Record) bool {
		return r.Representation.Format == "diag" && r.Solve.Kind != "divide"
	}, "a diagonal is divided by: solve.kind must be divide"},
	{func(r Record) bool {
		return r.Representation.Format == "none" && r.Solve.Kind != "none"
	}, "nothing is represented: solve.kind must be none"},
	{func(r Record) bool {
		return r.Accumulate.Kind == "none" && r.Curvature.Source == "batch" && r.Solve.Kind != "lie_sgd"
	}, "one mini-batch's mean gradient gives a matrix of rank one: accumulate.kind must be ema or sum"},
	{func(r Record) bool {
		return r.Accumulate.Kind == "sum" && r.Representation.Format == "kf_io"
	}, "the sum of a Fisher's factors grows without bound and an inverse of it goes to zero: accumulate.kind must be none or ema"},
	{func(r Record) bool {
		return r.Solve.Damping.Kind == "factor_pi" && r.Representation.Format != "kf_io"
	}, "factor_pi balances an input and an output factor: it needs kf_io"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_io" && r.Solve.Kind == "inverse" && !oneOf(r.Solve.Damping.Kind, "factor_pi", "iso", "none")
	}, "kf_io is damped before it is inverted: solve.damping.kind must be factor_pi, iso or none"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && r.Solve.Kind == "root" && !oneOf(r.Solve.Damping.Kind, "rel", "iso", "none")
	}, "kf_dim is damped before its roots: solve.damping.kind must be rel, iso or none"},
	{func(r Record) bool {
		return r.Representation.Format == "diag" && !oneOf(r.Solve.Damping.Kind, "eps", "clip")
	}, "a diagonal is damped after the root: solve.damping.kind must be eps or clip"},
	{func(r Record) bool {
		return r.Representation.Format == "diag" && r.Curvature.Source == "batch" && r.Solve.Power != -0.5
	}, "the statistic is made of squared mean gradients, of which the inverse root is taken: solve.power must be -0.5"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_io" && !oneOf(r.Solve.Kernel, "", "auto", "cholesky")
	}, "kf_io is inverted: solve.kernel must be cholesky"},
	{func(r Record) bool {
		return r.Representation.Format == "kf_dim" && r.Solve.Kind == "root" && !oneOf(r.Solve.Kernel, "", "auto", "newton", "eigen", "track")
	}, "a Cholesky factor gives no roots: solve.kernel must be newton, eigen, track or auto"},
	{func(r Record) bool {
		return !oneOf(r.Representation.Format, "diag", "kfe_dim", "matrix") && !oneOf(r.Solve.Kind, "lie_sgd", "bfgs", "lbfgs", "polar") && r.Apply.Beta != 0
	}, "a first moment is kept for diagonals, eigenbases, matrices and polar factors alone: apply.beta must be 0; use update.momentum"},
	{func(r Record) bool {
		return r.Representation.Format == "diag" && r.Curvature.Source == "batch" && (r.Accumulate.Every > 1 || r.Accumulate.Schedule != "")
	}, "a diagonal of mean gradients follows every step: accumulate.every must be 1"},
	{func(r Record) bool {
		return r.Representation.Format == "diag" && r.Accumulate.Kind == "none" && (r.Accumulate.Every > 1 || r.Accumulate.Schedule != "")
	}, "nothing is kept of a diagonal for the steps between: accumulate.every must be 1"},
	{func(r Record) bool {
		return !oneOf(r.Representation.Format, "kf_dim", "kfe_dim") && r.Accumulate.Init != 0
	}, "a multiple of the identity to start from is for kf_dim and kfe_dim: accumulate.init must be 0"},
	{func(r Record) bool {
		return r.Apply.Graft == "adam" && r.Representation.Format != "kf_dim" || r.Apply.Graft == "sgd" && !oneOf(r.Representation.Format, append([]string{"kf_dim"}, tapFormats...)...)
	}, "grafting takes a norm for directions of factors: apply.graft=adam needs kf_dim, apply.graft=sgd needs kf_dim, kf_io, kfe_io, one_sided, rank1 or dense"},
	{func(r Record) bool {
		return r.Solve.Damping.Keep && r.Solve.Damping.Kind != "rel"
	}, "damping.keep is for damping.kind rel"},
	{func(r Record) bool {
		return r.Solve.Stagger && (r.Solve.Every <= 1 || r.Accumulate.Schedule != "")
	}, "solves are spread over the steps of an interval: solve.stagger needs solve.every above 1, and no accumulate.schedule"},
	{func(r Record) bool {
		return r.Solve.Delay > 0 && (r.Solve.Every <= 1 || r.Solve.Delay > r.Solve.Every || r.Accumulate.Schedule != "")
	}, "a solve is done before the next one begins: solve.delay needs solve.every above 1 and not below the delay, and no accumulate.schedule"},
	{func(r Record) bool {
		return r.Solve.Delay > 0 && r.Accumulate.Kind == "none"
	}, "statistics of one step alone are not kept for a later solve: solve.delay needs accumulate.kind ema or sum"},
}

// choices are the values that the text fields can have.
var choices = []struct {
	Field  string
	Get    func(Record) string
	Values []string
}{
	{"preset", func(r Record) string { return r.Preset }, []string{"paper", "asdl"}},
	{"curvature.matrix", func(r Record) string { return r.Curvature.Matrix }, []string{"none", "F", "GGN", "H", "absH", "bfgs"}},
	{"curvature.source", func(r Record) string { return r.Curvature.Source }, []string{"none", "mc", "emp", "exact", "recursive", "batch", "hvp", "ggnvp", "secant"}},
	{"curvature.sharing", func(r Record) string { return r.Curvature.Sharing }, []string{"", "expand", "reduce", "per_example"}},
	{"curvature.probe", func(r Record) string { return r.Curvature.Probe }, []string{"", "normal", "rademacher"}},
	{"curvature.estimate", func(r Record) string { return r.Curvature.Estimate }, []string{"", "diag", "diag_squared", "row_squared"}},
	{"representation.spatial", func(r Record) string { return r.Representation.Spatial }, []string{"", "mean", "mean_abs"}},
	{"representation.granularity", func(r Record) string { return r.Representation.Granularity }, []string{"none", "layer", "unit", "element"}},
	{"representation.format", func(r Record) string { return r.Representation.Format }, []string{"none", "kf_io", "kfe_io", "one_sided", "rank1", "dense", "moments", "gram", "lowrank", "kf_dim", "kfe_dim", "matrix", "diag"}},
	{"representation.bias", func(r Record) string { return r.Representation.Bias }, []string{"", "joint", "output"}},
	{"representation.sides", func(r Record) string { return r.Representation.Sides }, []string{"", "matrix", "modes", "kernel"}},
	{"representation.vectors", func(r Record) string { return r.Representation.Vectors }, []string{"", "diag", "full", "grad", "element"}},
	{"representation.fit", func(r Record) string { return r.Representation.Fit }, []string{"", "kl"}},
	{"representation.on_exceed", func(r Record) string { return r.Representation.OnExceed }, []string{"", "split", "identity", "diagonal"}},
	{"representation.moments", func(r Record) string { return r.Representation.Moments }, []string{"", "example", "mean"}},
	{"accumulate.kind", func(r Record) string { return r.Accumulate.Kind }, []string{"none", "ema", "sum", "discount", "window"}},
	{"solve.kind", func(r Record) string { return r.Solve.Kind }, []string{"none", "inverse", "gram", "root", "divide", "sign", "polar", "lie_sgd", "bfgs", "lbfgs"}},
	{"solve.kernel", func(r Record) string { return r.Solve.Kernel }, []string{"", "auto", "cholesky", "newton", "eigen", "track", "keller", "polar_express", "cubic", "exact", "triangular", "inverse_free"}},
	{"solve.damping.kind", func(r Record) string { return r.Solve.Damping.Kind }, []string{"none", "factor_pi", "rel", "iso", "eig", "eps", "clip", "noise", "lm", "trace"}},
	{"apply.graft", func(r Record) string { return r.Apply.Graft }, []string{"", "none", "sgd", "adam"}},
	{"fallback.norm", func(r Record) string { return r.Fallback.Norm }, []string{"", "unit", "gram", "grad", "adam"}},
	{"fallback.embedding", func(r Record) string { return r.Fallback.Embedding }, []string{"", "kron", "grad", "adam", "sign"}},
	{"fallback.head", func(r Record) string { return r.Fallback.Head }, []string{"", "grad", "adam"}},
	{"apply.product", func(r Record) string { return r.Apply.Product }, []string{"", "exact", "implicit"}},
	{"apply.lr_scale", func(r Record) string { return r.Apply.LRScale }, []string{"", "none", "keller", "moonlight", "sides"}},
	{"fallback.other", func(r Record) string { return r.Fallback.Other }, []string{"grad", "adam"}},
	{"update.decay", func(r Record) string { return r.Update.Decay }, []string{"", "coupled", "decoupled"}},
}

// ranges are the numbers that fields can have: Low <= value <= High.
var ranges = []struct {
	Field     string
	Get       func(Record) float64
	Low, High float64
}{
	{"curvature.samples", func(r Record) float64 { return float64(r.Curvature.Samples) }, 0, 1024},
	{"curvature.data_size", func(r Record) float64 { return float64(r.Curvature.DataSize) }, 0, 1e12},
	{"curvature.scale", func(r Record) float64 { return r.Curvature.Scale }, 0, 1e12},
	{"curvature.variance", func(r Record) float64 { return r.Curvature.Variance }, 0, 1e12},
	{"representation.max_side", func(r Record) float64 { return float64(r.Representation.MaxSide) }, 0, 1 << 20},
	{"representation.max_bytes", func(r Record) float64 { return float64(r.Representation.MaxBytes) }, 0, 1 << 50},
	{"representation.sketch", func(r Record) float64 { return float64(r.Representation.Sketch) }, 0, 1 << 20},
	{"representation.block", func(r Record) float64 { return float64(r.Representation.Block) }, 0, 1 << 20},
	{"representation.rank", func(r Record) float64 { return float64(r.Representation.Rank) }, 0, 1 << 20},
	{"accumulate.moment_beta", func(r Record) float64 { return r.Accumulate.MomentBeta }, 0, 0.9999999},
	{"accumulate.beta", func(r Record) float64 { return r.Accumulate.Beta }, 0, 0.9999999},
	{"accumulate.init", func(r Record) float64 { return r.Accumulate.Init }, 0, 1e12},
	{"accumulate.size", func(r Record) float64 { return float64(r.Accumulate.Size) }, 0, 1 << 20},
	{"accumulate.every", func(r Record) float64 { return float64(r.Accumulate.Every) }, 0, 1e9},
	{"accumulate.warmup", func(r Record) float64 { return float64(r.Accumulate.Warmup) }, 0, 1e9},
	{"solve.every", func(r Record) float64 { return float64(r.Solve.Every) }, 0, 1e9},
	{"solve.warmup", func(r Record) float64 { return float64(r.Solve.Warmup) }, 0, 1e9},
	{"solve.probability.floor", func(r Record) float64 { return r.Solve.Probability.Floor }, 0, 1},
	{"solve.probability.decay", func(r Record) float64 { return r.Solve.Probability.Decay }, 0, 1},
	{"solve.probability.flat", func(r Record) float64 { return float64(r.Solve.Probability.Flat) }, 0, 1e9},
	{"solve.iterations", func(r Record) float64 { return float64(r.Solve.Iterations) }, 0, 10000},
	{"solve.tolerance", func(r Record) float64 { return r.Solve.Tolerance }, 0, 1},
	{"solve.rate", func(r Record) float64 { return r.Solve.Rate }, 0, 0.9999999},
	{"solve.power", func(r Record) float64 { return r.Solve.Power }, -1, 0},
	{"solve.damping.value", func(r Record) float64 { return r.Solve.Damping.Value }, 0, 1e12},
	{"solve.damping.floor", func(r Record) float64 { return r.Solve.Damping.Floor }, 0, 1e12},
	{"apply.beta", func(r Record) float64 { return r.Apply.Beta }, 0, 0.9999999},
	{"solve.balance", func(r Record) float64 { return float64(r.Solve.Balance) }, 0, 1e9},
	{"apply.clip_rms", func(r Record) float64 { return r.Apply.ClipRMS }, 0, 1e12},
	{"apply.kl_clip", func(r Record) float64 { return r.Apply.KLClip }, 0, 1e12},
	{"update.lr", func(r Record) float64 { return r.Update.LR }, 0, 1e12},
	{"update.momentum", func(r Record) float64 { return r.Update.Momentum }, 0, 0.9999999},
	{"update.weight_decay", func(r Record) float64 { return r.Update.WeightDecay }, 0, 1e12},
	{"update.average", func(r Record) float64 { return r.Update.Average }, 0, 0.9999999},
	{"update.clip_norm", func(r Record) float64 { return r.Update.ClipNorm }, 0, 1e12},
}

// Validate checks that every field has a value it can have and that the combination is legal. All breaches are
// joined.
func Validate(r Record) error {
	var errs []error
	for _, c := range choices {
		if v := c.Get(r); !oneOf(v, c.Values...) {
			errs = append(errs, &SettingError{c.Field, strconv.Quote(v), "one of " + strings.TrimPrefix(strings.Join(c.Values, ", "), ", ")})
		}
	}
	for _, c := range ranges {
		if v := c.Get(r); !(v >= c.Low && v <= c.High) {
			errs = append(errs, &SettingError{c.Field, strconv.FormatFloat(v, 'g', -1, 64), fmt.Sprintf("a number from %g to %g", c.Low, c.High)})
		}
	}
	for _, glob := range strings.Split(r.Representation.Ignore, ",") {
		if _, err := path.Match(glob, ""); err != nil {
			errs = append(errs, &SettingError{"representation.ignore", strconv.Quote(glob), "globs separated by commas"})
		}
	}
	if strings.Trim(r.Accumulate.Schedule, "01") != "" {
		errs = append(errs, &SettingError{"accumulate.schedule", r.Accumulate.Schedule, "a string of 0 and 1, one a step"})
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, rule := range slices.Concat(rules, tensorRules, hessianRules, tapRules, gramRules) {
		if rule.Breaks(r) {
			errs = append(errs, fmt.Errorf("method %s: %s", r.Name, rule.Reason))
		}
	}
	return errors.Join(errs...)
}
