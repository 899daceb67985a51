package graph

// Asdl is the domain of tag operators and of asdlc's own model-local functions.
const Asdl = "asdl"

// Tag operators of the domain "asdl". Those that take a value return it unchanged; all of them are gone after the
// pass legalize. They carry what one stage tells the next.
//
//	Param(init)                kind="param"|"buffer"     an initializer that training changes; between normalize and
//	                                                     layers also "constant": what a file says is a constant.
//	                           record                    from capture on: index of the method record, if not the default
//	Layer(z, x, W, b?, ...)    name, kind, ...           z is what a layer with parameters W, b computes from x
//	Loss(loss, logits, target) row, ...                  the scalar training loss (a mean or sum, see reduction)
//	Gradient(y..., seed..., x...)  ys=k                  request: the sum of seed-weighted derivatives of the y in each x;
//	                                                     a missing seed is ones. Outputs: one dx per x. Expanded by autodiff.
//	Tangent(y..., t..., x...)  ys=k                      request: the derivative of each y along x' = t (as many t as x).
//	                                                     Outputs: one dy per y. Expanded by autodiff.
//	Sample(logits, target)     row, draw, ...            request: labels drawn from the model's distribution
//	                           record                    of this and the next three: index of the method record, if not the default
//	LossGrad(logits, target)   row, ...                  request: d(sum over rows of the loss)/d logits, not averaged
//	LossRoot(logits, target)   row, column, ...          request: column of S with S S^T = Hessian of a row's loss in its logits
//	LossRows(logits, target)   row, ...                  request: number of rows of the loss that count, a float scalar
//	Grad(dW, W)                of                        the training gradient of parameter of
//	Next(p)                    of                        the parameter's next value; the pass update puts it in this tag's place
//	Capture(v)                 layer|of, what, draw      a quantity of a layer or parameter that a statistic needs
//	Precond(d, W, dg?)         of                        the preconditioned gradient of parameter of; dg, if known, is the
//	                                                     inner product with the gradient, for all parameters of the layer;
//	                                                     those that it is for but that have none are counted=1.
//	                                                     squared=1: the method needs squares of the gradient
//	State()                    name, kind, of, dtype, shape, init...   a state input; its next value is the graph output NAME/next,
//	                                                     held=1: which is the present one where Finite() is false
//	Hyper()                    name, default, dtype      a scalar hyper-parameter
//	Step()                                               the step counter, an int64 scalar
//	Finite()                                             a bool scalar: whether the gradients of this step are finite; the
//	                                                     pass update puts it in this tag's place
//	Every(step)                every, warmup, phase...   a bool scalar: whether the clock ticks at this step
//	Noise(shape)               name, draw, kind, dtype   random numbers of that shape: kind uniform (0,1), normal, rademacher (signs),
//	                                                     or distinct indices below an int64: kind subset, of
const (
	TagParam    = "Param"
	TagLayer    = "Layer"
	TagLoss     = "Loss"
	TagGradient = "Gradient"
	TagTangent  = "Tangent"
	TagSample   = "Sample"
	TagLossGrad = "LossGrad"
	TagLossRoot = "LossRoot"
	TagLossRows = "LossRows"
	TagGrad     = "Grad"
	TagNext     = "Next"
	TagCapture  = "Capture"
	TagPrecond  = "Precond"
	TagState    = "State"
	TagHyper    = "Hyper"
	TagStep     = "Step"
	TagFinite   = "Finite"
	TagEvery    = "Every"
	TagNoise    = "Noise"
)

// What a Capture tag holds, its attribute what.
const (
	CaptureOut     = "g"       // of a layer: the gradient in its output
	CaptureTrain   = "train"   // of a layer: the gradient of the training loss in its output
	CaptureIn      = "a"       // of a layer: its input
	CaptureSlope   = "slope"   // of a layer: the derivative of the next layer's input in its output, element by element; next names that layer
	CaptureProduct = "hv"      // of a parameter: Hv with the Hessian H of the training loss; v is the second input
	CaptureNext    = "next"    // of a parameter: the gradient in it at the next parameters; its next value is the second input
	CaptureAfter   = "after"   // of a block: the gradient in a layer's output at the next parameters; that output is the second input
	CaptureSampled = "sampled" // of a parameter: its gradient of the summed loss under sampled labels
)

// Layer kinds, the attribute kind of a Layer tag, and their further attributes and inputs.
//
//	linear     (z, x, W, b?)            layout="oi"|"io": W is [out,in] or [in,out]; x is [..., in], z is [..., out]
//	conv       (z, x, W, b?)            kernel_shape, strides, pads, dilations, group as in ONNX Conv, all explicit
//	convT      (z, x, W, b?)            as ConvTranspose, all explicit
//	batchnorm  (z, x, W?, b?, mean?, var?)  epsilon; mean and var only in frozen mode (else batch statistics)
//	layernorm  (z, x, W?, b?)           epsilon, axis; normalised over axis..end, W and b have that shape
//	groupnorm  (z, x, W?, b?)           epsilon, num_groups (0: one a channel); W and b have an element a channel, or a group
//	rmsnorm    (z, x, W)                epsilon, axis; as layernorm, without centring
//	embedding  (z, ids, W)              rows of W picked by integer ids
//	scale      (z, x, W)                z = x * W, W broadcast
//	bias       (z, x, W)                z = x + W, W broadcast
const (
	LayerLinear    = "linear"
	LayerConv      = "conv"
	LayerConvT     = "convT"
	LayerBatchNorm = "batchnorm"
	LayerLayerNorm = "layernorm"
	LayerGroupNorm = "groupnorm"
	LayerRMSNorm   = "rmsnorm"
	LayerEmbedding = "embedding"
	LayerScale     = "scale"
	LayerBias      = "bias"
)

// IsTag reports whether n is a tag that returns its first input unchanged.
func (n *Node) IsTag() bool {
	if n.Domain != Asdl {
		return false
	}
	switch n.Op {
	case TagParam, TagLayer, TagLoss, TagGrad, TagNext, TagCapture, TagPrecond:
		return true
	}
	return false
}

// Untagged follows tags upward from v to the value that they pass through.
func Untagged(v *Value) *Value {
	for v != nil && v.def != nil && v.def.IsTag() {
		v = v.def.inputs[0]
	}
	return v
}
