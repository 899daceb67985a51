package models

import (
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// net builds a network layer by layer. Layers are named by their module paths, "layer1.0.conv1"; their parameters are
// PATH.weight and so on, their nodes /layer1/layer1.0/conv1/Conv as PyTorch's exporter writes them.
type net struct {
	m    *graph.Model
	g    *graph.Graph
	init initial
}

func newNet(row Model, seed uint64) *net {
	m := graph.NewModel(Opset)
	m.Doc = row.Doc
	m.Graph.Name = row.Name
	return &net{m: m, g: m.Graph, init: initial{seed}}
}

// input declares the input: one example has the given shape.
func (n *net) input(shape ...int) *graph.Value {
	return n.g.AddInput("input", batch(shape...))
}

// batch is the type of a batch of examples.
func batch(shape ...int) graph.Type {
	dims := []graph.Dim{graph.Sym("N")}
	for _, d := range shape {
		dims = append(dims, graph.Known(int64(d)))
	}
	return graph.TensorType(graph.Float32, dims...)
}

// op adds a node of module path (which may be empty) and returns its first output.
func (n *net) op(path, op string, t graph.Type, inputs []*graph.Value, attrs ...graph.Attr) *graph.Value {
	name := nodeName(path, op)
	node := n.g.AddNode("", op, inputs, []string{name + "_output_0"}, attrs...)
	node.Name = name
	node.Out(0).Type = t
	return node.Out(0)
}

// nodeName is the name that PyTorch's exporter gives a node: containers and their items are both named.
func nodeName(path, op string) string {
	if path == "" {
		return "/" + op
	}
	parts := strings.Split(path, ".")
	var sb strings.Builder
	for i, part := range parts {
		sb.WriteByte('/')
		if part[0] >= '0' && part[0] <= '9' && i > 0 {
			sb.WriteString(parts[i-1] + ".")
		}
		sb.WriteString(part)
	}
	return sb.String() + "/" + op
}

// size is a dimension that is known.
func size(x *graph.Value, axis int) int {
	n, ok := x.Type.Dims[axis].Size()
	if !ok {
		panic("BUG: size of a dynamic dimension of " + x.Name)
	}
	return int(n)
}

// linear is y = x W^T + b: x float[N,in], PATH.weight float[out,in], PATH.bias float[out].
func (n *net) linear(path string, x *graph.Value, out int) *graph.Value {
	in := size(x, 1)
	w := n.g.AddInitializer(path+".weight", n.init.uniform(path+".weight", in, out, in))
	b := n.g.AddInitializer(path+".bias", n.init.uniform(path+".bias", in, out))
	return n.op(path, "Gemm", batch(out), []*graph.Value{x, w, b}, graph.I("transB", 1))
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
	fanIn := in * k * k
	inputs := []*graph.Value{x, n.g.AddInitializer(path+".weight", n.init.uniform(path+".weight", fanIn, out, in, k, k))}
	if bias {
		inputs = append(inputs, n.g.AddInitializer(path+".bias", n.init.uniform(path+".bias", fanIn, out)))
	}
	attrs := append(w.attrs(), graph.Is("dilations", 1, 1), graph.I("group", 1))
	return n.op(path, "Conv", batch(out, w.out(size(x, 2)), w.out(size(x, 3))), inputs, attrs...)
}

// maxPool takes the maximum over windows.
func (n *net) maxPool(path string, x *graph.Value, w window) *graph.Value {
	return n.op(path, "MaxPool", batch(size(x, 1), w.out(size(x, 2)), w.out(size(x, 3))), []*graph.Value{x}, w.attrs()...)
}

// batchNorm normalises each channel by its running statistics: PATH.weight, PATH.bias, PATH.running_mean and
// PATH.running_var, each float[channels]. Parameters start as the identity: scale 1, shift 0, mean 0, variance 1.
func (n *net) batchNorm(path string, x *graph.Value) *graph.Value {
	inputs := []*graph.Value{x}
	for _, p := range []struct {
		name  string
		value float32
	}{{"weight", 1}, {"bias", 0}, {"running_mean", 0}, {"running_var", 1}} {
		inputs = append(inputs, n.g.AddInitializer(path+"."+p.name, constant(p.value, size(x, 1))))
	}
	return n.op(path, "BatchNormalization", x.Type, inputs, graph.F("epsilon", 1e-5), graph.F("momentum", 0.9), graph.I("training_mode", 0))
}

// relu is max(x, 0).
func (n *net) relu(path string, x *graph.Value) *graph.Value {
	return n.op(path, "Relu", x.Type, []*graph.Value{x})
}

// flatten makes each example a vector.
func (n *net) flatten(x *graph.Value) *graph.Value {
	features := 1
	for axis := 1; axis < len(x.Type.Dims); axis++ {
		features *= size(x, axis)
	}
	return n.op("", "Flatten", batch(features), []*graph.Value{x}, graph.I("axis", 1))
}
