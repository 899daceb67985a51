package op

import "github.com/asdlc/asdlc/graph"

// tables are all rows, by family.
var tables = [...][]Schema{
	mathTable, bitTable, nnTable, normTable, lossTable, tensorTable, shapeTable, indexTable, reduceTable, controlTable, rngTable, fusedTable, asdlTable, runtimeTable,
}

// unaryIn and unaryOut are the parameters of operators that keep the type of their only input.
func unaryIn(types Elems) []Param { return []Param{one("X", "T", types)} }

func unaryOut(types Elems) []Param {
	return []Param{one("Y", "T", types)}
}

func binaryIn(types Elems) []Param { return []Param{one("A", "T", types), one("B", "T", types)} }
func boolOut() []Param             { return []Param{one("C", "", boolElem)} }

// mathTable has the elementwise operators.
var mathTable = []Schema{
	{Name: "Add", Since: 7, Inputs: binaryIn(numElem), Outputs: unaryOut(numElem), Infer: binary(addContent), Doc: "A + B"},
	{Name: "Sub", Since: 7, Inputs: binaryIn(numElem), Outputs: unaryOut(numElem), Infer: binary(subContent), Doc: "A - B"},
	{Name: "Mul", Since: 7, Inputs: binaryIn(numElem), Outputs: unaryOut(numElem), Infer: binary(mulContent), Doc: "A * B"},
	{Name: "Div", Since: 7, Inputs: binaryIn(numElem), Outputs: unaryOut(numElem), Infer: inferDiv, Doc: "A / B, truncated for integers"},
	{
		Name: "Mod", Since: 10, Inputs: binaryIn(numElem), Outputs: unaryOut(numElem), Attrs: []AttrSpec{attrInt("fmod", 0)},
		Infer: inferMod, Doc: "remainder, with the sign of B, or with fmod of A",
	},
	{Name: "Pow", Since: 7, Inputs: binaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: binary(nil), Doc: "A to the power B"},
	{
		Name: "Pow", Since: 12, Inputs: []Param{one("X", "T", floatElem|indexElem), one("Y", "", numElem)}, Outputs: unaryOut(floatElem | indexElem),
		Infer: binary(nil), Doc: "X to the power Y, of X's type",
	},
	{Name: "PRelu", Since: 7, Inputs: []Param{one("X", "T", wideElem), one("slope", "T", wideElem)}, Outputs: unaryOut(wideElem), Infer: inferPRelu, Doc: "X, times slope where negative"},

	{Name: "Equal", Since: 7, Inputs: binaryIn(anyElem), Outputs: boolOut(), Infer: binary(equalContent), Doc: "A == B"},
	{Name: "Greater", Since: 7, Inputs: binaryIn(numElem), Outputs: boolOut(), Infer: binary(greaterContent), Doc: "A > B"},
	{Name: "GreaterOrEqual", Since: 12, Inputs: binaryIn(numElem), Outputs: boolOut(), Infer: binary(greaterOrEqualContent), Doc: "A >= B"},
	{Name: "Less", Since: 7, Inputs: binaryIn(numElem), Outputs: boolOut(), Infer: binary(lessContent), Doc: "A < B"},
	{Name: "LessOrEqual", Since: 12, Inputs: binaryIn(numElem), Outputs: boolOut(), Infer: binary(lessOrEqualContent), Doc: "A <= B"},
	{Name: "And", Since: 7, Inputs: binaryIn(boolElem), Outputs: boolOut(), Infer: binary(andContent), Doc: "A and B"},
	{Name: "Or", Since: 7, Inputs: binaryIn(boolElem), Outputs: boolOut(), Infer: binary(orContent), Doc: "A or B"},
	{Name: "Xor", Since: 7, Inputs: binaryIn(boolElem), Outputs: boolOut(), Infer: binary(xorContent), Doc: "A or B but not both"},
	{Name: "Not", Since: 1, Inputs: unaryIn(boolElem), Outputs: unaryOut(boolElem), Infer: unaryContent(notContent), Doc: "not X"},
	{
		Name: "Where", Since: 9, Inputs: []Param{one("condition", "", boolElem), one("X", "T", anyElem), one("Y", "T", anyElem)},
		Outputs: unaryOut(anyElem), Infer: inferWhere, Doc: "X where the condition holds, else Y",
	},

	{Name: "Max", Since: 6, Inputs: []Param{many("data", "T", numElem)}, Outputs: unaryOut(numElem), Infer: inferVariadic(maxContentOf), Doc: "elementwise maximum"},
	{Name: "Min", Since: 6, Inputs: []Param{many("data", "T", numElem)}, Outputs: unaryOut(numElem), Infer: inferVariadic(minContent), Doc: "elementwise minimum"},
	{Name: "Sum", Since: 6, Inputs: []Param{many("data", "T", floatElem)}, Outputs: unaryOut(floatElem), Infer: inferVariadic(addContent), Doc: "sum of the inputs"},
	{Name: "Mean", Since: 6, Inputs: []Param{many("data", "T", floatElem)}, Outputs: unaryOut(floatElem), Infer: inferVariadic(nil), Doc: "mean of the inputs"},

	{Name: "Neg", Since: 6, Inputs: unaryIn(signed | floatElem), Outputs: unaryOut(signed | floatElem), Infer: unaryContent(negContent), Doc: "-X"},
	{Name: "Abs", Since: 6, Inputs: unaryIn(numElem), Outputs: unaryOut(numElem), Infer: unaryContent(absContent), Doc: "absolute value"},
	{Name: "Sign", Since: 9, Inputs: unaryIn(numElem), Outputs: unaryOut(numElem), Infer: sameShape, Doc: "-1, 0 or 1"},
	{Name: "Floor", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: inferRounding, Doc: "largest integer not above X"},
	{Name: "Ceil", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: inferRounding, Doc: "smallest integer not below X"},
	{Name: "Round", Since: 11, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: inferRounding, Doc: "nearest integer, halves to even"},
	{Name: "Sqrt", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "square root"},
	{Name: "Exp", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "exponential"},
	{Name: "Log", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "natural logarithm"},
	{Name: "Reciprocal", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "1 / X"},
	{Name: "Erf", Since: 9, Inputs: unaryIn(numElem), Outputs: unaryOut(numElem), Infer: sameShape, Doc: "error function"},
	{Name: "Erf", Since: 13, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "error function"},
	{Name: "Sin", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "sine"},
	{Name: "Cos", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "cosine"},
	{Name: "Tan", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "tangent"},
	{Name: "Asin", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "arc sine"},
	{Name: "Acos", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "arc cosine"},
	{Name: "Atan", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "arc tangent"},
	{Name: "Sinh", Since: 9, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "hyperbolic sine"},
	{Name: "Cosh", Since: 9, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "hyperbolic cosine"},
	{Name: "Asinh", Since: 9, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "inverse hyperbolic sine"},
	{Name: "Acosh", Since: 9, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "inverse hyperbolic cosine"},
	{Name: "Atanh", Since: 9, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "inverse hyperbolic tangent"},
	{Name: "IsNaN", Since: 9, Inputs: unaryIn(floatElem), Outputs: boolOut(), Infer: sameShape, Doc: "whether X is not a number"},
	{
		Name: "IsInf", Since: 10, Inputs: unaryIn(floatElem), Outputs: boolOut(), Infer: sameShape, Doc: "whether X is infinite",
		Attrs: []AttrSpec{attrInt("detect_negative", 1), attrInt("detect_positive", 1)},
	},
	{
		Name: "Clip", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "X limited to [min, max]",
		Attrs: []AttrSpec{attrFloat("min", -3.4028234663852886e38), attrFloat("max", 3.4028234663852886e38)},
	},
	{
		Name: "Clip", Since: 11, Inputs: []Param{one("input", "T", numElem), opt("min", "T", numElem), opt("max", "T", numElem)},
		Outputs: unaryOut(numElem), Infer: inferClip, Doc: "X limited to [min, max]",
	},

	{Name: "Tanh", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "hyperbolic tangent"},
	{Name: "Sigmoid", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "1 / (1 + exp(-X))"},
	{Name: "Relu", Since: 6, Inputs: unaryIn(signed | floatElem), Outputs: unaryOut(signed | floatElem), Infer: unaryContent(reluContent), Doc: "max(X, 0)"},
	{Name: "Softplus", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "log(1 + exp(X))"},
	{Name: "Softsign", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "X / (1 + |X|)"},
	{Name: "HardSwish", Since: 14, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "X max(0, min(1, X/6 + 1/2))"},
	{Name: "Mish", Since: 18, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "X tanh(softplus(X))"},
	{Name: "Elu", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrFloat("alpha", 1)}, Infer: sameShape, Doc: "X, or alpha (exp(X) - 1) where negative"},
	{Name: "Celu", Since: 12, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrFloat("alpha", 1)}, Infer: sameShape, Doc: "max(0, X) + min(0, alpha (exp(X/alpha) - 1))"},
	{Name: "Swish", Since: 24, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrFloat("alpha", 1)}, Infer: sameShape, Doc: "X sigmoid(alpha X)"},
	{Name: "LeakyRelu", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrFloat("alpha", 0.01)}, Infer: sameShape, Doc: "X, times alpha where negative"},
	{Name: "ThresholdedRelu", Since: 10, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrFloat("alpha", 1)}, Infer: sameShape, Doc: "X where above alpha, else 0"},
	{Name: "Gelu", Since: 20, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrStr("approximate", "none")}, Infer: sameShape, Doc: "X times the normal distribution function of X"},
	{
		Name: "HardSigmoid", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "max(0, min(1, alpha X + beta))",
		Attrs: []AttrSpec{attrFloat("alpha", 0.2), attrFloat("beta", 0.5)},
	},
	{
		Name: "Selu", Since: 6, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: sameShape, Doc: "gamma X, or gamma alpha (exp(X) - 1) where negative",
		Attrs: []AttrSpec{attrFloat("alpha", 1.67326319217681884765625), attrFloat("gamma", 1.05070102214813232421875)},
	},
	{
		Name: "Shrink", Since: 9, Inputs: unaryIn(numElem), Outputs: unaryOut(numElem), Infer: sameShape, Doc: "soft thresholding",
		Attrs: []AttrSpec{attrFloat("bias", 0), attrFloat("lambd", 0.5)},
	},
}

