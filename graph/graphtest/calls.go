package graphtest

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// Caller adds calls of random standard operators to a model. Most make sense: operands have the types and sizes that the
// operator asks for, sizes and axes fit them. What comes out wrong all the same is taken back.
type Caller struct {
	T     *rapid.T
	Model *graph.Model
	// Values are the operands that calls may use. The caller adds the outputs of its calls.
	Values []*graph.Value
	// Elems are the element types of data made anew, the first preferred.
	Elems []graph.Elem
	// Sizes are those of data made anew, the first preferred. Nil are small numbers, 0 among them, and the symbols N and M.
	Sizes []graph.Dim
	// Leaf makes an operand of a type: an input, a parameter.
	Leaf func(name string, t graph.Type) *graph.Value
	// Schemas are the operators to choose from.
	Schemas []*op.Schema
}

// Callable lists the operators that a model of an opset may call: their forms at that opset, those with nested graphs and
// those that draw random numbers left out.
func Callable(opset int) []*op.Schema {
	skip := []string{
		"If", "Loop", "Scan", "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
	}
	var list []*op.Schema
	for s := range op.Schemas() {
		if form, ok := op.Lookup("", s.Name, opset); ok && form == s && s.Domain == "" && !slices.Contains(skip, s.Name) {
			list = append(list, s)
		}
	}
	return list
}

// Call adds a call of a random operator and returns it; nil if what was drawn makes no sense.
func (c *Caller) Call() *graph.Node {
	g := c.Model.Graph
	inputs, inits := len(g.Inputs()), len(g.Initializers())
	s := c.Schemas[rapid.IntRange(0, len(c.Schemas)-1).Draw(c.T, "operator")]
	k := &call{Caller: c, schema: s, bound: map[string]graph.Elem{}}
	k.operands()
	k.attributes()
	outputs := 1
	for outputs < len(s.Outputs) && c.chance(3) {
		outputs++
	}
	if s.Name == "Split" || s.Outputs[0].Option != op.Single {
		outputs = 1 + c.below(3)
	}
	n := g.AddNode("", s.Name, k.in, slices.Repeat([]string{"y"}, outputs), k.attrs...)
	if err := op.Infer(c.Model, n); err != nil {
		n.Remove()
		for _, v := range slices.Clone(g.Inputs()[inputs:]) {
			g.RemoveValue(v)
		}
		for _, v := range slices.Clone(g.Initializers()[inits:]) {
			g.RemoveValue(v)
		}
		return nil
	}
	c.Values = append(c.Values, n.Outputs()...)
	return n
}

func (c *Caller) below(n int) int { return rapid.IntRange(0, n-1).Draw(c.T, "n") }

// chance is true once in n times.
func (c *Caller) chance(n int) bool { return c.below(n) == n-1 }

// dim is a size: a number or a symbol.
func (c *Caller) dim() graph.Dim {
	if c.Sizes != nil {
		return rapid.SampledFrom(c.Sizes).Draw(c.T, "dim")
	}
	return rapid.SampledFrom([]graph.Dim{
		graph.Known(2), graph.Known(3), graph.Known(4), graph.Known(1), graph.Sym("N"), graph.Sym("M"), graph.Known(6), graph.Known(0),
	}).Draw(c.T, "dim")
}

func (c *Caller) dims(low, high int) []graph.Dim {
	dims := make([]graph.Dim, low+c.below(high-low+1))
	for i := range dims {
		dims[i] = c.dim()
	}
	return dims
}

// call is a call in the making.
type call struct {
	*Caller
	schema *op.Schema
	bound  map[string]graph.Elem // element types by type variable
	in     []*graph.Value
	attrs  []graph.Attr
}

// elem is an element type that a parameter admits.
func (k *call) elem(p op.Param) graph.Elem {
	if e, ok := k.bound[p.Var]; ok && p.Var != "" && p.Types.Has(e) {
		return e
	}
	var fit []graph.Elem
	for _, e := range k.Elems {
		if p.Types.Has(e) {
			fit = append(fit, e)
		}
	}
	for e := graph.Float32; len(fit) == 0 && e <= graph.BFloat16; e++ {
		if p.Types.Has(e) && e != graph.String {
			fit = append(fit, e)
		}
	}
	if len(fit) == 0 || k.below(3) > 0 {
		return append(fit, graph.Float32)[0]
	}
	return rapid.SampledFrom(fit).Draw(k.T, "elem")
}

