package loss

import (
	"fmt"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// link is a row: an operator at the end of a model that turns logits into probabilities, or into their logarithms, and the losses
// that apply it themselves. Under one of these, training sees what is before the operator.
type link struct {
	Op, By, Holds string
	// Losses are, by the loss that is asked for, the one that sees the logits.
	Losses map[string]string
	// Match returns the logits before y, whose classes are along axis, or nil.
	Match func(b *op.Builder, y *graph.Value, axis int) *graph.Value
}

var (
	overClasses   = map[string]string{"cross-entropy": "cross-entropy"}
	overLogarithm = map[string]string{"cross-entropy": "cross-entropy", "nll": "cross-entropy"}
	overOutputs   = map[string]string{"bce-with-logits": "bce-with-logits", "bce": "bce-with-logits"}
)

var links = []link{
	{"Softmax", " by Softmax", probabilities, overClasses, beforeSoftmax},
	{"LogSoftmax", " by LogSoftmax", logarithms, overLogarithm, beforeSoftmax},
	{"Log", "", logarithms, overLogarithm, beforeLog},
	{"Concat", " of two classes by Sigmoid", probabilities, overClasses, beforePair},
	{"Sigmoid", " by Sigmoid", probabilities, overOutputs, func(_ *op.Builder, y *graph.Value, _ int) *graph.Value { return y.Def().In(0) }},
}

// beforeLink returns what the loss r is to see in place of the output y, and the loss that then does its work. It tells the
// user where that is not y, and where y is not what the loss takes it for.
func beforeLink(c *pass.Ctx, m *graph.Model, r *row, y *graph.Value, axis int) (*row, *graph.Value) {
	n := y.Def()
	if n == nil {
		return r, y
	}
	for _, l := range links {
		if !n.Is("", l.Op) {
			continue
		}
		b := op.NewBuilder(m, m.Graph)
		b.At, b.Scope, b.Prefix = n, n.Scope, y.Name+"/"
		z := l.Match(b, y, axis)
		if z == nil || b.Err() != nil {
			continue
		}
		holds := fmt.Sprintf("output %s holds %s%s", y, l.Holds, l.By)
		if name, ok := l.Losses[r.Name]; ok {
			to, err := rowNamed(name)
			if err != nil {
				panic("BUG: link to no loss: " + name)
			}
			c.Note(fmt.Sprintf("%s: the %s is computed from the logits before it, %s", holds, r.Name, graph.Untagged(z)))
			return to, z
		}
		if r.Input != "" && r.Input != l.Holds {
			c.Note(fmt.Sprintf("%s, and the %s takes it for %s: choose a loss that fits, or name the logits with --logits", holds, r.Name, r.Input))
		}
		return r, y
	}
	return r, y
}

// beforeSoftmax: over the classes.
func beforeSoftmax(_ *op.Builder, y *graph.Value, axis int) *graph.Value {
	n := y.Def()
	along, rank := n.Int("axis", -1), int64(y.Type.Rank())
	if along < 0 {
		along += rank
	}
	if along != int64(axis) {
		return nil
	}
	return n.In(0)
}

func beforeLog(b *op.Builder, y *graph.Value, axis int) *graph.Value {
	if p := y.Def().In(0); p.Def() != nil && p.Def().Is("", "Softmax") {
		return beforeSoftmax(b, p, axis)
	}
	return nil
}

// beforePair: [1 - s, s] with s = sigmoid(z) is the softmax of [0, z].
func beforePair(b *op.Builder, y *graph.Value, axis int) *graph.Value {
	n := y.Def()
	along, rank := n.Int("axis", 0), int64(y.Type.Rank())
	if along < 0 {
		along += rank
	}
	if len(n.Inputs()) != 2 || along != int64(axis) {
		return nil
	}
	other, s := n.In(0).Def(), n.In(1).Def()
	if other == nil || s == nil || !other.Is("", "Sub") || !s.Is("", "Sigmoid") || other.In(1) != n.In(1) {
		return nil
	}
	if one := graph.Untagged(other.In(0)).Const(); one == nil || one.Len() != 1 || !isOne(one) {
		return nil
	}
	z := s.In(0)
	return b.Concat(int64(axis), b.Sub(z, z), z)
}

func isOne(t *graph.Tensor) bool {
	x, ok := t.Float64s()
	return ok && x[0] == 1
}

// reportUnreached names the parameters from which no path of floating-point values leads to the logits: their gradient is zero,
// and training does not change them.
func reportUnreached(c *pass.Ctx, m *graph.Model, logits *graph.Value) {
	reached := map[*graph.Value]bool{logits: true}
	for n := range m.Graph.Backward() {
		on := false
		for _, v := range n.Outputs() {
			on = on || v != nil && reached[v]
		}
		if !on || isFlat(n) {
			continue
		}
		mark(n, reached)
	}
	var lost []string
	params := pass.Params(m.Graph, "param")
	for _, p := range params {
		if !reached[p.Value] {
			lost = append(lost, p.Name())
		}
	}
	if len(lost) > 0 {
		c.Note(fmt.Sprintf("the loss does not depend on %s: no differentiable path leads from there to %s, so that training leaves it as it is", strings.Join(lost, ", "), logits))
	}
}

// mark reaches the floating-point inputs of n, and what graphs nested in it read.
func mark(n *graph.Node, reached map[*graph.Value]bool) {
	for _, v := range n.Inputs() {
		if v != nil && v.Type.Elem.IsFloat() {
			reached[v] = true
		}
	}
	for _, sub := range n.Graphs() {
		for inner := range sub.All() {
			for _, v := range inner.Inputs() {
				if v != nil && v.Type.Elem.IsFloat() {
					reached[v] = true
				}
			}
		}
		for _, v := range sub.Outputs() {
			reached[v] = true
		}
	}
}

// isFlat reports whether the derivative of n is zero wherever it has one.
func isFlat(n *graph.Node) bool {
	if n.Domain != "" {
		return false
	}
	switch n.Op {
	case "Floor", "Ceil", "Round", "Sign", "ConstantOfShape", "EyeLike", "Range":
		return true
	}
	return false
}