// sameShape gives output 0 the shape of input 0.
func sameShape(c *Context) error {
	c.like(0, 0)
	return nil
}

// unaryContent is sameShape with content.
func unaryContent(f func(graph.Dim) graph.Dim) func(*Context) error {
	return func(c *Context) error {
		c.like(0, 0)
		c.setContent(0, mapContent(c.Content(0), f))
		return nil
	}
}

// binary broadcasts two inputs; f, if not nil, gives the content.
func binary(f func(a, b graph.Dim) graph.Dim) func(*Context) error {
	return func(c *Context) error {
		dims, ok, err := c.broadcastInputs()
		if err != nil || !ok {
			return err
		}
		c.Set(0, dims...)
		if f != nil {
			c.setContent(0, zip(c.Content(0), c.Content(1), f))
		}
		return nil
	}
}

func inferDiv(c *Context) error {
	if c.Type(0).Elem.IsFloat() {
		return binary(exactDiv)(c)
	}
	return binary(divContent)(c)
}

func inferMod(c *Context) error {
	if c.Int("fmod") != 0 {
		return binary(fmodContent)(c)
	}
	if c.Type(0).Elem.IsFloat() {
		return c.fail("floating-point inputs need the attribute fmod=1")
	}
	return binary(modContent)(c)
}

