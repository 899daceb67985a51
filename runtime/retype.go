package runtime

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Retype copies m with every float32 made float64: value types, constants, the element type attributes of Cast and its
// like, and constants in attributes; in nested graphs and functions too. Float attributes stay float32, as ONNX has it,
// but Constant nodes become tensors.
func Retype(m *graph.Model) *graph.Model {
	c := graph.Clone(m)
	retypeGraph(c.Graph)
	for _, f := range c.Functions {
		retypeGraph(f.Body)
	}
	return c
}

func retypeGraph(g *graph.Graph) {
	for v := range g.Values() {
		if t := v.Const(); t != nil && t.Elem == graph.Float32 {
			wide := widen(t)
			if v.IsInput() {
				g.SetDefault(v, wide)
			} else {
				v.SetConst(wide)
			}
		}
		if v.Type.Elem == graph.Float32 {
			v.Type.Elem = graph.Float64
		}
	}
	for n := range g.Nodes() {
		retypeNode(n)
	}
}

// elemAttrs names the attributes that hold an element type.
var elemAttrs = map[string]bool{"to": true, "dtype": true, "stash_type": true, "output_dtype": true, "softmax_precision": true}

func retypeNode(n *graph.Node) {
	for _, a := range append([]graph.Attr{}, n.Attrs()...) {
		switch {
		case a.Kind == graph.AttrInt && elemAttrs[a.Name] && a.I == int64(graph.Float32):
			a.I = int64(graph.Float64)
			n.SetAttr(a)
		case a.Kind == graph.AttrTensor && a.T != nil && a.T.Elem == graph.Float32:
			a.T = widen(a.T)
			n.SetAttr(a)
		case n.Is("", "Constant") && a.Name == "value_float" && a.Ref == "":
			n.RemoveAttr(a.Name)
			n.SetAttr(graph.T("value", graph.Scalar(float64(a.F))))
		case n.Is("", "Constant") && a.Name == "value_floats" && a.Ref == "":
			n.RemoveAttr(a.Name)
			n.SetAttr(graph.T("value", graph.TensorOf(float64s(a.Floats), int64(len(a.Floats)))))
		}
	}
	defaultElem(n)
	castReferred(n)
	for _, sub := range n.Graphs() {
		retypeGraph(sub)
	}
}

// defaultElem spells out element types whose default is float32.
func defaultElem(n *graph.Node) {
	var a graph.Attr
	switch {
	case n.Is("", "ConstantOfShape"):
		a = graph.T("value", graph.TensorOf([]float64{0}, 1))
	case n.Is("", "LayerNormalization"), n.Is("", "RMSNormalization"):
		a = graph.I("stash_type", int64(graph.Float64))
	default:
		return
	}
	if _, ok := n.Attr(a.Name); !ok {
		n.SetAttr(a)
	}
}

// castReferred widens a Constant in a function body whose number is an attribute of the call.
func castReferred(n *graph.Node) {
	if !n.Is("", "Constant") {
		return
	}
	for _, a := range n.Attrs() {
		if a.Ref == "" || a.Name != "value_float" && a.Name != "value_floats" {
			continue
		}
		v := n.Out(0)
		v.Type.Elem = graph.Float32
		cast := n.Graph().InsertNode(n.Next(), "", "Cast", []*graph.Value{v}, []string{v.Name}, graph.I("to", int64(graph.Float64)))
		v.ReplaceUses(cast.Out(0), cast)
	}
}

func float64s(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func widen(t *graph.Tensor) *graph.Tensor {
	return graph.TensorOf(float64s(graph.Data[float32](t)), t.Shape...)
}

// Widen is t with float32 elements made float64; other tensors are returned as they are.
func Widen(t *kernel.Tensor) *kernel.Tensor {
	if t.Elem != graph.Float32 {
		return t
	}
	return kernel.Of(float64s(kernel.Data[float32](t)), t.Shape...)
}

// Narrow is t with float64 elements made float32; other tensors are returned as they are.
func Narrow(t *kernel.Tensor) *kernel.Tensor {
	if t.Elem != graph.Float64 {
		return t
	}
	out := kernel.New(graph.Float32, t.Shape...)
	for i, x := range kernel.Data[float64](t) {
		kernel.Data[float32](out)[i] = float32(x)
	}
	return out
}
