package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// fusion is a row: a pattern of primitives and what to put in its place.
type fusion struct {
	Name    string
	Root    string // operator of the last node
	Pattern pat
	// Emit returns the replacement of the root's value, or nil if the pattern does not apply after all.
	Emit func(b *op.Builder, m bindings) *graph.Value
}

// Pieces of a layer normalisation, (x - mean x) / sqrt(mean (x - mean x)^2 + eps), as exporters write it before opset 17.
// The difference may be computed twice.
var (
	lnInput    = anyValue("x")
	lnCentred  = node("Sub", lnInput, node("ReduceMean", lnInput).where(overLast).as("mean"))
	lnSquare   = node("Pow", lnCentred, anyValue("").where(isNumber(2)))
	lnProduct  = node("Mul", lnCentred, lnCentred)
	lnEpsilon  = anyValue("eps").where(isSmall)
	lnGamma    = anyValue("gamma").where(isVector)
	lnBeta     = anyValue("beta").where(isVector)
	lnVariance = []pat{node("ReduceMean", lnSquare).where(overLast).as("var"), node("ReduceMean", lnProduct).where(overLast).as("var")}
)

// fusions are tried in order at each root: the wider forms come first.
var fusions = append(layerNorms(), activations()...)

// layerNorms lists the forms: variance by Pow or Mul; division by the root, or product with its reciprocal; with scale
// and shift, scale only, or neither.
func layerNorms() []fusion {
	var rows []fusion
	for _, v := range lnVariance {
		root := node("Sqrt", node("Add", v, lnEpsilon))
		for _, form := range []pat{
			node("Div", lnCentred, root),
			node("Mul", lnCentred, node("Reciprocal", root)),
			node("Mul", lnCentred, node("Div", anyValue("").where(isNumber(1)), root)),
			node("Mul", lnCentred, node("Pow", node("Add", v, lnEpsilon), anyValue("").where(isNumber(-0.5)))),
		} {
			form = form.as("y")
			rows = append(rows,
				fusion{"LayerNormalization, scale and shift", "Add", node("Add", node("Mul", form, lnGamma), lnBeta), emitLayerNorm},
				fusion{"LayerNormalization, scale", "Mul", node("Mul", form, lnGamma), emitLayerNorm},
				fusion{"LayerNormalization", form.Op, form, emitLayerNorm},
			)
		}
		for _, inverse := range []pat{
			node("Reciprocal", root), node("Div", anyValue("").where(isNumber(1)), root),
			node("Pow", node("Add", v, lnEpsilon), anyValue("").where(isNumber(-0.5))),
		} { // Keras: x r + (shift - mean r) with r = scale / root
			r := node("Mul", inverse, lnGamma).as("y")
			shifted := node("Sub", lnBeta, node("Mul", node("ReduceMean", lnInput).where(overLast).as("mean"), r))
			rows = append(rows, fusion{"LayerNormalization, expanded", "Add", node("Add", node("Mul", lnInput, r), shifted), emitLayerNorm})
		}
	}
	return rows
}

// patterns applies the fusions. Wider patterns have later roots, so the walk is backward.
func patterns(_ *pass.Ctx, m *graph.Model) error {
	return fuse(m, m.Graph)
}

func fuse(m *graph.Model, g *graph.Graph) error {
	for n := range g.Backward() {
		for _, sub := range n.Graphs() {
			if err := fuse(m, sub); err != nil {
				return err
			}
		}
		if n.Domain != "" || len(n.Outputs()) != 1 {
			continue
		}
		for i := range fusions {
			if fusions[i].Root != n.Op {
				continue
			}
			if done, err := fusions[i].apply(m, n); err != nil {
				return err
			} else if done {
				break
			}
		}
	}
	return nil
}

func (f *fusion) apply(m *graph.Model, n *graph.Node) (bool, error) {
	found := bindings{}
	if !f.Pattern.match(n.Out(0), found) {
		return false, nil
	}
	b := op.NewBuilder(m, n.Graph())
	b.At, b.Scope = n, n.Scope
	y := f.Emit(b, found)
	if y == nil {
		return false, nil
	}
	if err := b.Err(); err != nil {
		return false, err
	}
	y.Def().Name = n.Name
	output := n.Out(0).IsOutput()
	pass.Replace(n.Out(0), y)
	if !output {
		pass.TakeName(n.Out(0), y)
	}
	return true, nil
}

