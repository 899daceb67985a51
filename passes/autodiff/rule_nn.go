package autodiff

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// nnRules are the rows of activations, matrix products and dropout.
func nnRules() []Rule {
	return []Rule{
		pointwise("Relu", func(c *Call, g *graph.Value) *graph.Value {
			return c.selectIf(c.Compare("Greater", c.Out(0), c.FloatLike(g, 0)), g)
		}),
		pointwise("Sigmoid", func(c *Call, g *graph.Value) *graph.Value {
			y := c.Out(0)
			return c.Mul(g, c.Mul(y, c.Sub(c.FloatLike(y, 1), y)))
		}),
		pointwise("Tanh", func(c *Call, g *graph.Value) *graph.Value {
			return c.Mul(g, c.Sub(c.FloatLike(g, 1), c.Square(c.Out(0))))
		}),
		pointwise("Softplus", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.Unary("Sigmoid", c.In(0))) }),
		pointwise("Softsign", func(c *Call, g *graph.Value) *graph.Value {
			return c.Div(g, c.Square(c.Add(c.Unary("Abs", c.In(0)), c.FloatLike(g, 1))))
		}),
		pointwise("Elu", func(c *Call, g *graph.Value) *graph.Value { return c.eluSlope(g, c.attr("alpha", 1), 1) }),
		pointwise("Selu", func(c *Call, g *graph.Value) *graph.Value {
			return c.eluSlope(g, c.attr("alpha", 1.67326319217681884765625), c.attr("gamma", 1.05070102214813232421875))
		}),
		pointwise("Celu", func(c *Call, g *graph.Value) *graph.Value {
			x := c.In(0)
			e := c.Unary("Exp", c.Scale(c.Op("Min", []*graph.Value{x, c.FloatLike(x, 0)}), 1/c.attr("alpha", 1)))
			return c.Mul(g, e)
		}),
		pointwise("LeakyRelu", func(c *Call, g *graph.Value) *graph.Value {
			return c.Where(c.positive(), g, c.Scale(g, c.attr("alpha", 0.01)))
		}),
		pointwise("ThresholdedRelu", func(c *Call, g *graph.Value) *graph.Value {
			return c.selectIf(c.Compare("Greater", c.In(0), c.FloatLike(g, c.attr("alpha", 1))), g)
		}),
		pointwise("Shrink", func(c *Call, g *graph.Value) *graph.Value {
			return c.selectIf(c.Compare("Greater", c.Unary("Abs", c.In(0)), c.FloatLike(g, c.attr("lambd", 0.5))), g)
		}),
		pointwise("HardSigmoid", func(c *Call, g *graph.Value) *graph.Value {
			return c.hardSlope(c.Scale(g, c.attr("alpha", 0.2)), c.Out(0))
		}),
		{Op: "HardSwish", Kind: Smooth, Diff: only0, VJP: pullOf(hardSwish), JVP: pushOf(hardSwish)},
		{Op: "Mish", Kind: Smooth, Diff: only0, VJP: pullOf(mish), JVP: pushOf(mish)},
		{Op: "Swish", Kind: Smooth, Diff: only0, VJP: pullOf(swish), JVP: pushOf(swish)},
		{Op: "PRelu", Kind: Smooth, Diff: first2, VJP: pullOf(prelu), JVP: pushOf(prelu)},
		pointwise("Gelu", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.geluSlope()) }),
		{Op: "Softmax", Kind: Smooth, Diff: only0, VJP: vjpSoftmax, JVP: vjpSoftmax},
		{Op: "LogSoftmax", Kind: Smooth, Diff: only0, VJP: vjpLogSoftmax, JVP: jvpLogSoftmax},
		{Op: "Dropout", Kind: Linear, Diff: only0, VJP: dropout, JVP: dropout},
		{Op: "MatMul", Kind: Bilinear, Diff: first2, VJP: vjpMatMul},
		{Op: "Gemm", Kind: Bilinear, Diff: first3, VJP: vjpGemm},
		{Op: "Einsum", Kind: Linear, Diff: all, VJP: vjpEinsum, JVP: jvpEinsum},
		{Op: "Det", Kind: Smooth, Diff: only0, VJP: pullOf(det), JVP: pushOf(det)},
		{Op: "Hardmax", Kind: Zero},
	}
}

func (c *Call) attr(name string, def float64) float64 { return float64(c.N.Float(name, float32(def))) }

// positive is input 0 > 0.
func (c *Call) positive() *graph.Value {
	return c.Compare("Greater", c.In(0), c.FloatLike(c.In(0), 0))
}

// eluSlope is g times gamma for x > 0, and gamma alpha e^x = y + gamma alpha else.
func (c *Call) eluSlope(g *graph.Value, alpha, gamma float64) *graph.Value {
	y := c.Out(0)
	return c.Where(c.positive(), c.Scale(g, gamma), c.Mul(g, c.Add(y, c.FloatLike(y, alpha*gamma))))
}