func (k *call) operands() {
	for i, p := range k.schema.Inputs {
		count := 1
		switch {
		case p.Option == op.Optional && k.chance(2):
			k.in = append(k.in, nil)
			continue
		case p.Option == op.Variadic || p.Option == op.AnyCount:
			count = 1 + k.below(3)
		}
		for range count {
			v := k.operand(i, p)
			if v != nil && p.Var != "" {
				k.bound[p.Var] = v.Type.Elem
			}
			k.in = append(k.in, v)
		}
	}
	for len(k.in) > 0 && k.in[len(k.in)-1] == nil {
		k.in = k.in[:len(k.in)-1]
	}
}

// first is the type of the first operand.
func (k *call) first() (dims []graph.Dim, rank int) {
	if len(k.in) == 0 || k.in[0] == nil {
		return nil, 0
	}
	return k.in[0].Type.Dims, len(k.in[0].Type.Dims)
}

// operand makes formal input i.
func (k *call) operand(i int, p op.Param) *graph.Value {
	e := k.elem(p)
	if dims, ok := k.weight(i); ok {
		return k.find(e, dims)
	}
	if ints, ok := k.sizes(p.Name); ok && p.Types.Has(graph.Int64) && !p.Types.Has(graph.Float32) {
		if k.chance(8) {
			return k.Leaf(p.Name, graph.StaticType(graph.Int64, int64(len(ints))))
		}
		if len(ints) == 1 && k.chance(2) {
			return k.Model.Graph.AddInitializer(p.Name, graph.Scalar(ints[0]))
		}
		return k.Model.Graph.AddInitializer(p.Name, graph.Ints(ints...))
	}
	dims, rank := k.first()
	switch {
	case i == 0 && len(k.in) == 0:
		low, high := k.ranks()
		if len(k.Values) > 0 && k.below(3) > 0 {
			v := rapid.SampledFrom(k.Values).Draw(k.T, "value")
			if v != nil && p.Types.Has(v.Type.Elem) && v.Type.Ranked && len(v.Type.Dims) >= low && len(v.Type.Dims) <= high {
				return v
			}
		}
		if shape := lead[k.schema.Name]; shape != nil && !k.chance(4) {
			return k.Leaf("x", graph.StaticType(e, shape...))
		}
		return k.Leaf("x", graph.TensorType(e, k.dims(low, high)...))
	case rank > 0 && k.chance(3): // broadcast
		dims = slices.Clone(dims[k.below(rank):])
		if len(dims) > 0 {
			dims[k.below(len(dims))] = graph.Known(1)
		}
	case k.chance(8):
		dims = k.dims(0, 3)
	}
	return k.find(e, dims)
}

// find is an operand of a type: one of the values, or a new one.
func (k *call) find(e graph.Elem, dims []graph.Dim) *graph.Value {
	t := graph.TensorType(e, dims...)
	if k.chance(2) {
		for _, v := range slices.Backward(k.Values) {
			if v != nil && v.Type.Equal(t) {
				return v
			}
		}
	}
	return k.Leaf("w", t)
}

// ranks bounds the rank of the first operand.
func (k *call) ranks() (low, high int) {
	switch k.schema.Name {
	case "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "InstanceNormalization",
		"GroupNormalization", "GridSample", "RNN", "GRU", "LSTM", "CausalConvWithState", "Col2Im", "AffineGrid":
		return 3, 4
	case "DepthToSpace", "SpaceToDepth", "Attention", "RotaryEmbedding":
		return 4, 4
	case "Gemm", "EyeLike":
		return 2, 2
	case "MatMul", "Det", "Trilu", "BatchNormalization", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "TensorScatter":
		return 2, 4
	case "Range":
		return 0, 0
	}
	return 0, 4
}
