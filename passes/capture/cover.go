package capture

import (
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// block is a set of parameters with one statistic: a layer, or several uses of one (tied weights).
type block struct {
	Layers []pass.Layer
	Record int // index of the record that it follows
}

// form is a row of the table of layer kinds that Kronecker-type statistics of inputs and output gradients serve.
type form struct {
	Kind string
	// Refuse gives the reason why a layer of the kind is not served, or "".
	Refuse func(rec method.Record, l pass.Layer) string
}

var forms = []form{
	{graph.LayerLinear, refuseSides},
	{graph.LayerConv, refuseSides},
	{graph.LayerConvT, refuseSides},
	{graph.LayerBatchNorm, refuseNorm},
	{graph.LayerLayerNorm, refuseNorm},
	{graph.LayerGroupNorm, refuseNorm},
	{graph.LayerRMSNorm, refuseNorm},
	{graph.LayerEmbedding, refuseEmbedding},
}

// refuseEmbedding has no look at max_side: the factor of the tokens is diagonal.
func refuseEmbedding(rec method.Record, _ pass.Layer) string {
	switch f := rec.Representation.Format; {
	case rec.Fallback.Embedding != "kron":
		return "fallback.embedding is " + rec.Fallback.Embedding
	case f != "kf_io" && f != "one_sided" || rec.Solve.Kind == "gram" || rec.Curvature.Source == "recursive":
		return "the method has no statistic for embeddings"
	}
	return ""
}

// refuseSides tells whether a factor of the layer would be larger than representation.max_side.
func refuseSides(rec method.Record, l pass.Layer) string {
	limit := int64(rec.Representation.MaxSide)
	shape, ok := l.W.Type.Static()
	if limit == 0 || !ok {
		return ""
	}
	first, rest := shape[0], int64(1) // [outputs, inputs a group], or the other way round
	for _, n := range shape[1:] {
		rest *= n
	}
	group := l.Node.Int("group", 1)
	if l.Kind == graph.LayerConvT {
		first, rest = shape[1], rest/shape[1]*shape[0]/group
	} else {
		first /= group
	}
	if rec.Representation.Format == "one_sided" {
		first = 0
	}
	if side := max(first, rest); side > limit {
		return fmt.Sprintf("a factor of side %d is larger than representation.max_side=%d", side, limit)
	}
	return ""
}

func refuseNorm(rec method.Record, _ pass.Layer) string {
	switch {
	case rec.Fallback.Norm != "unit" && rec.Fallback.Norm != "gram":
		return "fallback.norm is " + rec.Fallback.Norm
	case rec.Curvature.Source == "none" || rec.Curvature.Source == "recursive":
		return "the method has no statistic for normalisations"
	}
	return ""
}

// unitBytes is the memory of a layer's dense blocks, one o for each output and of side i+, and their inverses.
func unitBytes(l pass.Layer) int64 {
	shape, ok := l.W.Type.Static()
	if !ok || slices.Contains([]string{graph.LayerBatchNorm, graph.LayerLayerNorm, graph.LayerGroupNorm, graph.LayerRMSNorm}, l.Kind) {
		return 0
	}
	count := int64(1)
	for _, n := range shape {
		count *= n
	}
	units := shape[0]
	if l.Kind == graph.LayerConvT {
		units = shape[1] * l.Node.Int("group", 1)
	} else if l.Node.Str("layout", "") == "io" {
		units = shape[1]
	}
	in := count / units
	if l.B != nil {
		in++
	}
	return 2 * units * in * in * int64(l.W.Type.Elem.Size())
}

func refuse(rec method.Record, l pass.Layer) string {
	if rec.Ignores(l.Name) {
		return "representation.ignore lists it"
	}
	if rec.Curvature.Source == "secant" && l.Node.Int("group", 1) > 1 {
		return "secant pairs are of one input and one output factor, and the layer has groups"
	}
	for _, f := range forms {
		if f.Kind == l.Kind {
			return f.Refuse(rec, l)
		}
	}
	return "layers of kind " + l.Kind + " have no Kronecker factors"
}

// cover lists the blocks that get statistics of inputs and output gradients; for records of other representations there
// are none. Layers left out are given the reason in the attribute "uncovered".
func cover(g *graph.Graph, records []method.Record) []block {
	layers := pass.LayersOf(g)
	owner := owners(layers)
	byWeight := map[*graph.Value]int{}
	seen := map[*graph.Value]bool{}
	left := make([]int64, len(records)) // of the memory of dense blocks
	for i, r := range records {
		left[i] = int64(r.Representation.MaxBytes)
	}
	var blocks []block
	for _, l := range layers {
		i := l.Record()
		if i >= 0 && !records[i].Tapped() {
			continue
		}
		reason := l.Node.Str("uncovered", "") // by the pass layers
		if reason == "" && i < 0 {
			reason = "its parameters have methods of their own"
		}
		if reason == "" {
			reason = refuse(records[i], l)
		}
		if reason == "" {
			reason = clash(layers, owner, l)
		}
		if reason == "" && records[i].Representation.MaxBytes > 0 && !seen[l.Params()[0].Value] {
			if bytes := unitBytes(l); bytes > left[i] {
				reason = fmt.Sprintf("dense blocks of %d bytes are more than what is left of representation.max_bytes=%d", bytes, records[i].Representation.MaxBytes)
			} else {
				left[i] -= bytes
			}
		}
		if reason != "" {
			l.Node.SetAttr(graph.S("uncovered", reason))
			continue
		}
		first := l.Params()[0].Value
		if i, ok := byWeight[first]; ok {
			blocks[i].Layers = append(blocks[i].Layers, l)
			continue
		}
		byWeight[first], seen[first] = len(blocks), true
		blocks = append(blocks, block{[]pass.Layer{l}, i})
	}
	return chains(g, records, blocks)
}

// owners maps each parameter to the layers that use it.
func owners(layers []pass.Layer) map[*graph.Value][]pass.Layer {
	m := map[*graph.Value][]pass.Layer{}
	for _, l := range layers {
		for _, p := range []*graph.Value{l.W, l.B} {
			if p != nil {
				m[p] = append(m[p], l)
			}
		}
	}
	return m
}

// clash tells why parameters of l that other places use too cannot share one statistic.
func clash(layers []pass.Layer, owner map[*graph.Value][]pass.Layer, l pass.Layer) string {
	for _, p := range []*graph.Value{l.W, l.B} {
		if p == nil {
			continue
		}
		for _, o := range owner[p] {
			if o.Kind != l.Kind || o.W != l.W || o.B != l.B || o.Node.Str("layout", "") != l.Node.Str("layout", "") {
				return fmt.Sprintf("parameter %s is tied between %s (%s) and %s (%s)", name(p), l.Name, l.Kind, o.Name, o.Kind)
			}
		}
		if countUses(p) > len(owner[p]) {
			return fmt.Sprintf("parameter %s is also used outside layers", name(p))
		}
	}
	return ""
}

func name(p *graph.Value) string {
	if t, ok := pass.ParamOf(p); ok {
		return t.Name()
	}
	return p.Name
}

// countUses counts the computations that use p: the layers' own operators and others; Layer tags themselves, requests
// and tags of gradients do not count.
func countUses(p *graph.Value) int {
	n := 0
	for _, u := range p.Uses() {
		if u.Node.Domain != graph.Asdl {
			n++
		}
	}
	return n
}
