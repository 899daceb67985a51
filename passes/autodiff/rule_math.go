package autodiff

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// mathRules are the rows of element-wise arithmetic.
func mathRules() []Rule {
	rows := []Rule{
		{Op: "Add", Kind: Linear, Diff: first2, VJP: vjpAdd, JVP: jvpAdd},
		{Op: "Sub", Kind: Linear, Diff: first2, VJP: vjpSub, JVP: jvpSub},
		{Op: "Mul", Kind: Bilinear, Diff: first2, VJP: vjpMul, JVP: jvpMul},
		{Op: "Div", Kind: Smooth, Diff: first2, VJP: vjpDiv, JVP: jvpDiv},
		{Op: "Pow", Kind: Smooth, Diff: first2, VJP: vjpPow, JVP: jvpPow},
		{Op: "Mod", Kind: Smooth, Diff: first2, VJP: vjpMod, JVP: jvpMod},
		{Op: "Sum", Kind: Linear, Diff: all, VJP: vjpSum, JVP: jvpSum},
		{Op: "Mean", Kind: Linear, Diff: all, VJP: vjpMean, JVP: jvpMean},
		{Op: "Max", Kind: Smooth, Diff: all, VJP: vjpExtremum, JVP: jvpExtremum},
		{Op: "Min", Kind: Smooth, Diff: all, VJP: vjpExtremum, JVP: jvpExtremum},
		{Op: "Where", Kind: Linear, Diff: 1<<1 | 1<<2, VJP: vjpWhere, JVP: jvpWhere},
		{Op: "Clip", Kind: Smooth, Diff: first3, VJP: vjpClip, JVP: jvpClip},
		{Op: "Neg", Kind: Linear, Diff: only0, VJP: vjpNeg},
		{Op: "Cast", Kind: Linear, Diff: only0, VJP: vjpCast},
		{Op: "CastLike", Kind: Linear, Diff: only0, VJP: vjpCast},
		pointwise("Abs", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.Unary("Sign", c.In(0))) }),
		pointwise("Sqrt", func(c *Call, g *graph.Value) *graph.Value { return c.Div(c.Scale(g, 0.5), c.Out(0)) }),
		pointwise("Exp", func(c *Call, g *graph.Value) *graph.Value { return c.Mul(g, c.Out(0)) }),
		pointwise("Log", func(c *Call, g *graph.Value) *graph.Value { return c.Div(g, c.In(0)) }),
		pointwise("Reciprocal", func(c *Call, g *graph.Value) *graph.Value { return c.Neg(c.Mul(g, c.Square(c.Out(0)))) }),
		pointwise("Erf", func(c *Call, g *graph.Value) *graph.Value {
			e := c.Unary("Exp", c.Neg(c.Square(c.In(0))))
			return c.Mul(g, c.Scale(e, 2/math.Sqrt(math.Pi)))
		}),
	}
	return append(rows, zeroRows("",
		"Sign", "Floor", "Ceil", "Round", "Not", "And", "Or", "Xor", "Equal", "Less", "LessOrEqual", "Greater",
		"GreaterOrEqual", "IsNaN", "IsInf", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot",
	)...)
}

// diagonal multiplies a cotangent or tangent by the derivative of an element-wise function of input 0: a diagonal
// Jacobian, equal to its transpose.
type diagonal func(c *Call, g *graph.Value) *graph.Value

func pointwise(name string, d diagonal) Rule {
	f := func(c *Call) []*graph.Value { return []*graph.Value{d(c, c.d(0))} }
	return Rule{Op: name, Kind: Smooth, Diff: only0, VJP: f, JVP: f}
}

// selectIf is g where the condition holds, else 0.
func (c *Call) selectIf(cond, g *graph.Value) *graph.Value {
	return c.Where(cond, g, c.FloatLike(g, 0))
}

// selectUnless is 0 where the condition holds, else g.
func (c *Call) selectUnless(cond, g *graph.Value) *graph.Value {
	return c.Where(cond, c.FloatLike(g, 0), g)
}

// likeOut broadcasts tangent t of an input to the shape of output 0.
func (c *Call) likeOut(t *graph.Value) *graph.Value { return c.ExpandLike(t, c.Out(0)) }

// addLike is the sum x+y with output 0's shape; nil terms are zero.
func (c *Call) addLike(x, y *graph.Value) *graph.Value {
	switch {
	case x == nil && y == nil:
		return nil
	case x == nil:
		return c.likeOut(y)
	case y == nil:
		return c.likeOut(x)
	}
	return c.Add(x, y)
}

func vjpAdd(c *Call) []*graph.Value {
	return c.both(func(i int) *graph.Value { return c.d(0) })
}

