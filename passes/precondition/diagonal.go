package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// elementRule is an element-wise method: the direction m/(sqrt(v)+eps) with v the sum or EMA of squared gradients and m
// the gradient or an EMA of it (Duchi et al. 2011; Kingma & Ba 2015). EMAs are debiased by 1/(1-beta^t).
type elementRule struct {
	kind         string  // ema or sum
	beta1, beta2 float64 // of m (0: m is the gradient) and v
	debias       bool
	eps          func() *graph.Value
}

// diagonalBlocks covers every parameter with the record's element-wise rule.
func diagonalBlocks(e *engine, g *graph.Graph) []*block {
	rule := elementRule{
		kind: e.rec.Accumulate.Kind, beta1: e.rec.Apply.Beta, beta2: e.rec.Accumulate.Beta, debias: e.rec.Accumulate.Debias,
		eps: e.damping,
	}
	var blocks []*block
	for _, p := range e.params(g) {
		if e.rec.Ignores(p.Name()) {
			continue
		}
		bl := e.elementBlock(p, rule)
		bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: "diagonal"}
		blocks = append(blocks, bl)
	}
	return blocks
}

// adamBlock is the fall-back with Adam's defaults and its own learning rate, the input fallback_lr.
func (e *engine) adamBlock(p pass.Param) *block {
	bl := e.elementBlock(p, elementRule{
		kind: "ema", beta1: 0.9, beta2: 0.999, debias: true,
		eps: func() *graph.Value { return e.b.Float(e.elem, 1e-8) },
	})
	bl.rule = "adam"
	return bl
}

// elementBlock keeps v and, with beta1, m.
func (e *engine) elementBlock(p pass.Param, rule elementRule) *block {
	shape, ok := p.Value.Type.Static()
	if !ok {
		panic("BUG: parameter " + p.Name() + " of unknown shape")
	}
	bl := &block{name: p.Name(), params: []pass.Param{p}, always: true, squares: true, held: e.rec.Guards.Finite}
	bl.stats = []slot{{name: "v", shape: shape, init: "zeros", kind: "optimizer"}}
	if rule.beta1 != 0 {
		bl.stats = append(bl.stats, slot{name: "m", shape: shape, init: "zeros", kind: "optimizer"})
	}
	bl.next = func(b *op.Builder, stats []*graph.Value) []*graph.Value {
		g := e.orZero(b, e.grads[p.Value])
		v := b.Square(g)
		if rule.kind == "ema" {
			v = b.Add(e.decayed(b, stats[0], rule.beta2), b.Scale(v, 1-rule.beta2))
		} else {
			v = b.Add(stats[0], v)
		}
		next := []*graph.Value{v}
		if rule.beta1 != 0 {
			next = append(next, b.Add(e.decayed(b, stats[1], rule.beta1), b.Scale(g, 1-rule.beta1)))
		}
		return next
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		m, v := grads[0], stats[0]
		if rule.beta1 != 0 {
			m = stats[1]
			if rule.debias {
				m = b.Div(m, e.bias(rule.beta1))
			}
		}
		if rule.kind == "ema" && rule.debias {
			v = b.Div(v, e.bias(rule.beta2))
		}
		return []*graph.Value{b.Div(m, b.Add(b.Sqrt(v), rule.eps()))}
	}
	return bl
}

// biasOf is a moving average: its decay, and the leading steps that it leaves out.
type biasOf struct {
	beta    float64
	skipped int64
}

// bias is 1 - beta^(step+1), computed in float64 because a float32 one loses half its digits on the first steps.
func (e *engine) bias(beta float64) *graph.Value { return e.biasAfter(beta, 0) }

// biasAfter is 1 - beta^t for t gradients, one a step from the one of number skipped on; at least one.
func (e *engine) biasAfter(beta float64, skipped int64) *graph.Value {
	if v, ok := e.biases[biasOf{beta, skipped}]; ok {
		return v
	}
	b := e.b
	count := b.Add(e.stepValue(), b.Int(1-skipped))
	if skipped > 0 {
		count = b.Op("Max", []*graph.Value{count, b.Int(1)})
	}
	t := b.Cast(count, graph.Float64)
	v := b.Cast(b.Sub(b.Float(graph.Float64, 1), b.Op("Pow", []*graph.Value{b.Float(graph.Float64, beta), t})), e.elem)
	e.biases[biasOf{beta, skipped}] = v
	return v
}
