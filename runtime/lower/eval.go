package lower

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Run evaluates the program node by node on fresh memory: the plain interpreter that the planned VM is compared with.
func (p *Program) Run(inputs []*kernel.Tensor) ([]*kernel.Tensor, error) {
	return p.Main.run(inputs, nil)
}

// run evaluates a body.
func (b *Body) run(inputs, captures []*kernel.Tensor) ([]*kernel.Tensor, error) {
	if len(inputs) != len(b.Inputs) {
		return nil, fmt.Errorf("%w: graph %q takes %d inputs, has %d", graph.ErrInvalid, b.Graph.Name, len(b.Inputs), len(inputs))
	}
	all := b.Nodes()
	env := make([][]*kernel.Tensor, len(all)) // by node ID: a tuple, or a single value
	for i, n := range b.Inputs {
		env[n.ID()] = inputs[i : i+1 : i+1]
	}
	for i, n := range b.CaptureNodes {
		env[n.ID()] = captures[i : i+1 : i+1]
	}
	for _, n := range b.Inits {
		env[n.ID()] = []*kernel.Tensor{n.Value().(Value).T}
	}
	for _, n := range all {
		children := b.Children(n)
		switch o := n.Op().(type) {
		case *Select:
			env[n.ID()] = env[children[0].ID()][o.Index : o.Index+1]
		case *Op:
			args := make([]*kernel.Tensor, 0, o.arity)
			for _, c := range children {
				args = append(args, env[c.ID()][0])
			}
			out, err := o.Eval(args)
			if err != nil {
				return nil, err
			}
			env[n.ID()] = out
		}
	}
	outputs := make([]*kernel.Tensor, len(b.Outputs))
	for i, n := range b.Outputs {
		outputs[i] = env[n.ID()][0]
	}
	return outputs, nil
}

// runIn evaluates body i of o; args are the values of o's children.
func (o *Op) runIn(i int, inputs, args []*kernel.Tensor) ([]*kernel.Tensor, error) {
	b := o.Bodies[i]
	captures := make([]*kernel.Tensor, len(b.CaptureArgs))
	for k, a := range b.CaptureArgs {
		captures[k] = args[a]
	}
	return b.run(inputs, captures)
}

// arg is input i of o's node among the children's values, or nil if it is missing.
func (o *Op) arg(args []*kernel.Tensor, i int) *kernel.Tensor {
	if i >= len(o.Args) || o.Args[i] < 0 {
		return nil
	}
	return args[o.Args[i]]
}