// both gives, for inputs 0 and 1 where wanted, the cotangent with broadcasting undone.
func (c *Call) both(cotangent func(i int) *graph.Value) []*graph.Value {
	ct := make([]*graph.Value, 2)
	for i := range ct {
		if c.wants(i) {
			ct[i] = c.unbroadcast(cotangent(i), c.In(i))
		}
	}
	return ct
}

func jvpAdd(c *Call) []*graph.Value { return []*graph.Value{c.addLike(c.d(0), c.d(1))} }

func vjpSub(c *Call) []*graph.Value {
	ct := make([]*graph.Value, 2)
	if c.wants(0) {
		ct[0] = c.unbroadcast(c.d(0), c.In(0))
	}
	if c.wants(1) {
		ct[1] = c.Neg(c.unbroadcast(c.d(0), c.In(1)))
	}
	return ct
}

func jvpSub(c *Call) []*graph.Value {
	x, y := c.d(0), c.d(1)
	switch {
	case y == nil:
		return []*graph.Value{c.likeOut(x)}
	case x == nil:
		return []*graph.Value{c.likeOut(c.Neg(y))}
	}
	return []*graph.Value{c.Sub(x, y)}
}

func vjpNeg(c *Call) []*graph.Value { return []*graph.Value{c.Neg(c.d(0))} }

func vjpMul(c *Call) []*graph.Value {
	if c.In(0) == c.In(1) { // a square
		return []*graph.Value{c.Mul(c.d(0), c.Scale(c.In(0), 2))}
	}
	return c.both(func(i int) *graph.Value { return c.Mul(c.d(0), c.In(1-i)) })
}

func jvpMul(c *Call) []*graph.Value {
	var terms [2]*graph.Value
	for i := range terms {
		if t := c.d(i); t != nil {
			terms[i] = c.Mul(t, c.In(1-i))
		}
	}
	return []*graph.Value{addAll(c.Builder, terms[:])}
}

func vjpDiv(c *Call) []*graph.Value {
	g := c.Div(c.d(0), c.In(1))
	return c.both(func(i int) *graph.Value {
		if i == 0 {
			return g
		}
		return c.Neg(c.Mul(g, c.Out(0)))
	})
}

func jvpDiv(c *Call) []*graph.Value {
	x, y := c.d(0), c.d(1)
	if y == nil {
		return []*graph.Value{c.Div(x, c.In(1))}
	}
	down := c.Mul(c.Out(0), y)
	if x == nil {
		return []*graph.Value{c.Neg(c.Div(down, c.In(1)))}
	}
	return []*graph.Value{c.Div(c.Sub(x, down), c.In(1))}
}

// powSlope is d(x^y)/dx = y x^(y-1), and 0 where y is 0; nil for a constant exponent 0.
func (c *Call) powSlope() *graph.Value {
	x, y := c.In(0), c.In(1)
	if p, ok := constFloat(y); ok {
		switch p {
		case 0:
			return nil
		case 1:
			return c.OnesLike(x)
		case 2:
			return c.Scale(x, 2)
		case 3:
			return c.Scale(c.Square(x), 3)
		}
		return c.Scale(c.Op("Pow", []*graph.Value{x, c.FloatLike(x, p-1)}), p)
	}
	y = c.Cast(y, x.Type.Elem)
	zero := c.Compare("Equal", y, c.FloatLike(y, 0))
	lower := c.Sub(c.Where(zero, c.FloatLike(y, 1), y), c.FloatLike(y, 1))
	return c.Mul(y, c.Op("Pow", []*graph.Value{x, lower}))
}

// powLog is d(x^y)/dy = x^y log x, and 0 where x <= 0.
func (c *Call) powLog() *graph.Value {
	x := c.In(0)
	positive := c.Compare("Greater", x, c.FloatLike(x, 0))
	log := c.Unary("Log", c.Where(positive, x, c.FloatLike(x, 1)))
	return c.Mul(c.Out(0), log)
}

func vjpPow(c *Call) []*graph.Value {
	ct := make([]*graph.Value, 2)
	if c.wants(0) {
		if s := c.powSlope(); s != nil {
			ct[0] = c.unbroadcast(c.Mul(c.d(0), s), c.In(0))
		}
	}
	if c.wants(1) {
		ct[1] = c.unbroadcast(c.Cast(c.Mul(c.d(0), c.powLog()), c.In(1).Type.Elem), c.In(1))
	}
	return ct
}

func jvpPow(c *Call) []*graph.Value {
	var terms [2]*graph.Value
	if t := c.d(0); t != nil {
		if s := c.powSlope(); s != nil {
			terms[0] = c.likeOut(c.Mul(t, s))
		}
	}
	if t := c.d(1); t != nil {
		terms[1] = c.Mul(c.Cast(t, c.In(0).Type.Elem), c.powLog())
	}
	return []*graph.Value{addAll(c.Builder, terms[:])}
}

// modFactor is d mod(x,y)/dy = -q for the integer q with mod(x,y) = x - q*y.
func (c *Call) modFactor() *graph.Value {
	x, y := c.In(0), c.In(1)
	return c.Unary("Round", c.Div(c.Sub(c.Out(0), x), y))
}

