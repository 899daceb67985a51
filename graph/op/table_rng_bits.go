package op

import "github.com/asdlc/asdlc/graph"

// bitTable has the operators on bits of integers.
var bitTable = []Schema{
	{
		Name: "BitShift", Since: 11, Inputs: binaryIn(unsigned), Outputs: unaryOut(unsigned),
		Attrs: []AttrSpec{need("direction", graph.AttrString)}, Infer: inferBitShift, Doc: "X shifted by Y bits",
	},
	{Name: "BitwiseAnd", Since: 18, Inputs: binaryIn(intElem), Outputs: unaryOut(intElem), Infer: binary(nil), Doc: "A and B, bit by bit"},
	{Name: "BitwiseOr", Since: 18, Inputs: binaryIn(intElem), Outputs: unaryOut(intElem), Infer: binary(nil), Doc: "A or B, bit by bit"},
	{Name: "BitwiseXor", Since: 18, Inputs: binaryIn(intElem), Outputs: unaryOut(intElem), Infer: binary(nil), Doc: "A xor B, bit by bit"},
	{Name: "BitwiseNot", Since: 18, Inputs: unaryIn(intElem), Outputs: unaryOut(intElem), Infer: sameShape, Doc: "not X, bit by bit"},
}

var (
	uniformAttrs = []AttrSpec{attrFloat("high", 1), attrFloat("low", 0), may("seed", graph.AttrFloat)}
	normalAttrs  = []AttrSpec{attrFloat("mean", 0), attrFloat("scale", 1), may("seed", graph.AttrFloat)}
)

// rngTable has the random operators. They are read, never written: no runtime gives them a state that can be resumed.
var rngTable = []Schema{
	{
		Name: "RandomUniform", Since: 1, Outputs: []Param{one("output", "", floatElem)}, Infer: inferRandom, Doc: "uniform random numbers",
		Attrs: append([]AttrSpec{attrInt("dtype", int64(graph.Float32)), need("shape", graph.AttrInts)}, uniformAttrs...),
	},
	{
		Name: "RandomNormal", Since: 1, Outputs: []Param{one("output", "", floatElem)}, Infer: inferRandom, Doc: "normal random numbers",
		Attrs: append([]AttrSpec{attrInt("dtype", int64(graph.Float32)), need("shape", graph.AttrInts)}, normalAttrs...),
	},
	{
		Name: "RandomUniformLike", Since: 1, Inputs: []Param{one("input", "", anyElem)}, Outputs: []Param{one("output", "", floatElem)},
		Attrs: append([]AttrSpec{may("dtype", graph.AttrInt)}, uniformAttrs...), Infer: inferRandomLike, Doc: "uniform random numbers in the shape of a tensor",
	},
	{
		Name: "RandomNormalLike", Since: 1, Inputs: []Param{one("input", "", anyElem)}, Outputs: []Param{one("output", "", floatElem)},
		Attrs: append([]AttrSpec{may("dtype", graph.AttrInt)}, normalAttrs...), Infer: inferRandomLike, Doc: "normal random numbers in the shape of a tensor",
	},
	{
		Name: "Bernoulli", Since: 15, Inputs: []Param{one("input", "", floatElem)}, Outputs: []Param{one("output", "", fixedElem)},
		Attrs: []AttrSpec{may("dtype", graph.AttrInt), may("seed", graph.AttrFloat)}, Infer: inferRandomLike, Doc: "1 with the given probabilities, else 0",
	},
	{
		Name: "Multinomial", Since: 7, Inputs: []Param{one("input", "", floatElem)}, Outputs: []Param{one("output", "", indexElem)},
		Attrs: []AttrSpec{attrInt("dtype", int64(graph.Int32)), attrInt("sample_size", 1), may("seed", graph.AttrFloat)},
		Infer: inferMultinomial, Doc: "classes drawn from unnormalised log-probabilities",
	},
}

func inferBitShift(c *Context) error {
	if d := c.Str("direction"); d != "LEFT" && d != "RIGHT" {
		return c.fail("direction is %q, want LEFT or RIGHT", d)
	}
	return binary(nil)(c)
}

func inferRandom(c *Context) error {
	if err := c.castTo("dtype", c.Int("dtype")); err != nil {
		return err
	}
	shape, _ := c.Ints("shape")
	c.Set(0, knownDims(shape)...)
	return nil
}

func inferRandomLike(c *Context) error {
	c.setElem(0, c.Type(0).Elem)
	if a, ok := c.Attr("dtype"); ok {
		if err := c.castTo("dtype", a.I); err != nil {
			return err
		}
	}
	return sameShape(c)
}

func inferMultinomial(c *Context) error {
	if err := c.castTo("dtype", c.Int("dtype")); err != nil {
		return err
	}
	if err := c.wantRank(0, 2); err != nil {
		return err
	}
	batch := graph.UnknownDim
	if dims, ok := c.Dims(0); ok {
		batch = dims[0]
	}
	c.Set(0, batch, graph.Known(c.Int("sample_size")))
	return nil
}