// inferPRelu: slope broadcasts to X, in one direction.
func inferPRelu(c *Context) error {
	x, ok := c.Dims(0)
	if !ok {
		return nil
	}
	if s, ok := c.Dims(1); ok {
		r, err := broadcastDims(x, s)
		if err != nil || len(r) != len(x) {
			return c.fail("slope of type %s does not broadcast to X of type %s", c.Type(1), c.Type(0))
		}
		for i := range r {
			if a, b := r[i], x[i]; b == graph.Known(1) && a != b && !a.IsUnknown() {
				return c.fail("slope of type %s does not broadcast to X of type %s", c.Type(1), c.Type(0))
			}
		}
	}
	c.Set(0, x...)
	return nil
}

func inferWhere(c *Context) error {
	dims, ok, err := c.broadcastInputs()
	if err != nil || !ok {
		return err
	}
	c.Set(0, dims...)
	cond, x, y := c.Content(0), c.Content(1), c.Content(2)
	if len(dims) > 1 {
		return nil
	}
	n := 1
	if len(dims) == 1 {
		k, ok := dims[0].Size()
		if !ok || k > maxContent {
			return nil
		}
		n = int(k)
	}
	pick := func(v []graph.Dim, i int) graph.Dim {
		switch {
		case len(v) == n:
			return v[i]
		case len(v) == 1:
			return v[0]
		}
		return graph.UnknownDim
	}
	out := make([]graph.Dim, n)
	for i := range out {
		a, b := pick(x, i), pick(y, i)
		switch t, known := pick(cond, i).Int(); {
		case known && t != 0, !known && a == b:
			out[i] = a
		case known:
			out[i] = b
		default:
			out[i] = graph.UnknownDim
		}
	}
	c.setContent(0, out)
	return nil
}

