package precondition

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

// representation is a row of the table of record formats: the blocks of the parameters that it covers. Parameters left
// over get the record's fall-back.
type representation struct {
	Format string
	Solve  string // solve.kind that the row is for; "" is any
	Blocks func(e *engine, g *graph.Graph) []*block
}

var representations = []representation{
	{"none", "", nil},
	{"kf_io", "lie_sgd", lieBlocks},
	{"kf_io", "bfgs", secantBlocks(secantBlock)},
	{"kf_io", "lbfgs", secantBlocks(seededBlock)},
	{"kf_io", "gram", tapBlocks(samplesBlock, nil)},
	{"kf_io", "", tapBlocks(kronBlock, embeddingBlock)},
	{"kfe_io", "", tapBlocks(eigenBlock, nil)},
	{"one_sided", "", tapBlocks(oneSidedBlock, frequencyBlock)},
	{"rank1", "", tapBlocks(rankOneBlock, nil)},
	{"dense", "", tapBlocks(unitsBlock, nil)},
	{"moments", "", tapBlocks(momentsBlock, nil)},
	{"gram", "", tapBlocks(gramBlock, nil)},
	{"lowrank", "", tongaBlocks},
	{"kf_dim", "lie_sgd", whitenBlocks},
	{"kf_dim", "", tensorBlocks},
	{"kfe_dim", "", basisBlocks},
	{"matrix", "", matrixBlocks},
	{"diag", "", elementBlocks},
}

// plan assigns every parameter that follows the record to a block.
func (e *engine) plan(g *graph.Graph) {
	for _, r := range representations {
		if r.Format == e.rec.Representation.Format && (r.Solve == "" || r.Solve == e.rec.Solve.Kind) {
			if r.Blocks != nil {
				e.blocks = r.Blocks(e, g)
			}
			break
		}
	}
	covered := map[*graph.Value]bool{}
	for _, bl := range e.blocks {
		for _, p := range bl.params {
			if p.Record() != e.index {
				panic("BUG: parameter " + p.Name() + " in a block of another record")
			}
			covered[p.Value] = true
		}
	}
	reasons, kinds := uncovered(g), e.fallbackKinds(g)
	for _, p := range e.params(g) {
		if covered[p.Value] {
			continue
		}
		reason := reasons[p.Value]
		if reason == "" {
			reason = e.left[p.Value]
		}
		e.blocks = append(e.blocks, e.fallback(p, cmp.Or(kinds[p.Value], e.rec.Fallback.Other), reason))
	}
}

// params lists the trained parameters that follow the engine's record, in graph order.
func (e *engine) params(g *graph.Graph) []pass.Param {
	return slices.DeleteFunc(pass.Params(g, "param"), func(p pass.Param) bool { return p.Record() != e.index })
}

// layers lists the layers all of whose parameters follow the engine's record, in graph order.
func (e *engine) layers(g *graph.Graph) []pass.Layer {
	return slices.DeleteFunc(pass.LayersOf(g), func(l pass.Layer) bool { return l.Record() != e.index })
}

// tapBlocks makes a block of every captured layer of the record: by matrix for layers with a view, by table for embeddings, and
// units of scale and shift for normalisations.
func tapBlocks(matrix, table func(e *engine, cap *captured) *block) func(e *engine, g *graph.Graph) []*block {
	kinds := map[string]func(e *engine, cap *captured) *block{graph.LayerEmbedding: table}
	for _, k := range viewKinds {
		kinds[k.Kind] = matrix
	}
	for _, k := range []string{graph.LayerBatchNorm, graph.LayerLayerNorm, graph.LayerGroupNorm, graph.LayerRMSNorm} {
		kinds[k] = normBlock
	}
	return func(e *engine, g *graph.Graph) []*block {
		var blocks []*block
		roles := rolesOf(g)
		for _, l := range e.layers(g) {
			if e.rec.Fallback.Head != "" && roles[l.W].head {
				for _, p := range l.Params() {
					e.left[p.Value] = roles[l.W].exempt
				}
				continue
			}
			if cap := e.captures[l.Name]; cap != nil {
				if bl := kinds[l.Kind](e, cap); bl != nil {
					blocks = append(blocks, bl)
				}
			}
		}
		return blocks
	}
}

// uncovered collects the reasons that capture and layers left on Layer tags, by parameter.
func uncovered(g *graph.Graph) map[*graph.Value]string {
	reasons := map[*graph.Value]string{}
	for _, l := range pass.LayersOf(g) {
		for _, p := range []*graph.Value{l.W, l.B} {
			if p != nil && reasons[p] == "" {
				reasons[p] = l.Node.Str("uncovered", "")
			}
		}
	}
	return reasons
}

// fallback is the block of a parameter that the representation does not cover.
func (e *engine) fallback(p pass.Param, kind, reason string) *block {
	bl := &block{name: p.Name(), params: []pass.Param{p}, always: true}
	if kind == "adam" {
		bl = e.adamBlock(p)
	} else {
		bl.apply = func(_ *op.Builder, grads, _, _ []*graph.Value) []*graph.Value { return grads }
	}
	bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: kind}
	if e.rec.Representation.Format == "none" {
		bl.note.Treatment = "gradient"
		return bl
	}
	if reason == "" {
		reason = "no layer pattern covers it"
	}
	bl.note.Fallback, bl.note.Reason = true, reason
	return bl
}

// ownFallbacks are the layer kinds whose parameters have a fall-back setting of their own.
var ownFallbacks = []struct {
	Kind string
	Get  func(method.Fallback) string
}{
	{graph.LayerEmbedding, func(f method.Fallback) string { return f.Embedding }},
	{graph.LayerBatchNorm, func(f method.Fallback) string { return f.Norm }},
	{graph.LayerLayerNorm, func(f method.Fallback) string { return f.Norm }},
	{graph.LayerGroupNorm, func(f method.Fallback) string { return f.Norm }},
	{graph.LayerRMSNorm, func(f method.Fallback) string { return f.Norm }},
}

// fallbackKinds are what the record gives parameters that the representation does not cover, where it is not fallback.other: grad
// or adam.
func (e *engine) fallbackKinds(g *graph.Graph) map[*graph.Value]string {
	kinds := map[*graph.Value]string{}
	for _, l := range pass.LayersOf(g) {
		own := e.ownFallback(l.Kind)
		for _, v := range []*graph.Value{l.W, l.B} {
			if v != nil && own != "" && kinds[v] == "" {
				kinds[v] = own
			}
		}
	}
	if own := e.rec.Fallback.Head; own != "" {
		for v := range heads(g) {
			kinds[v] = own
		}
	}
	return kinds
}

// ownFallback is what the record gives layers of a kind in place of a block: grad, adam, or nothing.
func (e *engine) ownFallback(kind string) string {
	for _, row := range ownFallbacks {
		if own := row.Get(e.rec.Fallback); row.Kind == kind && (own == "grad" || own == "adam") {
			return own
		}
	}
	return ""
}

func names(ps []pass.Param) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Name()
	}
	return out
}

// side is a known dimension of a parameter.
func side(v *graph.Value, axis int) int64 {
	n, ok := v.Type.Dims[axis].Size()
	if !ok {
		panic(fmt.Sprintf("BUG: parameter %s of type %s", v, v.Type))
	}
	return n
}
