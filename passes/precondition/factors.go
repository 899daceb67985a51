package precondition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// tensorBlocks makes a block of every parameter with a factor for each side: for a tensor of k factors, stat_j accumulates
// the gradient contracted with itself over all dimensions but j, and the direction is the gradient multiplied on each such
// dimension by what the solve makes of it: stat_j^(-1/2k) (Shampoo: Gupta, Koren & Singer 2018, algorithms 1 and 2), or
// the inverse of the factors of a tensor-normal covariance (TNT: Ren & Goldfarb 2021).
func tensorBlocks(e *engine, g *graph.Graph) []*block {
	roles := rolesOf(g)
	var blocks []*block
	for _, p := range e.params(g) {
		switch role := roles[p.Value]; {
		case e.rec.Ignores(p.Name()):
			e.left[p.Value] = "representation.ignore lists it"
			continue
		case role.embedding && e.rec.Fallback.Embedding != "", role.head && e.rec.Fallback.Head != "":
			e.left[p.Value] = role.exempt
			continue
		}
		if bl := e.tensorBlock(p); bl != nil {
			blocks = append(blocks, bl)
		}
	}
	return blocks
}

// factorTensor is a parameter with factors. A tile is a part of it with factors of its own.
type factorTensor struct {
	*engine
	param       pass.Param
	shape, view []int64
	cuts        [][]int64
	tiles       []*factorTile
	block       *block
}

type factorTile struct {
	sizes []int64
	sides []factorSide // those with a factor
	order int          // k
	first int          // index of the first side's slot among stats and sols
}

type factorSide struct {
	dim      int
	diagonal bool // the factor is a vector
	basis    int  // index in sols of the eigenvectors, under kernel track; else 0
}

func (e *engine) tensorBlock(p pass.Param) *block {
	shape, ok := p.Value.Type.Static()
	if !ok {
		panic("BUG: parameter " + p.Name() + " of unknown shape")
	}
	view := e.view(shape)
	if view == nil && e.rec.Representation.Vectors == "full" {
		view = []int64{count(shape)}
	}
	if view == nil {
		return e.vectorBlock(p)
	}
	t := &factorTensor{engine: e, param: p, shape: shape, view: view, cuts: e.cuts(view)}
	t.block = &block{name: p.Name(), params: []pass.Param{p}, guard: true, observe: t.observe, apply: t.apply}
	t.slots()
	bl := t.block
	if e.rec.Apply.Graft == "adam" {
		bl.graft = e.elementBlock(p, elementRule{kind: "ema", beta2: graftBeta, debias: true, eps: func() *graph.Value { return e.b.Float(e.elem, 1e-8) }})
	}
	if e.rec.Solve.Kernel == "track" {
		bl.renew = t.renew
	} else {
		bl.solve = t.solve
	}
	bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: t.describe()}
	return bl
}

// slots lays out the state, and lists the functions that solves call.
func (t *factorTensor) slots() {
	bl, rec := t.block, t.rec
	tiles := product(t.cuts)
	var bases []slot
	for i, sizes := range tiles {
		tile := &factorTile{sizes: sizes, first: len(bl.stats)}
		t.tiles = append(t.tiles, tile)
		for d, n := range sizes {
			if rec.Preset == "asdl" {
				tile.order++
			}
			s := factorSide{dim: d, diagonal: !t.hasFactor(n)}
			if s.diagonal && rec.Representation.OnExceed != "diagonal" || n == 1 && (d > 0 || slices.Max(sizes) > 1) { // a single element has one factor
				continue
			}
			if rec.Preset != "asdl" {
				tile.order++
			}
			suffix, shape := fmt.Sprint(d), []int64{n, n}
			if len(tiles) > 1 {
				suffix = fmt.Sprintf("%d.%d", i, d)
			}
			start, unit := "eye", "eye"
			if s.diagonal {
				shape, start, unit = []int64{n}, "ones", "ones"
			}
			if rec.Accumulate.Init == 0 {
				start = "zeros"
			}
			bl.stats = append(bl.stats, slot{"stat" + suffix, shape, start, rec.Accumulate.Init, "curvature"})
			bl.sols = append(bl.sols, slot{"root" + suffix, shape, unit, 1, "curvature"})
			if rec.Solve.Kernel == "track" && !s.diagonal {
				bases = append(bases, slot{"basis" + suffix, shape, "eye", 1, "curvature"})
				s.basis = len(bases) // index among them from 1, for now
			}
			tile.sides = append(tile.sides, s)
		}
		if len(tile.sides) > 0 && rec.Solve.Kind == "root" {
			bl.roots = append(bl.roots, t.root(tile))
		}
	}
	for _, tile := range t.tiles {
		for j := range tile.sides {
			if s := &tile.sides[j]; s.basis > 0 {
				s.basis += len(bl.sols) - 1
			}
		}
	}
	if len(bases) > 0 {
		bl.texts = []string{basisFunctions()}
	}
	bl.sols = append(bl.sols, bases...)
}

