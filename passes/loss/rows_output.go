package loss

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// outputRow is the row of losses that are outputs of the model. There the "logits" are the loss itself: a scalar, which the
// model averages or sums over the examples, as the reduction says, or an element for each row.
const outputRow = "output"

const (
	noOwnSample = "the model computes its loss itself, so that the distribution of its labels is not known"
	noOwnRoot   = "the model computes its loss itself, so that the Hessian in its outputs is not known"
)

// chooseOutput is choose for output:NAME.
func chooseOutput(m *graph.Model, o pass.Options, name string) (settings, *graph.Value, error) {
	r, err := rowNamed(outputRow)
	if err != nil {
		return settings{}, nil, err
	}
	for option, value := range map[string]string{"logits": o.Logits, "target": o.Target} {
		if value != "" {
			return settings{}, nil, &pass.OptionError{Option: option, Value: value, Want: "no such option beside the loss output:" + name + ", which has neither logits nor a target input"}
		}
	}
	if err := checkOptions(r, o.Loss, graph.UnknownDim); err != nil {
		return settings{}, nil, err
	}
	v, err := findLogits(m, pass.OptionError{Option: "loss", Value: o.Loss.Row}, name)
	if err != nil {
		return settings{}, nil, err
	}
	if !v.Type.Ranked || !v.Type.Elem.IsFloat() {
		return settings{}, nil, fmt.Errorf("%w: output %s is %s; a loss is a floating-point scalar, or has an element for each row", graph.ErrUnsupported, v, v.Type)
	}
	s := newSettings(r, o.Loss, -1)
	s.scalar = v.Type.Rank() == 0
	return s, v, nil
}

// examples is an input whose first dimension is that of the batch.
func examples(g *graph.Graph) (*graph.Value, error) {
	for _, in := range g.Inputs() {
		if in.Const() == nil && in.Type.Ranked && in.Type.Rank() > 0 {
			return in, nil
		}
	}
	return nil, fmt.Errorf("%w: no input of the model has a dimension, so that the number of examples is not known", graph.ErrUnsupported)
}

// own is the model's loss as it is.
func own(b *op.Builder, s site) *graph.Value { return b.Squeeze(s.z, 1) }

// ownGrad is 1; for a mean over the examples their number, by which it is divided again.
func ownGrad(b *op.Builder, s site) *graph.Value {
	one := b.OnesLike(s.z)
	if s.scalar && s.averages() {
		return b.Mul(one, countRows(b, s))
	}
	return one
}
