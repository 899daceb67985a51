// Package method describes gradient preconditioning methods as data: records of a normal form (curvature,
// representation, accumulate, solve, apply, guards, fall-backs), a table of them, and the rules by which a
// combination is legal. It knows nothing of graphs; the stages capture, precondition and update act on a Record.
//
//	direction = Apply(Solve(Accumulate(Statistic(Capture))), input)
package method

import "strings"

// Record is a method in normal form. The zero value of a field means "does not apply".
type Record struct {
	Name           string         `json:"name"`
	Doc            string         `json:"doc,omitempty"`
	Cite           string         `json:"cite,omitempty"`
	Preset         string         `json:"preset"` // "paper", or "asdl" for the conventions of the PyTorch library ASDL
	Curvature      Curvature      `json:"curvature"`
	Representation Representation `json:"representation"`
	Accumulate     Accumulate     `json:"accumulate"`
	Solve          Solve          `json:"solve"`
	Apply          Apply          `json:"apply"`
	Guards         Guards         `json:"guards"`
	Fallback       Fallback       `json:"fallback"`
	Update         Update         `json:"update"`

	// What a method of the table is proven by; not part of the JSON form.
	Equations string `json:"-"` // where the papers state what is computed
	Oracles   string `json:"-"` // the tests that compare it with something independent, separated by spaces
}

// Curvature says which matrix is approximated and from which samples.
type Curvature struct {
	Matrix  string `json:"matrix"`            // F (Fisher), GGN, H (Hessian), absH (its absolute value), bfgs (secant approximation of H), none
	Source  string `json:"source"`            // mc, emp, exact (per-example gradients), recursive (from the layer above), batch (mean gradients), hvp (Hessian-vector products), ggnvp (products of the Gauss-Newton matrix with vectors), secant (a second evaluation at the next parameters), none
	Samples int    `json:"samples,omitempty"` // labels drawn per example, for source mc; probe vectors, for sources hvp and ggnvp
	Sharing string `json:"sharing,omitempty"` // layers used at several positions: expand, reduce, or per_example (gram: exact gradients of examples)
	// DataSize divides the statistics; 0 is the number of loss rows of the batch.
	DataSize int `json:"data_size,omitempty"`
	// Scale multiplies every statistic.
	Scale float64 `json:"scale,omitempty"`
	// Probe is the distribution of the probe vectors v of sources hvp and ggnvp: normal or rademacher (signs).
	Probe string `json:"probe,omitempty"`
	// Estimate says what an element-wise method, or one in an eigenbasis (kfe_dim), makes of a product Hv: diag (v.Hv, whose mean is the diagonal of H),
	// diag_squared ((v.Hv)^2), or row_squared ((Hv)^2, whose mean is the squared norm of H's row).
	Estimate string `json:"estimate,omitempty"`
	// Variance of the Gaussian that labels are drawn from (squared-error losses, source mc).
	Variance float64 `json:"variance,omitempty"`
}

// Representation says what is stored of the matrix.
type Representation struct {
	Granularity string `json:"granularity"`       // layer, unit, element, none
	Format      string `json:"format"`            // kf_io, kfe_io (in the eigenbases of kf_io), one_sided (the input factor of kf_io), rank1, dense, moments (the diagonal of dense), gram (of the gradients of the batch's examples), lowrank (a few rows a unit), kf_dim, kfe_dim (in the eigenbases of kf_dim), matrix (the gradient itself, no statistic), diag, none
	Bias        string `json:"bias,omitempty"`    // kf_io: joint (homogeneous coordinate) or output (output factor alone)
	Sides       string `json:"sides,omitempty"`   // kf_dim, kfe_dim: matrix (first dimension against the rest), modes (one factor a dimension), kernel (one for all positions of a kernel)
	Vectors     string `json:"vectors,omitempty"` // tensors of one dimension: diag, full (a factor) or grad (kf_dim), element (kfe_dim: the same rule without a basis)
	// Fit of the factors of a tensor's sides: empty, second moments of the gradient; kl, of the gradient whitened on the other
	// sides, so that their Kronecker product is the covariance.
	Fit      string `json:"fit,omitempty"`
	MaxSide  int    `json:"max_side,omitempty"`  // largest side of a factor, 0: any; a kf_io layer beyond it gets the fall-back
	OnExceed string `json:"on_exceed,omitempty"` // sides above max_side: split (into blocks), identity (no factor) or diagonal (a vector)
	// Spatial averages an element-wise estimate over the kernel positions of convolutions: mean, or mean_abs (of absolute values).
	Spatial string `json:"spatial,omitempty"`
	// Block is the number of neighbours in a matrix, in row-major order, over which spatial averages too; 0 and 1 are none.
	Block int `json:"block,omitempty"`
	// Moments of kfe_io: example (of each example's gradient, summed over positions before it is squared) or mean (of the mean
	// gradient, times the data size).
	Moments string `json:"moments,omitempty"`
	// MaxBytes bounds the memory of dense blocks and their inverses together; a layer beyond it gets the fall-back. 0: any.
	MaxBytes int `json:"max_bytes,omitempty"`
	Sketch   int `json:"sketch,omitempty"` // gram: columns of a layer's inputs, and of its outputs, that the Gram matrix is estimated from; 0 is all
	Rank     int `json:"rank,omitempty"`   // lowrank: rows kept of the past; gram: singular values kept of each example's output gradients over positions, 0 is all; kf_io under solve.kind inverse, residuals of the newest gradients; under bfgs (K-BFGS(L)) and lbfgs, the newest secant pairs
	// Ignore lists layers and parameters that get the fall-back: globs of their names, separated by commas.
	Ignore string `json:"ignore,omitempty"`
}

