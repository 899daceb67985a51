package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// net builds a network layer by layer. Layers are named by their module paths, "layer1.0.conv1"; their parameters are
// PATH.weight and so on, their nodes /layer1/layer1.0/conv1/Conv as PyTorch's exporter writes them.
type net struct {
	m      *graph.Model
	g      *graph.Graph
	seed   uint64
	scheme scheme // of initial values
	bare   bool   // parameters are inputs without values
	names  map[string]int
	count  int64 // of parameters, up to maxParameters + 1
}

func newNet(row Model, seed uint64, bare bool) *net {
	m := graph.NewModel(Opset)
	m.Doc = row.Doc
	m.Graph.Name = row.Name
	return &net{m: m, g: m.Graph, seed: seed, scheme: standard, bare: bare, names: map[string]int{}}
}

// input declares the input: one example has the given shape.
func (n *net) input(shape ...int) *graph.Value {
	return n.g.AddInput("input", batch(shape...))
}

// param adds a parameter.
func (n *net) param(name string, d distribution, shape ...int) *graph.Value {
	elements := int64(1)
	for _, s := range shape {
		elements = min(elements*min(int64(s), maxParameters+1), maxParameters+1) // no overflow
	}
	n.count = min(n.count+elements, maxParameters+1)
	return n.tensor(name, d, shape...)
}

// tensor adds an initializer that is not counted among the parameters.
func (n *net) tensor(name string, d distribution, shape ...int) *graph.Value {
	var dims []int64
	for _, s := range shape {
		dims = append(dims, int64(s))
	}
	if n.bare {
		return n.g.AddInput(name, graph.StaticType(graph.Float32, dims...))
	}
	return n.g.AddInitializer(name, draw(n.seed, name, d, dims))
}

// op adds a node of module path (which may be empty) and returns its first output.
func (n *net) op(path, op string, t graph.Type, inputs []*graph.Value, attrs ...graph.Attr) *graph.Value {
	return n.ops(path, op, []graph.Type{t}, inputs, attrs...)[0]
}

// ops adds a node with an output of each type.
func (n *net) ops(path, op string, types []graph.Type, inputs []*graph.Value, attrs ...graph.Attr) []*graph.Value {
	name := nodeName(path, op)
	if k := n.names[name]; k > 0 { // the exporter numbers the operators of a module
		n.names[name]++
		name = fmt.Sprintf("%s_%d", name, k)
	} else {
		n.names[name] = 1
	}
	var outs []string
	for i := range types {
		outs = append(outs, fmt.Sprintf("%s_output_%d", name, i))
	}
	node := n.g.AddNode("", op, inputs, outs, attrs...)
	node.Name = name
	for i, t := range types {
		node.Out(i).Type = t
	}
	return node.Outputs()
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

// unary adds a node with the type of its operand.
func (n *net) unary(path, op string, x *graph.Value) *graph.Value {
	return n.op(path, op, x.Type, []*graph.Value{x})
}

// binary adds a node with the type of its first operand, to which the second is broadcast.
func (n *net) binary(path, op string, x, y *graph.Value) *graph.Value {
	return n.op(path, op, x.Type, []*graph.Value{x, y})
}

// constant adds a Constant node.
func (n *net) constant(path string, t *graph.Tensor) *graph.Value {
	return n.op(path, "Constant", t.Type(), nil, graph.T("value", t))
}

// number is a float scalar.
func (n *net) number(path string, v float64) *graph.Value {
	return n.constant(path, graph.Scalar(float32(v)))
}

// lowest is what masked scores become: softmax makes zeros of it, and nothing is infinite.
func (n *net) lowest(path string) *graph.Value { return n.number(path, -math.MaxFloat32) }

// reshape gives x the shape dims, in which 0 keeps a dimension and -1 is what is left.
func (n *net) reshape(path string, x *graph.Value, t graph.Type, dims ...int64) *graph.Value {
	return n.op(path, "Reshape", t, []*graph.Value{x, n.constant(path, graph.Ints(dims...))})
}

// transpose permutes the dimensions.
func (n *net) transpose(path string, x *graph.Value, perm ...int64) *graph.Value {
	t := graph.Type{Elem: x.Type.Elem, Ranked: true}
	for _, p := range perm {
		t.Dims = append(t.Dims, x.Type.Dims[p])
	}
	return n.op(path, "Transpose", t, []*graph.Value{x}, graph.Is("perm", perm...))
}

// at takes index i of an axis, which goes away.
func (n *net) at(path string, x *graph.Value, axis int, i int64) *graph.Value {
	t := x.Type
	t.Dims = append(append([]graph.Dim{}, t.Dims[:axis]...), t.Dims[axis+1:]...)
	return n.op(path, "Gather", t, []*graph.Value{x, n.constant(path, graph.Scalar(i))}, graph.I("axis", int64(axis)))
}

// flatten makes each example a vector.
func (n *net) flatten(x *graph.Value) *graph.Value {
	features := 1
	for axis := 1; axis < len(x.Type.Dims); axis++ {
		features *= size(x, axis)
	}
	return n.op("", "Flatten", batch(features), []*graph.Value{x}, graph.I("axis", 1))
}

// floats is a type of float32.
func floats(dims ...graph.Dim) graph.Type { return graph.TensorType(graph.Float32, dims...) }

// batch is the type of a batch of examples.
func batch(shape ...int) graph.Type {
	dims := []graph.Dim{graph.Sym("N")}
	for _, d := range shape {
		dims = append(dims, known(d))
	}
	return floats(dims...)
}

func known(n int) graph.Dim { return graph.Known(int64(n)) }

// withLast is a type with another last dimension.
func withLast(t graph.Type, last int) graph.Type {
	t.Dims = append(append([]graph.Dim{}, t.Dims[:len(t.Dims)-1]...), known(last))
	return t
}

// size is a dimension that is known; a negative axis counts from the end.
func size(x *graph.Value, axis int) int {
	if axis < 0 {
		axis += len(x.Type.Dims)
	}
	n, ok := x.Type.Dims[axis].Size()
	if !ok {
		panic("BUG: size of a dynamic dimension of " + x.Name)
	}
	return int(n)
}
