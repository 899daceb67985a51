package onnxgo

import (
	"errors"
	"fmt"
	"math"

	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	asdlgraph "github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime"
)

// Graph is a computation graph that onnx-go fills and Run executes.
type Graph struct {
	*simple.WeightedDirectedGraph
	// Opset is the version of the standard operator set that the model was written for; 0 infers it.
	Opset int64

	calls   []*call
	session *runtime.Session
	inputs  []*Node
	outputs []*Node
}

// call is one operator call.
type call struct {
	op      string
	attrs   []asdlgraph.Attr
	inputs  []*Node
	outputs []*Node
}

// Node is a value of the graph: it implements onnx.Namer and onnx.DataCarrier.
type Node struct {
	id     int64
	name   string
	t      tensor.Tensor
	args   []*Node // arguments of the operator call that makes it
	call   *call
	used   bool
	result bool // carries a declared type, or nobody reads it: its tensor is set by Run
}

var (
	_ onnx.Backend     = (*Graph)(nil)
	_ onnx.DataCarrier = (*Node)(nil)
	_ onnx.Namer       = (*Node)(nil)
)

// NewGraph is an empty graph.
func NewGraph() *Graph {
	return &Graph{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(math.MaxFloat64, -1)}
}

// ID implements graph.Node.
func (n *Node) ID() int64 { return n.id }

// SetName implements onnx.Namer.
func (n *Node) SetName(name string) { n.name = name }

// GetName implements onnx.Namer.
func (n *Node) GetName() string { return n.name }

// SetTensor implements onnx.DataCarrier. Run reads the tensor without copying it.
func (n *Node) SetTensor(t tensor.Tensor) error {
	n.t = t
	return nil
}

// GetTensor implements onnx.DataCarrier. Of a result it is the value of the last Run.
func (n *Node) GetTensor() tensor.Tensor { return n.t }

// NewNode implements graph.NodeAdder.
func (g *Graph) NewNode() graph.Node { return &Node{id: g.WeightedDirectedGraph.NewNode().ID()} }

// SetWeightedEdge implements graph.WeightedEdgeAdder. The edge goes from a result to an argument, whose position is
// the weight; unlike the graph it may occur several times.
func (g *Graph) SetWeightedEdge(e graph.WeightedEdge) {
	from, to := e.From().(*Node), e.To().(*Node)
	for len(from.args) <= int(e.Weight()) {
		from.args = append(from.args, nil)
	}
	from.args[int(e.Weight())] = to
	if from.id != to.id {
		g.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// ApplyOperation implements onnx.OperationCarrier. Operators outside of the standard set are refused.
func (g *Graph) ApplyOperation(o onnx.Operation, nodes ...graph.Node) error {
	if _, ok := op.Lookup("", o.Name, newestOpset); !ok {
		return fmt.Errorf("%w: operator %q is not in ONNX's standard set, and onnx-go does not decode model-local functions; %s",
			asdlgraph.ErrUnsupported, o.Name, cure)
	}
	c := &call{op: o.Name}
	var err error
	if c.attrs, err = attributes(o); err != nil {
		return err
	}
	for i, n := range nodes {
		node := n.(*Node)
		if i == 0 {
			c.inputs = node.args
		}
		node.call = c
		c.outputs = append(c.outputs, node)
	}
	for _, in := range c.inputs {
		if in != nil {
			in.used = true
		}
	}
	g.calls = append(g.calls, c)
	g.session = nil
	return nil
}

// cure is the way out where onnx-go's decoder ends.
const cure = "re-export with `asdlc instrument --inline --split`"

// Unmarshal decodes data into m, whose backend is a Graph. Its errors say what to do about models that onnx-go cannot
// decode.
func Unmarshal(m *onnx.Model, data []byte) error {
	err := m.UnmarshalBinary(data)
	var missing *onnx.ErrNotImplemented
	if errors.As(err, &missing) {
		return fmt.Errorf("%w: onnx-go does not decode attribute %q (nested graphs, lists of tensors); %s",
			asdlgraph.ErrUnsupported, missing.AttributeName, cure)
	}
	if err != nil {
		return fmt.Errorf("onnx-go cannot decode the model: %w; it reads no empty tensors and only bool, int32, int64, float and double ones: "+
			"run such a model in a runtime.Session", err)
	}
	return nil
}

// Run executes the graph on the tensors that its inputs carry, and gives the results theirs.
func (g *Graph) Run() error {
	if g.session == nil {
		if err := g.build(); err != nil {
			return err
		}
	}
	for _, n := range g.inputs {
		t, err := dense(n)
		if err != nil {
			return err
		}
		x, err := runtime.ViewDense(t)
		if err != nil {
			return fmt.Errorf("value %q: %w", n.name, err)
		}
		if err := g.session.Bind(inputName(n), x); err != nil {
			return err
		}
	}
	if err := g.session.Step(); err != nil {
		return err
	}
	for _, n := range g.outputs {
		x, err := g.session.Output(outputName(n))
		if err != nil {
			return err
		}
		if n.t, err = runtime.ToDense(x); err != nil {
			return fmt.Errorf("value %q: %w", n.name, err)
		}
	}
	return nil
}

// Close stops the workers of the session.
func (g *Graph) Close() error {
	if g.session == nil {
		return nil
	}
	err := g.session.Close()
	g.session = nil
	return err
}

func dense(n *Node) (*tensor.Dense, error) {
	d, ok := n.t.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("value %q carries a %T, want a *tensor.Dense", n.name, n.t)
	}
	return d, nil
}