// gradients are those that the statistics are made of: the training gradient, or sums over the batch under sampled labels.
func (t *factorTensor) gradients() []*graph.Value {
	if t.rec.Curvature.Source == "batch" {
		return []*graph.Value{t.grads[t.param.Value]}
	}
	var list []*graph.Value
	for _, draw := range t.quantities[quantity{t.param.Name(), graph.CaptureSampled}] {
		list = append(list, draw[0])
	}
	return list
}

// observe is the second moment of each side. Gradients of sampled labels are independent and have mean zero, so that the
// second moment of their sum over the batch is the batch size times that of one (Ren & Goldfarb 2021).
func (t *factorTensor) observe(b *op.Builder, lv *live) []*graph.Value {
	stats := make([]*graph.Value, len(t.block.stats))
	draws := t.gradients()
	for _, g := range draws {
		for i, part := range t.split(b, g, t.shape, t.view, t.cuts) {
			tile := t.tiles[i]
			for j, s := range tile.sides {
				stats[tile.first+j] = plus(b, stats[tile.first+j], t.moment(b, part, tile, s, lv.sols))
			}
		}
	}
	if t.rec.Curvature.Source == "batch" {
		return stats
	}
	divisor := b.Scale(t.dataSize(), float64(len(draws)))
	for i := range stats {
		stats[i] = b.Div(stats[i], divisor)
	}
	return stats
}

// moment is the second moment of one side of x; under fit kl of x whitened on the others by their solutions, per column.
func (t *factorTensor) moment(b *op.Builder, x *graph.Value, tile *factorTile, s factorSide, sols []*graph.Value) *graph.Value {
	y := x
	if t.rec.Representation.Fit == "kl" {
		for k, other := range tile.sides {
			if other.dim != s.dim {
				y = t.times(b, y, tile, k, sols)
			}
		}
		if t.rec.Solve.Kind == "root" { // the solution is a root of what whitens
			x = y
		}
	}
	m := t.pairs(b, x, y, s)
	if t.rec.Representation.Fit == "kl" {
		m = b.Scale(m, float64(tile.sizes[s.dim])/float64(count(tile.sizes)))
	}
	return m
}

// pairs contracts x with y on all dimensions but that of s.
func (t *factorTensor) pairs(b *op.Builder, x, y *graph.Value, s factorSide) *graph.Value {
	if s.diagonal {
		var others []int64
		for i := range x.Type.Rank() {
			if i != s.dim {
				others = append(others, int64(i))
			}
		}
		if others == nil {
			return b.Mul(x, y)
		}
		return b.Sum(b.Mul(x, y), others...)
	}
	m := b.Gemm(t.rows(b, x, s.dim), t.rows(b, y, s.dim), false, true)
	if x == y {
		return m
	}
	return b.Scale(b.Add(m, b.Swap(m)), 0.5) // symmetric but for rounding
}

// rows is unfold, of a vector its one column.
func (t *factorTensor) rows(b *op.Builder, x *graph.Value, d int) *graph.Value {
	if x.Type.Rank() == 1 {
		return b.Unsqueeze(x, 1)
	}
	return unfold(b, x, d)
}

// times multiplies x by the solution of the tile's side k.
func (t *factorTensor) times(b *op.Builder, x *graph.Value, tile *factorTile, k int, sols []*graph.Value) *graph.Value {
	s, m := tile.sides[k], sols[tile.first+k]
	if s.diagonal {
		return b.Mul(x, along(b, m, x.Type.Rank(), s.dim))
	}
	return multiply(b, x, m, s.dim)
}

