package models

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// linear is y = x W^T + b: x float[N,in] or float[N,T,in], PATH.weight float[out,in], PATH.bias float[out].
func (n *net) linear(path string, x *graph.Value, out int) *graph.Value {
	in := size(x, -1)
	weight, bias := n.scheme(layer{path, "Linear", in, out})
	w := n.param(path+".weight", weight, out, in)
	b := n.param(path+".bias", bias, out)
	if len(x.Type.Dims) == 2 {
		return n.op(path, "Gemm", batch(out), []*graph.Value{x, w, b}, graph.I("transB", 1))
	}
	return n.binary(path, "Add", n.product(path, x, w), b)
}

// product is x W^T for x float[N,T,in] and W float[out,in].
func (n *net) product(path string, x, w *graph.Value) *graph.Value {
	return n.op(path, "MatMul", withLast(x.Type, size(w, 0)), []*graph.Value{x, n.transpose(path, w, 1, 0)})
}

// window is the geometry of a square convolution or pooling.
type window struct{ kernel, stride, pad int }

func (w window) attrs() []graph.Attr {
	k, s, p := int64(w.kernel), int64(w.stride), int64(w.pad)
	return []graph.Attr{graph.Is("kernel_shape", k, k), graph.Is("strides", s, s), graph.Is("pads", p, p, p, p)}
}

// out is the size of the result along one axis.
func (w window) out(n int) int { return (n+2*w.pad-w.kernel)/w.stride + 1 }

// conv is a convolution: x float[N,in,h,w], PATH.weight float[out,in,k,k], with bias PATH.bias float[out].
func (n *net) conv(path string, x *graph.Value, out int, w window, bias bool) *graph.Value {
	in, k := size(x, 1), w.kernel
	weights, biases := n.scheme(layer{path, "Conv", in * k * k, out * k * k})
	inputs := []*graph.Value{x, n.param(path+".weight", weights, out, in, k, k)}
	if bias {
		inputs = append(inputs, n.param(path+".bias", biases, out))
	}
	attrs := append(w.attrs(), graph.Is("dilations", 1, 1), graph.I("group", 1))
	return n.op(path, "Conv", batch(out, w.out(size(x, 2)), w.out(size(x, 3))), inputs, attrs...)
}

// maxPool takes the maximum over windows.
func (n *net) maxPool(path string, x *graph.Value, w window) *graph.Value {
	return n.op(path, "MaxPool", batch(size(x, 1), w.out(size(x, 2)), w.out(size(x, 3))), []*graph.Value{x}, w.attrs()...)
}

// pooled is the mean over the pixels of each channel, float[N,channels].
func (n *net) pooled(x *graph.Value) *graph.Value {
	return n.flatten(n.op("avgpool", "GlobalAveragePool", batch(size(x, 1), 1, 1), []*graph.Value{x}))
}

// batchNorm normalises each channel by its running statistics: PATH.weight, PATH.bias, PATH.running_mean and
// PATH.running_var, each float[channels]. Parameters start as the identity: scale 1, shift 0, mean 0, variance 1.
func (n *net) batchNorm(path string, x *graph.Value) *graph.Value {
	channels := size(x, 1)
	inputs := []*graph.Value{
		x, n.param(path+".weight", constant(1), channels), n.param(path+".bias", constant(0), channels),
		n.tensor(path+".running_mean", constant(0), channels), n.tensor(path+".running_var", constant(1), channels),
	}
	return n.op(path, "BatchNormalization", x.Type, inputs, graph.F("epsilon", 1e-5), graph.F("momentum", 0.9), graph.I("training_mode", 0))
}

// layerNorm normalises the last axis, then scales by PATH.weight, which starts as 1, and shifts by PATH.bias, as 0.
func (n *net) layerNorm(path string, x *graph.Value, epsilon float32) *graph.Value {
	features := size(x, -1)
	inputs := []*graph.Value{x, n.param(path+".weight", constant(1), features), n.param(path+".bias", constant(0), features)}
	return n.op(path, "LayerNormalization", x.Type, inputs, graph.I("axis", -1), graph.F("epsilon", epsilon))
}

// relu is max(x, 0).
func (n *net) relu(path string, x *graph.Value) *graph.Value { return n.unary(path, "Relu", x) }

// gelu is x Φ(x) = x (1 + erf(x/sqrt 2)) / 2 (Hendrycks & Gimpel, arXiv:1606.08415). Opset 17 has no operator for it.
func (n *net) gelu(path string, x *graph.Value) *graph.Value {
	erf := n.unary(path, "Erf", n.binary(path, "Div", x, n.number(path, math.Sqrt2)))
	y := n.binary(path, "Mul", x, n.binary(path, "Add", erf, n.number(path, 1)))
	return n.binary(path, "Mul", y, n.number(path, 0.5))
}

// geluTanh is x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) / 2, the approximation of the same paper, section 2.
func (n *net) geluTanh(path string, x *graph.Value) *graph.Value {
	cube := n.binary(path, "Mul", n.binary(path, "Mul", x, x), x)
	inner := n.binary(path, "Add", x, n.binary(path, "Mul", cube, n.number(path, 0.044715)))
	tanh := n.unary(path, "Tanh", n.binary(path, "Mul", inner, n.number(path, math.Sqrt(2/math.Pi))))
	y := n.binary(path, "Mul", x, n.number(path, 0.5))
	return n.binary(path, "Mul", y, n.binary(path, "Add", tanh, n.number(path, 1)))
}

// table is the parameter PATH.weight float[rows,features] of an embedding.
func (n *net) table(path string, rows, features int) *graph.Value {
	weight, _ := n.scheme(layer{path: path, op: "Embedding", fanIn: rows, fanOut: features})
	return n.param(path+".weight", weight, rows, features)
}

// lookup takes rows of a table: ids int64[N,T] give float[N,T,features].
func (n *net) lookup(path string, table, ids *graph.Value) *graph.Value {
	dims := append(append([]graph.Dim{}, ids.Type.Dims...), table.Type.Dims[1])
	return n.op(path, "Gather", floats(dims...), []*graph.Value{table, ids})
}
