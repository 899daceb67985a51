package models

import (
	"fmt"
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
)

// gpt is GPT-2: learned positions, blocks with normalisation first, GELU by its tanh formula, and the table of tokens as
// the last layer. Input "input" int64[N,T], T at most the context, output float[N,T,vocab]: row t predicts token t+1.
func gpt(n *net, o Options) *graph.Value {
	const epsilon = 1e-5
	residual := 0.02 / math.Sqrt(float64(2*o.Depth)) // Radford et al. 2019, section 2.3: by the number of residual layers
	n.scheme = func(l layer) (weight, bias distribution) {
		if strings.HasSuffix(l.path, ".c_proj") {
			return normal(residual), constant(0)
		}
		return normal(0.02), constant(0)
	}
	tokens := n.ids("input")
	root := "transformer"
	table := n.table(root+".wte", o.Vocab, o.Width)
	position := n.positions(root, tokens)
	x := n.lookup(root+".wte", table, tokens)
	x = n.binary(root, "Add", x, n.lookup(root+".wpe", n.table(root+".wpe", o.Context, o.Width), position))
	mask := n.causal(root, position)
	for i := range o.Depth {
		path := fmt.Sprintf("%s.h.%d", root, i)
		y := n.fusedAttention(path+".attn", "c_attn", "c_proj", n.layerNorm(path+".ln_1", x, epsilon), mask, o.Heads)
		x = n.binary(path, "Add", x, y)
		y = n.linear(path+".mlp.c_fc", n.layerNorm(path+".ln_2", x, epsilon), 4*o.Width)
		y = n.linear(path+".mlp.c_proj", n.geluTanh(path+".mlp.gelu", y), o.Width)
		x = n.binary(path, "Add", x, y)
	}
	return n.product("lm_head", n.layerNorm(root+".ln_f", x, epsilon), table)
}

// causal is the mask bool[T,T] that lets a position see itself and what is before it.
func (n *net) causal(path string, positions *graph.Value) *graph.Value {
	t := positions.Type.Dims[0]
	column := graph.TensorType(graph.Int64, t, known(1))
	queries := n.op(path, "Unsqueeze", column, []*graph.Value{positions, n.constant(path, graph.Ints(1))})
	return n.op(path, "GreaterOrEqual", graph.TensorType(graph.Bool, t, t), []*graph.Value{queries, positions})
}