// Ignores reports whether the record leaves a layer or parameter of that name to the fall-back.
func (r Record) Ignores(name string) bool {
	for _, glob := range strings.Split(r.Representation.Ignore, ",") {
		if matches(glob, name) {
			return true
		}
	}
	return false
}

// Accumulate says how statistics of several steps become one.
type Accumulate struct {
	Kind string  `json:"kind"`           // none (the newest), ema, sum, discount (the old value times beta, plus the new), window (the newest rows)
	Size int     `json:"size,omitempty"` // window: rows kept, of examples (of positions where these are rows)
	Beta float64 `json:"beta,omitempty"` // ema, discount: weight of the old value
	// MomentBeta is the weight of the old second moments of kfe_io.
	MomentBeta float64 `json:"moment_beta,omitempty"`
	Debias     bool    `json:"debias,omitempty"` // divide by the sum of the weights: of an ema, or (sum) the number of statistics
	Init       float64 `json:"init,omitempty"`   // initial value: this times the identity (sum, ema); 0 under fit kl: the size of the first gradient
	Every      int     `json:"every,omitempty"`  // steps between statistics
	Warmup     int     `json:"warmup,omitempty"` // leading steps that all update
	// Schedule, if given, lists step by step whether statistics (and solves) are due; it overrides the intervals.
	Schedule string `json:"schedule,omitempty"`
}

// Solve says how the statistic becomes a preconditioner.
type Solve struct {
	Kind       string  `json:"kind"`                 // inverse, gram (inverse through products of samples or rows), root, divide, sign, polar (U V^T of a matrix; one_sided: of G A^-1/2, times A^-1/2), lie_sgd (learned by steps on a Lie group), bfgs, lbfgs (by secant pairs from the inverses of Kronecker factors), none
	Power      float64 `json:"power,omitempty"`      // of the whole matrix: -1, -0.5
	Kernel     string  `json:"kernel,omitempty"`     // auto, cholesky, newton (coupled Newton root), eigen; polar: keller, polar_express, cubic, exact; lie_sgd: triangular, inverse_free
	Iterations int     `json:"iterations,omitempty"` // bound of an iterative kernel
	Tolerance  float64 `json:"tolerance,omitempty"`
	Rate       float64 `json:"rate,omitempty"` // lie_sgd: size of a step, default of the input precond_lr
	Every      int     `json:"every,omitempty"`
	Warmup     int     `json:"warmup,omitempty"`
	// Probability makes solves happen at random (lie_sgd), with a probability that falls from 1.
	Probability Probability `json:"probability,omitzero"`
	// Stagger spreads the solves of the blocks over the interval, balanced by their work, so that no step pays for all. The
	// first solve, and those of warm-up, are on the same step for all blocks.
	Stagger bool `json:"stagger,omitempty"`
	// Delay is the number of steps after which solutions are used, 0 with the step itself. Meanwhile the host computes them
	// beside its steps, by a graph of their own, and the ones before stay in use. Those up to warm-up are at once.
	Delay   int     `json:"delay,omitempty"`
	Damping Damping `json:"damping"`
	// Balance is the number of steps after which fitted factors are given equal size again; 0 is never.
	Balance int `json:"balance,omitempty"`
	// Lag makes a direction use the basis of the step before, which excludes the present gradient. The first step then makes
	// no change; solve.kind sign takes the identity for its basis.
	Lag bool `json:"lag,omitempty"`
	// Warm makes a refresh of kfe_io keep the second moments, but for the first; else they start anew from the products of the
	// factors' eigenvalues.
	Warm bool `json:"warm,omitempty"`
}