func vjpMod(c *Call) []*graph.Value {
	return c.both(func(i int) *graph.Value {
		if i == 0 {
			return c.d(0)
		}
		return c.Mul(c.d(0), c.modFactor())
	})
}

func jvpMod(c *Call) []*graph.Value {
	t := c.d(1)
	if t != nil {
		t = c.Mul(t, c.modFactor())
	}
	return []*graph.Value{c.addLike(c.d(0), t)}
}

func vjpSum(c *Call) []*graph.Value {
	ct := make([]*graph.Value, len(c.N.Inputs()))
	for i := range ct {
		if c.wants(i) {
			ct[i] = c.unbroadcast(c.d(0), c.In(i))
		}
	}
	return ct
}

func jvpSum(c *Call) []*graph.Value {
	var sum *graph.Value
	for _, t := range c.D {
		switch {
		case t == nil:
		case sum == nil:
			sum = t
		default:
			sum = c.Add(sum, t)
		}
	}
	return []*graph.Value{c.likeOut(sum)}
}

func vjpMean(c *Call) []*graph.Value {
	c.D = []*graph.Value{c.Scale(c.d(0), 1/float64(len(c.N.Inputs())))}
	return vjpSum(c)
}

func jvpMean(c *Call) []*graph.Value {
	return []*graph.Value{c.Scale(jvpSum(c)[0], 1/float64(len(c.N.Inputs())))}
}

// winners is, for each input of Max or Min, which elements equal the output, as 0 or 1, and how many inputs do.
func (c *Call) winners() (hits []*graph.Value, count *graph.Value) {
	for _, x := range c.N.Inputs() {
		hits = append(hits, c.Cast(c.Compare("Equal", x, c.Out(0)), x.Type.Elem))
	}
	return hits, addAll(c.Builder, hits)
}

// vjpExtremum gives equal shares to inputs that tie.
func vjpExtremum(c *Call) []*graph.Value {
	if len(c.N.Inputs()) == 1 {
		return c.D[:1]
	}
	hits, count := c.winners()
	share := c.Div(c.d(0), count)
	ct := make([]*graph.Value, len(hits))
	for i := range ct {
		if c.wants(i) {
			ct[i] = c.unbroadcast(c.Mul(hits[i], share), c.In(i))
		}
	}
	return ct
}

func jvpExtremum(c *Call) []*graph.Value {
	if len(c.N.Inputs()) == 1 {
		return c.D[:1]
	}
	hits, count := c.winners()
	terms := make([]*graph.Value, len(hits))
	for i, t := range c.D {
		if t != nil {
			terms[i] = c.Mul(hits[i], t)
		}
	}
	return []*graph.Value{c.Div(addAll(c.Builder, terms), count)}
}

func vjpWhere(c *Call) []*graph.Value {
	ct := make([]*graph.Value, 3)
	if c.wants(1) {
		ct[1] = c.unbroadcast(c.selectIf(c.In(0), c.d(0)), c.In(1))
	}
	if c.wants(2) {
		ct[2] = c.unbroadcast(c.selectUnless(c.In(0), c.d(0)), c.In(2))
	}
	return ct
}

func jvpWhere(c *Call) []*graph.Value {
	x, y := c.d(1), c.d(2)
	switch {
	case y == nil:
		return []*graph.Value{c.likeOut(c.selectIf(c.In(0), x))}
	case x == nil:
		return []*graph.Value{c.likeOut(c.selectUnless(c.In(0), y))}
	}
	return []*graph.Value{c.Where(c.In(0), x, y)}
}

// clipPart selects g where Clip passes input 0, the lower bound (1) or the upper bound (2) on.
func (c *Call) clipPart(i int, g *graph.Value) *graph.Value {
	x, y := c.In(0), c.Out(0)
	switch i {
	case 1:
		return c.selectIf(c.Compare("Less", x, y), g)
	case 2:
		return c.selectIf(c.Compare("Greater", x, y), g)
	}
	return c.selectIf(c.Compare("Equal", x, y), g)
}

func vjpClip(c *Call) []*graph.Value {
	ct := make([]*graph.Value, 3)
	for i := range ct {
		if c.wants(i) {
			ct[i] = c.unbroadcast(c.clipPart(i, c.d(0)), c.In(i))
		}
	}
	return ct
}

func jvpClip(c *Call) []*graph.Value {
	var terms [3]*graph.Value
	for i := range terms {
		if t := c.d(i); t != nil {
			terms[i] = c.clipPart(i, t)
		}
	}
	return []*graph.Value{addAll(c.Builder, terms[:])}
}

func vjpCast(c *Call) []*graph.Value {
	return []*graph.Value{c.Cast(c.d(0), c.In(0).Type.Elem)}
}
