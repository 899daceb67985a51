package onnxgo

import (
	"fmt"
	"strconv"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/lower"
)

// Opset versions that are considered.
const (
	oldestOpset = 7
	newestOpset = 26
)

func inputName(n *Node) string  { return "in/" + strconv.FormatInt(n.id, 10) }
func outputName(n *Node) string { return "out/" + strconv.FormatInt(n.id, 10) }

// build makes a session of the calls.
func (g *Graph) build() error {
	m, err := g.model()
	if err != nil {
		return err
	}
	g.session, err = runtime.NewSession(m, runtime.Options{})
	return err
}

// model is the calls as a model: every value that no call makes is an input, every value that nobody reads or that
// the file declares is an output.
func (g *Graph) model() (*graph.Model, error) {
	opset := g.Opset
	if opset == 0 {
		var err error
		if opset, err = g.inferOpset(); err != nil {
			return nil, err
		}
	}
	m := graph.NewModel(opset)
	g.inputs, g.outputs = nil, nil
	values := map[*Node]*graph.Value{}
	for _, c := range g.calls {
		ins := make([]*graph.Value, len(c.inputs))
		for i, in := range c.inputs {
			if missing(in) {
				continue
			}
			if values[in] == nil {
				if in.call != nil {
					return nil, fmt.Errorf("%w: operator %s reads %q before it is computed", graph.ErrInvalid, c.op, in.name)
				}
				v, err := g.addInput(m, in)
				if err != nil {
					return nil, err
				}
				values[in] = v
			}
			ins[i] = values[in]
		}
		names := make([]string, len(c.outputs))
		for i, out := range c.outputs {
			if out.name != "" {
				names[i] = outputName(out)
			}
		}
		n := m.Graph.AddNode("", c.op, trim(ins), names, c.attrs...)
		for i, out := range c.outputs {
			values[out] = n.Out(i)
		}
	}
	g.addOutputs(m, values)
	return m, nil
}

// missing reports whether n stands for a missing optional input: ONNX's empty name, or the argument that onnx-go makes
// up for operators without inputs.
func missing(n *Node) bool { return n == nil || n.name == "" || n.call == nil && n.t == nil }

// addInput makes an input of a value that no call makes. Its shape may change from run to run.
func (g *Graph) addInput(m *graph.Model, n *Node) (*graph.Value, error) {
	d, err := dense(n)
	if err != nil {
		return nil, err
	}
	g.inputs = append(g.inputs, n)
	t := graph.TensorType(lower.ElemOf(d.Dtype()))
	for range d.Shape() {
		t.Dims = append(t.Dims, graph.UnknownDim)
	}
	return m.Graph.AddInput(inputName(n), t), nil
}

func (g *Graph) addOutputs(m *graph.Model, values map[*Node]*graph.Value) {
	for _, c := range g.calls {
		for _, n := range c.outputs {
			if v := values[n]; v != nil && (n.result || !n.used || n.t != nil) {
				n.result = true
				g.outputs = append(g.outputs, n)
				m.Graph.AddOutput(v)
			}
		}
	}
}

// trim cuts off trailing missing inputs.
func trim(ins []*graph.Value) []*graph.Value {
	for len(ins) > 0 && ins[len(ins)-1] == nil {
		ins = ins[:len(ins)-1]
	}
	return ins
}

// inferOpset is the newest version that fits all calls.
func (g *Graph) inferOpset() (int64, error) {
	var worst *call
	for version := newestOpset; version >= oldestOpset; version-- {
		bad := g.misfit(version)
		if bad == nil {
			return int64(version), nil
		}
		worst = bad
	}
	return 0, fmt.Errorf("%w: no opset version from %d to %d has all operators in the form used (one that does not fit: %s); set Graph.Opset",
		graph.ErrInvalid, oldestOpset, newestOpset, worst.op)
}

// misfit is a call that does not fit an opset version, or nil.
func (g *Graph) misfit(version int) *call {
	for _, c := range g.calls {
		s, ok := op.Lookup("", c.op, version)
		if !ok || !fits(s, c) {
			return c
		}
	}
	return nil
}

func fits(s *op.Schema, c *call) bool {
	given := 0
	for i, in := range c.inputs {
		if !missing(in) {
			given = i + 1
		}
	}
	open, required := false, 0
	for i, p := range s.Inputs {
		open = open || p.Option == op.Variadic || p.Option == op.AnyCount
		if p.Option == op.Single || p.Option == op.Variadic {
			required = i + 1
		}
	}
	if given < required || given > len(s.Inputs) && !open {
		return false
	}
	for _, a := range c.attrs {
		known := false
		for _, spec := range s.Attrs {
			known = known || spec.Name == a.Name
		}
		if !known {
			return false
		}
	}
	return true
}

// attributes converts those of an onnx-go operation.
func attributes(o onnx.Operation) ([]graph.Attr, error) {
	var attrs []graph.Attr
	for name, value := range o.Attributes {
		switch v := value.(type) {
		case float32:
			attrs = append(attrs, graph.F(name, v))
		case int64:
			attrs = append(attrs, graph.I(name, v))
		case string:
			attrs = append(attrs, graph.S(name, v))
		case []float32:
			attrs = append(attrs, graph.Fs(name, v...))
		case []int64:
			attrs = append(attrs, graph.Is(name, v...))
		case []string:
			attrs = append(attrs, graph.Ss(name, v...))
		case *tensor.Dense:
			t, err := runtime.FromDense(v)
			if err != nil {
				return nil, fmt.Errorf("operator %s, attribute %q: %w", o.Name, name, err)
			}
			attrs = append(attrs, graph.T(name, t.Const()))
		case struct{}: // an attribute without a value
		default:
			return nil, fmt.Errorf("%w: operator %s, attribute %q is a %T; %s", graph.ErrUnsupported, o.Name, name, value, cure)
		}
	}
	return attrs, nil
}
