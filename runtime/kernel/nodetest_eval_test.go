package kernel_test

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// evaluator runs a model node by node: infer the output shapes from the actual inputs, prepare the kernel, run it.
type evaluator struct {
	model    *graph.Model
	registry *kernel.Registry
	pool     *kernel.Pool
	values   map[*graph.Value]*kernel.Tensor
	known    bool                        // kernels are told the inputs as constants
	want     map[*graph.Value]graph.Type // types of outputs, for those that depend on data
}

func (e *evaluator) graph(g *graph.Graph) error {
	for _, v := range g.Initializers() {
		if e.values[v] == nil {
			e.values[v] = kernel.FromConst(v.Const())
		}
	}
	for n := range g.Nodes() {
		if err := e.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluator) node(n *graph.Node) error {
	if n.Is("", "If") {
		return e.branch(n)
	}
	if _, typed := op.Lookup(n.Domain, n.Op, int(e.model.Opsets[n.Domain])); !typed || !e.registry.Has(n.Domain, n.Op) {
		return fmt.Errorf("%w: %s", errNotCovered, n.Op)
	}
	call := &kernel.Call{Node: n, Opset: int(e.model.Opsets[n.Domain]), Pool: e.pool}
	var in, out []*kernel.Tensor
	for _, v := range n.Inputs() {
		t := e.values[v]
		in = append(in, t)
		call.In = append(call.In, e.spec(t))
	}
	types, err := e.infer(n, in, call.Opset)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs() {
		if v == nil {
			out, call.Out = append(out, nil), append(call.Out, kernel.Spec{})
			continue
		}
		shape, static := types[i].Static()
		if want, ok := e.want[v]; ok && !static {
			shape, static = want.Static()
		}
		if !static {
			return fmt.Errorf("%w: %s, whose output shape is %s", errNotCovered, n, types[i])
		}
		t := kernel.New(types[i].Elem, intsOf(shape)...)
		out, call.Out = append(out, t), append(call.Out, kernel.Spec{Present: true, Elem: t.Elem, Shape: t.Shape})
		e.values[v] = t
	}
	row, run, err := e.registry.Make(call)
	if err != nil {
		return err
	}
	for _, s := range call.Scratches {
		s.Raw = kernel.Aligned(s.Size)
	}
	for _, t := range out { // what a kernel leaves unwritten must not look right
		if t != nil {
			for i := range t.Raw {
				t.Raw[i] = 0x5a
			}
		}
	}
	if err := run(in, out); err != nil {
		return fmt.Errorf("%s kernel: %w", row.Note, err)
	}
	return nil
}

func (e *evaluator) spec(t *kernel.Tensor) kernel.Spec {
	if t == nil {
		return kernel.Spec{}
	}
	s := kernel.Spec{Present: true, Elem: t.Elem, Shape: t.Shape}
	if e.known {
		s.Const = t
	}
	return s
}

func (e *evaluator) infer(n *graph.Node, in []*kernel.Tensor, opset int) ([]graph.Type, error) {
	ctx := &op.Context{Node: n, Opset: opset, Model: e.model}
	for _, t := range in {
		arg := op.Arg{}
		if t != nil {
			c := t.Const()
			arg = op.Arg{Present: true, Type: c.Type(), Const: c}
		}
		ctx.In = append(ctx.In, arg)
	}
	if err := op.InferCall(ctx); err != nil {
		return nil, err
	}
	types := make([]graph.Type, len(ctx.Out))
	for i, a := range ctx.Out {
		types[i] = a.Type
	}
	return types, nil
}

// branch runs the graph of an If that the condition selects.
func (e *evaluator) branch(n *graph.Node) error {
	name := "else_branch"
	if kernel.Data[bool](e.values[n.In(0)])[0] {
		name = "then_branch"
	}
	a, _ := n.Attr(name)
	if err := e.graph(a.G); err != nil {
		return err
	}
	for i, v := range a.G.Outputs() {
		e.values[n.Out(i)] = e.values[v]
	}
	return nil
}

func intsOf(list []int64) []int {
	ints := make([]int, len(list))
	for i, n := range list {
		ints[i] = int(n)
	}
	return ints
}

// tolerance of a comparison: |got-want| <= abs + rel*|want|.
type tolerance struct{ rel, abs float64 }

// The official runner's tolerance, and ours.
var (
	official = tolerance{1e-3, 1e-7}
	tight    = tolerance{1e-5, 1e-7}
)

// compareTensors checks type, shape and values; NaN equals NaN.
func compareTensors(got, want *kernel.Tensor, tol tolerance) error {
	return backendtest.Compare(got, want, tol.rel, tol.abs)
}