func (t *factorTensor) apply(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
	directions := t.split(b, grads[0], t.shape, t.view, t.cuts)
	for i, tile := range t.tiles {
		directions[i] = t.whitened(b, directions[i], tile, sols)
	}
	return []*graph.Value{t.join(b, directions, t.shape, t.view, t.cuts)}
}

// smallSides bounds the product of sides that are multiplied by at once.
const smallSides = 64

// whitened multiplies x by the solutions of all sides of the tile. Those of the last sides, where they are as small as a filter's
// height and width, are one Kronecker product: x stays as it lies in memory.
func (t *factorTensor) whitened(b *op.Builder, x *graph.Value, tile *factorTile, sols []*graph.Value) *graph.Value {
	first, size := len(tile.sides), int64(1)
	for first > 0 {
		s := tile.sides[first-1]
		if s.diagonal || s.dim != len(tile.sizes)-1-(len(tile.sides)-first) || size*tile.sizes[s.dim] > smallSides {
			break
		}
		first, size = first-1, size*tile.sizes[s.dim]
	}
	if len(tile.sides)-first > 1 {
		k := sols[tile.first+first]
		for j := first + 1; j < len(tile.sides); j++ {
			k = kronecker(b, k, sols[tile.first+j])
		}
		x = b.Reshape(b.MatMul(b.Reshape(x, -1, size), k), tile.sizes...)
	} else {
		first = len(tile.sides)
	}
	for k := range first {
		x = t.times(b, x, tile, k, sols)
	}
	return x
}

// kronecker is the Kronecker product of two square matrices.
func kronecker(b *op.Builder, x, y *graph.Value) *graph.Value {
	m, n := side(x, 0), side(y, 0)
	product := b.Mul(b.Reshape(x, m, 1, m, 1), b.Reshape(y, 1, n, 1, n))
	return b.Reshape(product, m*n, m*n)
}

// graftBeta is the decay of the second moment of the Adam that norms are taken from.
const graftBeta = 0.999

// vectorBlock treats tensors of one dimension (or with a single side): AdaGrad's diagonal with the same accumulation,
// or the plain gradient.
func (e *engine) vectorBlock(p pass.Param) *block {
	if e.rec.Representation.Vectors != "diag" {
		return nil
	}
	acc := e.rec.Accumulate
	rule := elementRule{
		kind: acc.Kind, beta2: acc.Beta, debias: acc.Debias,
		eps: func() *graph.Value { return e.b.Float(e.elem, 1e-8) },
	}
	treatment := "diagonal (a tensor of one dimension)"
	if e.rec.Apply.Graft == "adam" {
		// With the norms of matrices taken from Adam, the learning rate is Adam's: a sum of squares would slow vectors
		// down more and more beside them.
		rule.kind, rule.beta2, rule.debias = "ema", graftBeta, true
		treatment = "diagonal, Adam's (a tensor of one dimension)"
	}
	bl := e.elementBlock(p, rule)
	bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: treatment}
	return bl
}

func (t *factorTensor) describe() string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%d factors of %v", len(t.block.stats), t.view)
	for d, c := range t.cuts {
		if len(c) > 1 {
			fmt.Fprintf(&sb, ", side %d in %d blocks", d, len(c))
		}
	}
	for _, tile := range t.tiles {
		for _, s := range tile.sides {
			if s.diagonal {
				fmt.Fprintf(&sb, ", side %d diagonal", s.dim)
			}
		}
	}
	return sb.String()
}

// grafted scales a direction to the norm of another method's (Anil et al., arXiv:2002.09018): of the gradient, or of
// Adam's direction without momentum. A norm that overflows makes no step.
func (e *engine) grafted(b *op.Builder, d, other *graph.Value) *graph.Value {
	tiny := b.Float(e.elem, 1e-30)
	norm := func(x *graph.Value) *graph.Value { return b.Reduce("ReduceL2", x, false) }
	ratio := b.Div(norm(other), b.Op("Max", []*graph.Value{norm(d), tiny}))
	scaled := b.Mul(d, ratio)
	if e.rec.Guards.Finite {
		return b.Where(e.finite(b, ratio), scaled, b.Float(e.elem, 0))
	}
	return scaled
}
