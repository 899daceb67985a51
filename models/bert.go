package models

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
)

// bert is BERT with a classifier on the pooled first token, in Hugging Face's form: blocks with normalisation last.
// Inputs input_ids, attention_mask (0: not attended to) and token_type_ids (0 or 1), each int64[N,T], T at most the
// context.
func bert(n *net, o Options) *graph.Value {
	const segments = 2
	n.scheme = bertScheme
	tokens, seen, segment := n.ids("input_ids"), n.ids("attention_mask"), n.ids("token_type_ids")
	path := "bert.embeddings"
	embed := func(name string, rows int, ids *graph.Value) *graph.Value {
		name = path + "." + name
		return n.lookup(name, n.table(name, rows, o.Width), ids)
	}
	x := n.binary(path, "Add", embed("word_embeddings", o.Vocab, tokens), embed("token_type_embeddings", segments, segment))
	x = n.binary(path, "Add", x, embed("position_embeddings", o.Context, n.positions(path, tokens)))
	x = n.bertNorm(path, x)
	mask := n.padding(seen)
	for i := range o.Depth {
		x = n.bertLayer(fmt.Sprintf("bert.encoder.layer.%d", i), x, mask, o.Heads)
	}
	x = n.linear("bert.pooler.dense", n.at("bert.pooler", x, 1, 0), o.Width)
	return n.linear("classifier", n.unary("bert.pooler.activation", "Tanh", x), o.Classes)
}

// bertLayer is attention and a feed-forward net four times as wide, each added to its input and then normalised.
func (n *net) bertLayer(path string, x, mask *graph.Value, heads int) *graph.Value {
	width := size(x, -1)
	var qkv []*graph.Value
	for _, name := range []string{"query", "key", "value"} {
		qkv = append(qkv, n.linear(path+".attention.self."+name, x, width))
	}
	y := n.attention(path+".attention.self", qkv[0], qkv[1], qkv[2], mask, heads)
	y = n.linear(path+".attention.output.dense", y, width)
	x = n.bertNorm(path+".attention.output", n.binary(path+".attention.output", "Add", y, x))
	y = n.linear(path+".intermediate.dense", x, 4*width)
	y = n.linear(path+".output.dense", n.gelu(path+".intermediate.intermediate_act_fn", y), width)
	return n.bertNorm(path+".output", n.binary(path+".output", "Add", y, x))
}

func (n *net) bertNorm(path string, x *graph.Value) *graph.Value {
	return n.layerNorm(path+".LayerNorm", x, 1e-12)
}

// padding makes a mask bool[N,1,1,T] of one int64[N,T].
func (n *net) padding(seen *graph.Value) *graph.Value {
	dims := seen.Type.Dims
	mask := n.op("bert", "Cast", seen.Type.WithElem(graph.Bool), []*graph.Value{seen}, graph.I("to", int64(graph.Bool)))
	wide := graph.TensorType(graph.Bool, dims[0], known(1), known(1), dims[1])
	return n.op("bert", "Unsqueeze", wide, []*graph.Value{mask, n.constant("bert", graph.Ints(1, 2))})
}

// bertScheme draws weights and embeddings from N(0, 0.02²); biases, and the embedding of the padding token 0, are zero.
func bertScheme(l layer) (weight, bias distribution) {
	if l.path == "bert.embeddings.word_embeddings" {
		return first(l.fanOut, normal(0.02)), nil
	}
	return normal(0.02), constant(0)
}
