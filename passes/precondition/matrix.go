package precondition

import (
	"fmt"
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// matrixBlocks makes a Muon block of every hidden matrix (Jordan et al. 2024): momentum M <- beta M + (1-beta) G, direction
// the polar factor of M, or of beta M + (1-beta) G (Nesterov), times apply.lr_scale. Vectors, embeddings and the head are
// left to the fall-back.
func matrixBlocks(e *engine, g *graph.Graph) []*block {
	roles := rolesOf(g)
	var blocks []*block
	for _, p := range e.params(g) {
		shape, _ := p.Value.Type.Static()
		switch view := e.view(shape); {
		case e.rec.Ignores(p.Name()):
			e.left[p.Value] = "representation.ignore lists it"
		case view == nil:
			e.left[p.Value] = "a vector"
		case roles[p.Value].exempt != "":
			e.left[p.Value] = roles[p.Value].exempt
		default:
			blocks = append(blocks, e.matrixBlock(p, shape, view, roles[p.Value].swapped))
		}
	}
	return blocks
}

func (e *engine) matrixBlock(p pass.Param, shape, view []int64, swapped bool) *block {
	rec := e.rec
	cuts := e.cuts(view)
	_, steps := polarTable(rec.Solve.Kernel, rec.Solve.Iterations)
	bl := &block{name: p.Name(), params: []pass.Param{p}, always: true, guard: true, texts: []string{polarText(steps)}}
	beta := rec.Apply.Beta
	if beta != 0 {
		bl.stats = []slot{{name: "m", shape: shape, init: "zeros", kind: "optimizer"}}
		bl.next = func(b *op.Builder, stats []*graph.Value) []*graph.Value {
			return []*graph.Value{e.moving(b, stats[0], e.grads[p.Value], beta)}
		}
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		u := grads[0]
		if beta != 0 {
			u = stats[0]
		}
		if rec.Apply.Nesterov {
			u = e.moving(b, u, grads[0], beta)
		}
		tiles := e.split(b, u, shape, view, cuts)
		for i, t := range tiles {
			o, n := side(t, 0), side(t, 1)
			if swapped {
				o, n = n, o
			}
			tiles[i] = b.Scale(polar(b, t, rec.Solve.Kernel, rec.Solve.Iterations), lrScale(rec.Apply.LRScale, o, n))
		}
		return []*graph.Value{e.join(b, tiles, shape, view, cuts)}
	}
	bl.note = pass.LayerNote{
		Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()},
		Treatment: fmt.Sprintf("polar factor of %v, %d steps of %s", view, steps, rec.Solve.Kernel),
	}
	if n := len(product(cuts)); n > 1 {
		bl.note.Treatment += fmt.Sprintf(", in %d blocks", n)
	}
	return bl
}

// moving is beta old + (1-beta) new.
func (e *engine) moving(b *op.Builder, old, x *graph.Value, beta float64) *graph.Value {
	return b.Add(b.Scale(old, beta), b.Scale(x, 1-beta))
}

// lrScale is the factor on a direction with singular values of 1, for a layer of o outputs and i inputs: keller keeps the
// root-mean-square change of the outputs, moonlight gives the direction the root-mean-square entry 0.2 of AdamW's; sides is for
// directions of signs (Frans et al. 2025).
func lrScale(kind string, o, i int64) float64 {
	switch kind {
	case "keller":
		return math.Sqrt(math.Max(1, float64(o)/float64(i)))
	case "moonlight":
		return 0.2 * math.Sqrt(float64(max(o, i)))
	case "sides":
		return 2 / float64(o+i)
	}
	return 1
}