// Probability is that of a solve on step k: max(floor, exp(-decay max(0, k - flat))). Floor 0 is none: solves at intervals.
type Probability struct {
	Floor float64 `json:"floor,omitempty"`
	Decay float64 `json:"decay,omitempty"`
	Flat  int     `json:"flat,omitempty"` // steps that all solve
}

// Damping says what is added before the solve. Its value is the input "damping" of the step graph.
type Damping struct {
	Kind  string  `json:"kind"`            // factor_pi, rel (times the largest eigenvalue), iso, eig (in the eigenbasis), eps (after the root), clip (entries of the direction to 1), noise (random, on what lie_sgd fits), lm (Levenberg-Marquardt, of secant pairs), trace (on factors of equal mean eigenvalue), none
	Value float64 `json:"value"`           // default of the input
	Floor float64 `json:"floor,omitempty"` // least damping of a factor (factor_pi), least eigenvalue over their mean (kfe_dim)
	// Keep writes the damped matrix back into the statistic (rel).
	Keep bool `json:"keep,omitempty"`
}

// Apply says what is preconditioned and what happens to the result.
type Apply struct {
	Beta     float64 `json:"beta,omitempty"`     // first-moment EMA of the gradient before preconditioning: debiased (diag, one_sided), as it is (matrix)
	Nesterov bool    `json:"nesterov,omitempty"` // precondition (1-beta) gradient + beta EMA instead of the EMA
	Graft    string  `json:"graft,omitempty"`    // none, sgd, adam: take the norm of that method's direction
	ClipRMS  float64 `json:"clip_rms,omitempty"` // bound on the root-mean-square entry of a direction (lie_sgd); 0 is off
	KLClip   float64 `json:"kl_clip,omitempty"`  // bound on lr^2 * sum(direction . gradient); 0 is off
	Scale    float64 `json:"scale,omitempty"`    // factor on the gradient of preconditioned layers
	Product  string  `json:"product,omitempty"`  // gram: how coefficients of examples become a matrix: exact (the weighted sum of their gradients) or implicit (an estimate of rank one)
	// LRScale is a factor on the direction of a matrix of o outputs and i inputs: keller sqrt(max(1, o/i)), moonlight
	// 0.2 sqrt(max(o, i)), sides 2/(o+i) (and 1e-3 on vectors), or none.
	LRScale string `json:"lr_scale,omitempty"`
}

// Guards say what happens to numerical failures. If one record of a step has them, a step whose gradients are not finite changes
// nothing.
type Guards struct {
	Finite bool `json:"finite"` // keep the last good inverse where a solve gives a non-finite one, and count
}

// Fallback says what parameters get that the representation does not cover: grad (the plain gradient) or adam.
type Fallback struct {
	Norm      string `json:"norm,omitempty"`      // unit, gram (as other layers), grad, adam: scale and shift of normalisation layers
	Embedding string `json:"embedding,omitempty"` // kron (diagonal x dense), grad, adam, sign (of the momentum, times 1e-3); empty: as other layers
	Head      string `json:"head,omitempty"`      // grad, adam: the layers that make the logits; empty: as other layers
	Other     string `json:"other"`               // grad, adam: everything else
}

// Update is the rule by which the direction changes the parameters. The numbers are defaults of step-graph inputs.
type Update struct {
	LR          float64 `json:"lr"`
	Momentum    float64 `json:"momentum,omitempty"`
	Nesterov    bool    `json:"nesterov,omitempty"`
	WeightDecay float64 `json:"weight_decay,omitempty"`
	Decay       string  `json:"decay,omitempty"` // coupled (added to the gradient) or decoupled (of the parameter)
	ClipNorm    float64 `json:"clip_norm,omitempty"`
	// Average is the decay of a debiased moving average of the parameters, which evaluation and export use; 0 keeps none.
	Average float64 `json:"average,omitempty"`
}
