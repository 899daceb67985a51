package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// lossRules are the rows of ONNX's loss operators, for labels [N, ...] and scores [N, C, ...].
func lossRules() []Rule {
	return []Rule{
		{Op: "SoftmaxCrossEntropyLoss", Kind: Smooth, Diff: only0 | 1<<2, VJP: vjpCrossEntropy, JVP: jvpCrossEntropy},
		{Op: "NegativeLogLikelihoodLoss", Kind: Smooth, Diff: only0 | 1<<2, VJP: vjpNLL, JVP: jvpNLL},
	}
}

// labelled is what the loss operators do with the labels.
type labelled struct {
	onehot *graph.Value // [N, C, ...] 0 or 1
	weight *graph.Value // [N, 1, ...] weight of each row; nil is 1
	total  *graph.Value // what the sum of the rows is divided by; nil is 1
	rows   bool         // the loss is one number a row: reduction none
}

func (c *Call) labels() (labelled, bool) {
	x, target := c.In(0), c.Cast(c.In(1), graph.Int64)
	var l labelled
	if x.Type.Rank() < 2 {
		c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
		return l, false
	}
	elem := x.Type.Elem
	column := c.Unsqueeze(target, 1)
	l.onehot = c.Cast(c.Compare("Equal", column, c.classes(x)), elem)
	l.rows = c.N.Str("reduction", "mean") == "none"
	var counted *graph.Value
	if a, ok := c.N.Attr("ignore_index"); ok {
		ignored := c.Compare("Equal", column, c.Int(a.I))
		counted = c.Cast(c.Op("Not", []*graph.Value{ignored}), elem)
		column = c.Where(ignored, c.Int(0), column)
	}
	if w := c.In(2); w != nil {
		l.weight = c.Gather(w, column, 0)
	}
	switch {
	case l.weight == nil:
		l.weight = counted
	case counted != nil:
		l.weight = c.Mul(l.weight, counted)
	}
	if c.N.Str("reduction", "mean") == "mean" {
		if l.weight == nil {
			l.total = c.CountOf(target, elem)
		} else {
			l.total = c.Sum(l.weight)
		}
	}
	return l, true
}

// classes is 0, 1, ..., C-1 of shape [C, 1, ...] that lines up with axis 1 of x.
func (c *Call) classes(x *graph.Value) *graph.Value {
	shape := []int64{-1}
	for range x.Type.Rank() - 2 {
		shape = append(shape, 1)
	}
	if n, ok := x.Type.Dims[1].Size(); ok {
		ids := make([]int64, n)
		for i := range ids {
			ids[i] = int64(i)
		}
		shape[0] = n
		return c.Const("classes", graph.TensorOf(ids, shape...))
	}
	count := c.Squeeze(c.DimOf(x, 1), 0)
	ids := c.Op("Range", []*graph.Value{c.Int(0), count, c.Int(1)})
	if len(shape) == 1 {
		return ids
	}
	return c.Reshape(ids, shape...)
}

// perRow multiplies g, the cotangent of the loss, to the coefficient of each row.
func (c *Call) perRow(l labelled, g *graph.Value) *graph.Value {
	if l.rows {
		g = c.Unsqueeze(g, 1)
	}
	if l.total != nil {
		g = c.Div(g, l.total)
	}
	if l.weight != nil {
		g = c.Mul(l.weight, g)
	}
	return g
}

// reduceRows turns a term of each row and class into the tangent of the loss.
func (c *Call) reduceRows(l labelled, t *graph.Value) *graph.Value {
	if l.weight != nil {
		t = c.Mul(t, l.weight)
	}
	if l.rows {
		return c.Sum(t, 1)
	}
	t = c.Sum(t)
	if l.total != nil {
		t = c.Div(t, l.total)
	}
	return t
}

// weightedLoss writes a loss whose class weights are to be differentiated: -weight of the label times its log-probability,
// summed, and for the mean over the sum of these weights.
func weightedLoss(c *Call) []*graph.Value {
	outs := make([]*graph.Value, len(c.N.Outputs()))
	l, ok := c.labels()
	if !ok {
		return outs
	}
	logp := c.In(0)
	if c.N.Op == "SoftmaxCrossEntropyLoss" {
		logp = c.Op("LogSoftmax", []*graph.Value{logp}, graph.I("axis", 1))
		if c.Out(1) != nil {
			outs[1] = logp
		}
	}
	outs[0] = c.Neg(c.reduceRows(l, c.Mul(l.onehot, logp)))
	return outs
}

// vjpCrossEntropy is (softmax - onehot) g, and that of the log-probabilities.
func vjpCrossEntropy(c *Call) []*graph.Value {
	if c.wants(2) {
		return pullOf(weightedLoss)(c)
	}
	l, ok := c.labels()
	if !ok {
		return nil
	}
	p := c.Unary("Exp", c.logProb())
	var terms [2]*graph.Value
	if g := c.d(0); g != nil {
		terms[0] = c.Mul(c.Sub(p, l.onehot), c.perRow(l, g))
	}
	if g := c.d(1); g != nil {
		terms[1] = c.Sub(g, c.Mul(p, c.SumKeep(g, 1)))
	}
	return []*graph.Value{addAll(c.Builder, terms[:])}
}

// logProb is the second output of SoftmaxCrossEntropyLoss.
func (c *Call) logProb() *graph.Value { return c.extraOutput(1, "log_prob", c.In(0).Type) }

func jvpCrossEntropy(c *Call) []*graph.Value {
	if c.d(2) != nil {
		return pushOf(weightedLoss)(c)
	}
	l, ok := c.labels()
	if !ok {
		return nil
	}
	t := c.d(0)
	p := c.Unary("Exp", c.logProb())
	return []*graph.Value{
		c.reduceRows(l, c.Mul(c.Sub(p, l.onehot), t)),
		c.Sub(t, c.SumKeep(c.Mul(p, t), 1)),
	}
}

// vjpNLL is -onehot g.
func vjpNLL(c *Call) []*graph.Value {
	if c.wants(2) {
		return pullOf(weightedLoss)(c)
	}
	l, ok := c.labels()
	if !ok {
		return nil
	}
	return []*graph.Value{c.Mul(l.onehot, c.Neg(c.perRow(l, c.d(0))))}
}

func jvpNLL(c *Call) []*graph.Value {
	if c.d(2) != nil {
		return pushOf(weightedLoss)(c)
	}
	l, ok := c.labels()
	if !ok {
		return nil
	}
	return []*graph.Value{c.Neg(c.reduceRows(l, c.Mul(l.onehot, c.d(0))))}
}
