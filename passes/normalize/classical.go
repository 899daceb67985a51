package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// domainML is the operator set of classical machine learning, which converters of scikit-learn and the like write.
const domainML = "ai.onnx.ml"

// classics are the operators of ai.onnx.ml that have a standard form, by which they are replaced. A row's function reports
// false for a node that has none.
var classics = map[string]func(b *classic) bool{
	"Scaler":           scaler,
	"Normalizer":       normalizer,
	"LinearClassifier": linearClassifier,
	"LinearRegressor":  linearRegressor,
}

// classical replaces the operators of ai.onnx.ml that have a standard form. Their results are float32 whatever they read.
func classical(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.Nodes() {
		if n.Domain != domainML || classics[n.Op] == nil || n.In(0) == nil {
			continue
		}
		_ = op.InferGraph(m) // what is not known yet does not matter
		b := &classic{m: m, n: n, x: n.In(0)}
		switch b.x.Type.Elem {
		case graph.Float32:
		case graph.Float64, graph.Int64, graph.Int32:
			b.x = b.node("Cast", graph.I("to", int64(graph.Float32)), b.x)
		default:
			continue
		}
		classics[n.Op](b)
	}
	return nil
}

// classic is a node being replaced.
type classic struct {
	m *graph.Model
	n *graph.Node
	x *graph.Value // its input, float32
}

// node adds a node before the one that goes; attr is left out where it has no name.
func (b *classic) node(op string, attr graph.Attr, inputs ...*graph.Value) *graph.Value {
	var attrs []graph.Attr
	if attr.Name != "" {
		attrs = append(attrs, attr)
	}
	v := b.m.Graph.InsertNode(b.n, "", op, inputs, []string{b.name() + "/" + op}, attrs...).Out(0)
	v.Type.Elem = graph.Float32
	return v
}

func (b *classic) name() string { return lastOutput(b.n).Name }

func lastOutput(n *graph.Node) *graph.Value {
	outs := n.Outputs()
	return outs[len(outs)-1]
}

// done puts y in the place of the last output. The node goes, unless another output of it is used.
func (b *classic) done(y *graph.Value) bool {
	last := len(b.n.Outputs()) - 1
	if v := b.n.Out(last); v.IsOutput() || y == b.x {
		pass.Replace(v, y)
	} else {
		v.ReplaceUses(y)
		pass.TakeName(v, y)
	}
	if label := b.n.Out(0); last > 0 && label != nil && (label.IsOutput() || len(label.Uses()) > 0) {
		b.n.DropOutput(last)
	} else {
		b.n.Remove()
	}
	return true
}

// scaler is (x - offset) * scale with constants.
func scaler(b *classic) bool {
	x := b.x
	for _, row := range []struct{ attr, op string }{{"offset", "Sub"}, {"scale", "Mul"}} {
		a, ok := b.n.Attr(row.attr)
		if !ok || len(a.Floats) == 0 {
			continue
		}
		k := constant(b.m.Graph, b.n, b.name()+"/"+row.attr, graph.TensorOf(a.Floats, int64(len(a.Floats))))
		x = b.node(row.op, graph.Attr{}, x, k)
	}
	b.m.Opsets[graph.Asdl] = 1
	return b.done(x)
}

// norms are the modes of Normalizer: by what each row is divided, unless that is zero.
var norms = map[string]string{"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}

// normalizer is x / norm(x) by rows. Of probabilities by Softmax it is the identity, and of those by Sigmoid the softmax of
// their logarithms, so that a loss finds the logits.
func normalizer(b *classic) bool {
	kind := b.n.Str("norm", "MAX")
	reduce, rank := norms[kind], b.x.Type.Rank()
	if reduce == "" || !b.x.Type.Ranked || rank < 1 || rank > 2 {
		return false
	}
	if d := b.x.Def(); d != nil && kind == "L1" && rank == 2 {
		switch {
		case d.Is("", "Softmax") && d.Int("axis", -1) == 1, isPair(d):
			return b.done(b.x)
		case d.Is("", "Sigmoid"):
			minus := b.node("Neg", graph.Attr{}, d.In(0))
			logarithm := b.node("Neg", graph.Attr{}, b.node("Softplus", graph.Attr{}, minus))
			return b.done(b.node("Softmax", graph.I("axis", 1), logarithm))
		}
	}
	var norm *graph.Value
	if axis := int64(rank - 1); opsetOf(b.m) >= 18 {
		norm = b.node(reduce, graph.Attr{}, b.x, b.m.Graph.AddInitializer(b.name()+"/axes", graph.Ints(axis)))
	} else {
		norm = b.node(reduce, graph.Is("axes", axis), b.x)
	}
	some := b.node("Cast", graph.I("to", int64(graph.Bool)), norm)
	none := b.node("Not", graph.Attr{}, some)
	some.Type.Elem, none.Type.Elem = graph.Bool, graph.Bool
	one := b.node("Cast", graph.I("to", int64(graph.Float32)), none)
	return b.done(b.node("Div", graph.Attr{}, b.x, b.node("Add", graph.Attr{}, norm, one)))
}

// isPair reports whether n joins 1 - p and p, the probabilities of two classes.
func isPair(n *graph.Node) bool {
	if !n.Is("", "Concat") || len(n.Inputs()) != 2 || n.Int("axis", 0) != 1 || n.In(0).Def() == nil {
		return false
	}
	d, p := n.In(0).Def(), n.In(1)
	return d.Is("", "Sub") && d.In(1) == p && isOnes(d.In(0)) && p.Def() != nil && p.Def().Is("", "Sigmoid")
}

func isOnes(v *graph.Value) bool {
	if v.Const() == nil || v.Const().Len() != 1 {
		return false
	}
	x, ok := v.Const().Float64s()
	return ok && x[0] == 1
}

// opsetOf is the version of the standard operators that a file asks for.
func opsetOf(m *graph.Model) int {
	if v := m.Opset(); v != 0 {
		return v
	}
	return int(m.Opsets["ai.onnx"])
}