// hardSlope is g where 0 < y < 1.
func (c *Call) hardSlope(g, y *graph.Value) *graph.Value {
	inside := c.Op("And", []*graph.Value{c.Compare("Greater", y, c.FloatLike(y, 0)), c.Compare("Less", y, c.FloatLike(y, 1))})
	return c.selectIf(inside, g)
}

func hardSwish(c *Call) []*graph.Value {
	x := c.In(0)
	h := c.Op("HardSigmoid", []*graph.Value{x}, graph.F("alpha", 1.0/6), graph.F("beta", 0.5))
	return []*graph.Value{c.Mul(x, h)}
}

func mish(c *Call) []*graph.Value {
	return []*graph.Value{c.Mul(c.In(0), c.Unary("Tanh", c.Unary("Softplus", c.In(0))))}
}

func swish(c *Call) []*graph.Value {
	return []*graph.Value{c.Mul(c.In(0), c.Unary("Sigmoid", c.Scale(c.In(0), c.attr("alpha", 1))))}
}

func prelu(c *Call) []*graph.Value {
	x := c.In(0)
	return []*graph.Value{c.Where(c.positive(), x, c.Mul(x, c.In(1)))}
}

// geluSlope is the derivative of Gelu: Phi(x) + x phi(x), or that of its tanh form (Hendrycks & Gimpel 2016,
// arXiv:1606.08415).
func (c *Call) geluSlope() *graph.Value {
	x := c.In(0)
	one := c.FloatLike(x, 1)
	if c.N.Str("approximate", "none") == "tanh" {
		k, a := math.Sqrt(2/math.Pi), 0.044715
		x2 := c.Square(x)
		t := c.Unary("Tanh", c.Scale(c.Mul(x, c.Add(c.Scale(x2, a), one)), k))
		inner := c.Scale(c.Add(c.Scale(x2, 3*a), one), k)
		slope := c.Mul(c.Mul(x, c.Sub(one, c.Square(t))), inner)
		return c.Scale(c.Add(c.Add(t, one), slope), 0.5)
	}
	cdf := c.Scale(c.Add(c.Unary("Erf", c.Scale(x, math.Sqrt(0.5))), one), 0.5)
	pdf := c.Scale(c.Unary("Exp", c.Scale(c.Square(x), -0.5)), 1/math.Sqrt(2*math.Pi))
	return c.Add(cdf, c.Mul(x, pdf))
}

// vjpSoftmax is y * (g - sum(g*y)); the Jacobian is symmetric.
func vjpSoftmax(c *Call) []*graph.Value {
	y, g := c.Out(0), c.d(0)
	inner := c.SumKeep(c.Mul(g, y), c.N.Int("axis", -1))
	return []*graph.Value{c.Mul(c.Sub(g, inner), y)}
}

func vjpLogSoftmax(c *Call) []*graph.Value {
	g := c.d(0)
	p := c.Unary("Exp", c.Out(0))
	return []*graph.Value{c.Sub(g, c.Mul(p, c.SumKeep(g, c.N.Int("axis", -1))))}
}

func jvpLogSoftmax(c *Call) []*graph.Value {
	t := c.d(0)
	p := c.Unary("Exp", c.Out(0))
	return []*graph.Value{c.Sub(t, c.SumKeep(c.Mul(p, t), c.N.Int("axis", -1)))}
}

// dropout passes the mask of the forward pass: g/(1-ratio) where it is set. Outside training it is the identity.
func dropout(c *Call) []*graph.Value {
	g, training := c.d(0), c.In(2)
	if g == nil {
		return nil
	}
	on, known := constFloat(training)
	if training == nil || (known && on == 0) {
		return []*graph.Value{g}
	}
	scale := c.FloatLike(g, 2)
	if ratio := c.In(1); ratio != nil {
		one := c.FloatLike(g, 1)
		scale = c.Div(one, c.Sub(one, c.Cast(ratio, g.Type.Elem)))
	}
	if !known {
		scale = c.Where(training, scale, c.FloatLike(g, 1))
	}
	mask := c.extraOutput(1, "mask", c.Out(0).Type.WithElem(graph.Bool))
	return []*graph.Value{c.selectIf(mask, c.Mul(g, scale))}
}

// extraOutput is optional output i of the node, which is made to compute it if it does not yet.
func (c *Call) extraOutput(i int, name string, t graph.Type) *graph.Value {
	if o := c.Out(i); o != nil {
		return o
	}
	if len(c.N.Outputs()) > i {
		panic("BUG: " + c.N.String() + " has a gap in its outputs")
	}
	var o *graph.Value
	for len(c.N.Outputs()) <= i {
		o = c.N.AddOutput(c.Out(0).Name + "/" + name)
	}
	o.Type = t
	return o
}
