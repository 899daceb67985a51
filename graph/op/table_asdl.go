package op

import "github.com/asdlc/asdlc/graph"

func tagIn() []Param  { return []Param{one("v", "T", anyElem), anyCount("operands", "", anyElem)} }
func tagOut() []Param { return []Param{one("v", "T", anyElem)} }
func values(name string) []Param {
	return []Param{anyCount(name, "", anyElem)}
}

// asdlTable has the tag operators; graph/tags.go tells what they mean. Tags may have attributes beyond those listed.
// A Param passes on no content: training changes it.
var asdlTable = []Schema{
	{Domain: graph.Asdl, Name: graph.TagParam, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: sameShape, Doc: "an initializer that training changes"},
	{Domain: graph.Asdl, Name: graph.TagLayer, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: identity, Doc: "the output of a layer with parameters"},
	{Domain: graph.Asdl, Name: graph.TagLoss, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: identity, Doc: "the training loss"},
	{Domain: graph.Asdl, Name: graph.TagGrad, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: identity, Doc: "the gradient of a parameter"},
	{Domain: graph.Asdl, Name: graph.TagNext, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: sameShape, Doc: "the next value of a parameter"},
	{Domain: graph.Asdl, Name: graph.TagCapture, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: identity, Doc: "a quantity of a layer that a statistic needs"},
	{Domain: graph.Asdl, Name: graph.TagPrecond, Since: 1, Inputs: tagIn(), Outputs: tagOut(), Infer: identity, Doc: "the preconditioned gradient of a parameter"},
	{
		Domain: graph.Asdl, Name: graph.TagGradient, Since: 1, Inputs: values("y_seed_x"), Outputs: values("dx"),
		Attrs: []AttrSpec{need("ys", graph.AttrInt)}, Infer: inferGradient, Doc: "seed-weighted derivatives of the y in each x",
	},
	{
		Domain: graph.Asdl, Name: graph.TagTangent, Since: 1, Inputs: values("y_t_x"), Outputs: values("dy"),
		Attrs: []AttrSpec{need("ys", graph.AttrInt)}, Infer: inferTangent, Doc: "derivative of each y along tangents of the x",
	},
	{Domain: graph.Asdl, Name: graph.TagSample, Since: 1, Inputs: lossIn(), Outputs: []Param{one("label", "", anyElem)}, Infer: inferSample, Doc: "labels drawn from the model's distribution"},
	{Domain: graph.Asdl, Name: graph.TagLossGrad, Since: 1, Inputs: lossIn(), Outputs: tagOut(), Infer: sameShape, Doc: "gradient of the summed loss in the logits"},
	{Domain: graph.Asdl, Name: graph.TagLossRoot, Since: 1, Inputs: lossIn(), Outputs: tagOut(), Infer: sameShape, Doc: "a column of a square root of the loss's Hessian in the logits"},
	{Domain: graph.Asdl, Name: graph.TagLossRows, Since: 1, Inputs: lossIn(), Outputs: tagOut(), Infer: scalar, Doc: "number of rows of the loss that count"},
	{
		Domain: graph.Asdl, Name: graph.TagState, Since: 1, Inputs: values("unused"), Outputs: []Param{one("state", "", anyElem)},
		Attrs: []AttrSpec{need("dtype", graph.AttrInt), may("shape", graph.AttrInts)}, Infer: inferDeclared, Doc: "a state input",
	},
	{
		Domain: graph.Asdl, Name: graph.TagHyper, Since: 1, Inputs: values("unused"), Outputs: []Param{one("value", "", anyElem)},
		Attrs: []AttrSpec{attrInt("dtype", int64(graph.Float32))}, Infer: inferDeclared, Doc: "a scalar hyper-parameter",
	},
	{Domain: graph.Asdl, Name: graph.TagStep, Since: 1, Inputs: values("unused"), Outputs: []Param{one("step", "", int64Elem)}, Infer: scalar, Doc: "the step counter"},
	{Domain: graph.Asdl, Name: graph.TagFinite, Since: 1, Inputs: values("unused"), Outputs: []Param{one("finite", "", boolElem)}, Infer: scalar, Doc: "whether the gradients of this step are finite"},
	{Domain: graph.Asdl, Name: graph.TagEvery, Since: 1, Inputs: []Param{one("step", "", int64Elem), opt("uniform", "", floatElem)}, Outputs: []Param{one("ticks", "", boolElem)}, Infer: scalar, Doc: "whether a clock ticks at this step"},
	{
		Domain: graph.Asdl, Name: graph.TagNoise, Since: 1, Inputs: []Param{one("shape", "", int64Elem)}, Outputs: []Param{one("noise", "", anyElem)},
		Attrs: []AttrSpec{attrInt("dtype", int64(graph.Float32))}, Infer: inferNoise, Doc: "random numbers of a shape",
	},
}

func lossIn() []Param {
	return []Param{one("logits", "T", floatElem), anyCount("target", "", anyElem)}
}

func scalar(c *Context) error {
	c.Set(0)
	return nil
}

// request splits the inputs (y..., s..., x...) of Gradient and Tangent; there are as many s as y in a Gradient, as many
// as x in a Tangent.
func (c *Context) request(seeds func(ys, rest int) int) (ys, s int, err error) {
	k := c.Int("ys")
	if k < 1 || k > int64(len(c.In)) {
		return 0, 0, c.fail("ys is %d, want 1..%d", k, len(c.In))
	}
	ys = int(k)
	return ys, seeds(ys, len(c.In)-ys), nil
}

func inferGradient(c *Context) error {
	ys, seeds, err := c.request(func(ys, _ int) int { return ys })
	if err != nil {
		return err
	}
	first := ys + seeds
	if len(c.In)-first != len(c.Out) {
		return c.fail("%d outputs for %d x", len(c.Out), len(c.In)-first)
	}
	return c.sameTypes(first)
}

func inferTangent(c *Context) error {
	ys, _, err := c.request(func(_, rest int) int { return rest / 2 })
	if err != nil {
		return err
	}
	if (len(c.In)-ys)%2 != 0 || len(c.Out) != ys {
		return c.fail("%d inputs and %d outputs for %d y; want as many tangents as x, and an output for each y", len(c.In), len(c.Out), ys)
	}
	return c.sameTypes(0)
}

// sameTypes gives the outputs the types of the inputs from first on.
func (c *Context) sameTypes(first int) error {
	for i := range c.Out {
		if !c.Has(first + i) {
			return c.fail("input %d is missing", first+i)
		}
		c.Out[i].Type = c.Type(first + i)
	}
	return nil
}

// inferSample: labels have the type of the target if it is given.
func inferSample(c *Context) error {
	if c.Has(1) {
		c.setElem(0, c.Type(1).Elem)
		c.like(0, 1)
	}
	return nil
}

func inferDeclared(c *Context) error {
	if err := c.castTo("dtype", c.Int("dtype")); err != nil {
		return err
	}
	shape, _ := c.Ints("shape")
	c.Set(0, knownDims(shape)...)
	return nil
}

func inferNoise(c *Context) error {
	if err := c.castTo("dtype", c.Int("dtype")); err != nil {
		return err
	}
	dims, ok, err := c.shapeInput(0)
	if err == nil && ok {
		c.Set(0, dims...)
	}
	return err
}