// emitLayerNorm writes LayerNormalization over the trailing axes that the means are taken over. Scale and shift must have
// the shape of these axes; without a scale, one of ones is made, as a constant.
func emitLayerNorm(b *op.Builder, m bindings) *graph.Value {
	x := m["x"]
	rank, axes := x.Type.Rank(), trailingAxes(m["mean"].Def())
	if axes != trailingAxes(m["var"].Def()) {
		return nil
	}
	inner := x.Type.Dims[rank-axes:]
	for _, name := range []string{"gamma", "beta"} {
		if v := m[name]; v != nil && !sameDims(v.Type.Dims, inner) {
			return nil
		}
	}
	eps, _ := m["eps"].Const().Float64s()
	attrs := []graph.Attr{graph.I("axis", int64(-axes)), graph.F("epsilon", float32(eps[0]))}
	gamma := m["gamma"]
	if gamma == nil {
		shape, ok := graph.TensorType(x.Type.Elem, inner...).Static()
		if !ok {
			return nil
		}
		ones := onesTensor(x.Type.Elem, shape)
		if ones == nil {
			return nil
		}
		gamma = constant(b.Graph, b.At, m["y"].Name+"/ones", ones)
		b.Model.Opsets[graph.Asdl] = 1
	}
	in := []*graph.Value{x, gamma}
	if beta := m["beta"]; beta != nil {
		in = append(in, beta)
	}
	return b.Op("LayerNormalization", in, attrs...)
}

// overLast holds for a ReduceMean that keeps the trailing axes which it reduces as dimensions of size 1.
func overLast(n *graph.Node, _ *graph.Value) bool {
	return n.Int("keepdims", 1) == 1 && trailingAxes(n) > 0
}

// trailingAxes is the number of axes that a reduction takes if these are the last ones, else 0.
func trailingAxes(n *graph.Node) int {
	axes := n.IntList("axes")
	if in := n.In(1); in != nil && in.IsInitializer() {
		axes, _ = in.Const().Int64s()
	}
	rank := int64(n.In(0).Type.Rank())
	if rank < 1 {
		return 0
	}
	taken := map[int64]bool{}
	for _, a := range axes {
		if a < 0 {
			a += rank
		}
		taken[a] = true
	}
	for i := range int64(len(taken)) {
		if !taken[rank-1-i] {
			return 0
		}
	}
	return len(taken)
}

// isNumber holds for a constant of one element of that value.
func isNumber(want float64) func(*graph.Node, *graph.Value) bool {
	return func(_ *graph.Node, v *graph.Value) bool {
		x, ok := number(v)
		return ok && x == want
	}
}

func isSmall(_ *graph.Node, v *graph.Value) bool {
	x, ok := number(v)
	return ok && x >= 0 && x <= 0.01
}

func number(v *graph.Value) (float64, bool) {
	if !v.IsInitializer() || v.Const().Len() != 1 {
		return 0, false
	}
	if x, ok := v.Const().Float64s(); ok {
		return x[0], true
	}
	if i, ok := v.Const().Int64s(); ok {
		return float64(i[0]), true
	}
	return 0, false
}

// isVector holds for a floating-point initializer, or one that is marked as a constant.
func isVector(_ *graph.Node, v *graph.Value) bool {
	return graph.Untagged(v).IsInitializer() && v.Type.Elem.IsFloat()
}

func sameDims(a, b []graph.Dim) bool {
	for _, d := range a {
		if d.IsUnknown() {
			return false
		}
	}
	return slices.Equal(a, b)
}

// onesTensor is a tensor of ones; nil for types without arithmetic.
func onesTensor(e graph.Elem, shape []int64) *graph.Tensor {
	t, err := graph.NewTensor(e, shape...)
	if err != nil {
		return nil
	}
	switch e {
	case graph.Float32:
		fill(graph.Data[float32](t))
	case graph.Float64:
		fill(graph.Data[float64](t))
	default:
		return nil
	}
	return t
}

func fill[T float32 | float64](data []T) {
	for i := range data {
		data[i] = 1
	}
}