// inferVariadic broadcasts any number of inputs; f folds their contents.
func inferVariadic(f func(a, b graph.Dim) graph.Dim) func(*Context) error {
	return func(c *Context) error {
		if c.Opset < 8 {
			for i := range c.In {
				if a, b := c.Type(0), c.Type(i); a.Ranked && b.Ranked && len(a.Dims) != len(b.Dims) {
					return c.fail("shapes %s differ; broadcasting needs opset 8", c.inputTypes())
				}
			}
		}
		dims, ok, err := c.broadcastInputs()
		if err != nil || !ok {
			return err
		}
		c.Set(0, dims...)
		if f == nil {
			return nil
		}
		content := c.Content(0)
		for i := 1; i < len(c.In); i++ {
			content = zip(content, c.Content(i), f)
		}
		c.setContent(0, content)
		return nil
	}
}

func reluContent(a graph.Dim) graph.Dim { return maxContentOf(a, graph.Known(0)) }

func absContent(a graph.Dim) graph.Dim { return maxContentOf(a, negContent(a)) }

func inferClip(c *Context) error {
	for i := 1; i < len(c.In); i++ {
		if t := c.Type(i); c.Has(i) && t.Ranked && len(t.Dims) > 0 {
			if n, ok := t.Dims[0].Size(); len(t.Dims) > 1 || ok && n != 1 {
				return c.fail("%s has type %s, want a scalar", c.inputName(i), t)
			}
		}
	}
	c.like(0, 0)
	content := c.Content(0)
	if c.Has(1) {
		content = zip(content, c.Content(1), maxContentOf)
	}
	if c.Has(2) {
		content = zip(content, c.Content(2), minContent)
	}
	c.setContent(0, content)
	return nil
}

// inferRounding keeps content, which is integers; a constant computed in floating point is rounded.
func inferRounding(c *Context) error {
	c.like(0, 0)
	content := c.Content(0)
	if content == nil && c.Has(0) {
		content = c.env.roundedConst(c.Node.In(0), c.Node.Op)
	}
	c.setContent(0, content)
	return nil
}
