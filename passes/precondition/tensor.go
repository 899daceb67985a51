package precondition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// tensorBlocks makes a Shampoo block of every parameter: for a tensor of k factors, stat_j accumulates the gradient
// contracted with itself over all dimensions but j, and the direction is the gradient multiplied on each such dimension
// by stat_j^(-1/2k) (Gupta, Koren & Singer 2018, algorithms 1 and 2).
func tensorBlocks(e *engine, g *graph.Graph) []*block {
	var blocks []*block
	for _, p := range e.params(g) {
		if e.rec.Ignores(p.Name()) {
			continue
		}
		if bl := e.tensorBlock(p); bl != nil {
			blocks = append(blocks, bl)
		}
	}
	return blocks
}

// tile is a part of a parameter seen as a tensor, with a factor on some of its dimensions.
type tile struct {
	factors []int // dimensions that have a factor
	order   int   // the root is 1/(2 order) of the inverse
	first   int   // index of its first slot
}

func (e *engine) tensorBlock(p pass.Param) *block {
	shape, ok := p.Value.Type.Static()
	if !ok {
		panic("BUG: parameter " + p.Name() + " of unknown shape")
	}
	view := e.view(shape)
	if view == nil {
		return e.vectorBlock(p)
	}
	cuts := e.cuts(view)
	many := len(product(cuts)) > 1
	initial := "eye"
	if e.rec.Accumulate.Init == 0 {
		initial = "zeros"
	}
	bl := &block{name: p.Name(), params: []pass.Param{p}}
	var tiles []tile
	for _, sizes := range product(cuts) {
		t := tile{first: len(bl.stats), order: 0}
		for d, n := range sizes {
			if e.rec.Preset == "asdl" {
				t.order++
			}
			if !e.hasFactor(n) || n == 1 && (d > 0 || slices.Max(sizes) > 1) { // a single element has one factor
				continue
			}
			if e.rec.Preset != "asdl" {
				t.order++
			}
			t.factors = append(t.factors, d)
			suffix := fmt.Sprint(d)
			if many {
				suffix = fmt.Sprintf("%d.%d", len(tiles), d)
			}
			bl.stats = append(bl.stats, slot{"stat" + suffix, []int64{n, n}, initial, e.rec.Accumulate.Init, "curvature"})
			bl.sols = append(bl.sols, slot{"root" + suffix, []int64{n, n}, "eye", 1, "curvature"})
		}
		if len(t.factors) > 0 {
			bl.roots = append(bl.roots, 2*t.order)
		}
		tiles = append(tiles, t)
	}
	if e.rec.Apply.Graft == "adam" {
		bl.graft = e.elementBlock(p, elementRule{kind: "ema", beta2: graftBeta, debias: true, eps: func() *graph.Value { return e.b.Float(e.elem, 1e-8) }})
	}
	bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: describe(view, cuts, bl.stats)}
	parts := func(b *op.Builder) []*graph.Value { return e.split(b, e.grads[p.Value], shape, view, cuts) }
	bl.fresh = func(b *op.Builder) []*graph.Value {
		var stats []*graph.Value
		for i, part := range parts(b) {
			for _, d := range tiles[i].factors {
				m := unfold(b, part, d)
				stats = append(stats, b.Gemm(m, m, false, true))
			}
		}
		return stats
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) (roots, damped []*graph.Value) {
		for _, t := range tiles {
			for j := range t.factors {
				root, kept := e.inverseRoot(b, stats[t.first+j], 2*t.order)
				roots, damped = append(roots, root), append(damped, kept)
			}
		}
		if !e.rec.Solve.Damping.Keep {
			damped = nil
		}
		return roots, damped
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		directions := e.split(b, grads[0], shape, view, cuts)
		for i, t := range tiles {
			for j, d := range t.factors {
				directions[i] = multiply(b, directions[i], sols[t.first+j], d)
			}
		}
		return []*graph.Value{e.join(b, directions, shape, view, cuts)}
	}
	return bl
}

// view is the shape in which a parameter is preconditioned; nil for vectors.
func (e *engine) view(shape []int64) []int64 {
	if len(shape) < 2 {
		return nil
	}
	if e.rec.Representation.Sides == "modes" {
		return shape
	}
	rest := int64(1)
	for _, n := range shape[1:] {
		rest *= n
	}
	if shape[0] == 1 || rest == 1 {
		return nil
	}
	return []int64{shape[0], rest}
}

// hasFactor reports whether a side of size n gets a factor.
func (e *engine) hasFactor(n int64) bool {
	r := e.rec.Representation
	return r.MaxSide == 0 || n <= int64(r.MaxSide)
}

// cuts divides each side into nearly equal parts of at most max_side, under on_exceed split.
func (e *engine) cuts(view []int64) [][]int64 {
	r := e.rec.Representation
	cuts := make([][]int64, len(view))
	for d, n := range view {
		parts := int64(1)
		if r.MaxSide > 0 && r.OnExceed != "identity" {
			parts = (n + int64(r.MaxSide) - 1) / int64(r.MaxSide)
		}
		for i := range parts {
			cuts[d] = append(cuts[d], n*(i+1)/parts-n*i/parts)
		}
	}
	return cuts
}

// product lists the shapes of the tiles, the last dimension running fastest.
func product(cuts [][]int64) [][]int64 {
	tiles := [][]int64{{}}
	for _, sizes := range cuts {
		var next [][]int64
		for _, t := range tiles {
			for _, n := range sizes {
				next = append(next, append(append([]int64{}, t...), n))
			}
		}
		tiles = next
	}
	return tiles
}

// split cuts a gradient into tiles, in the order of product.
func (e *engine) split(b *op.Builder, g *graph.Value, shape, view []int64, cuts [][]int64) []*graph.Value {
	if len(shape) != len(view) {
		g = b.Reshape(g, view...)
	}
	parts := []*graph.Value{g}
	for d, sizes := range cuts {
		if len(sizes) == 1 {
			continue
		}
		var next []*graph.Value
		for _, p := range parts {
			next = append(next, b.Split(p, int64(d), sizes...)...)
		}
		parts = next
	}
	return parts
}

// join is the inverse of split.
func (e *engine) join(b *op.Builder, parts []*graph.Value, shape, view []int64, cuts [][]int64) *graph.Value {
	for d := len(cuts) - 1; d >= 0; d-- {
		n := len(cuts[d])
		var next []*graph.Value
		for i := 0; i < len(parts); i += n {
			next = append(next, b.Concat(int64(d), parts[i:i+n]...))
		}
		parts = next
	}
	if len(shape) != len(view) {
		return b.Reshape(parts[0], shape...)
	}
	return parts[0]
}

// unfold is the matrix whose rows run over dimension d of x.
func unfold(b *op.Builder, x *graph.Value, d int) *graph.Value {
	rank := x.Type.Rank()
	if d != 0 {
		x = b.Transpose(x, toFront(rank, d)...)
	}
	if rank == 2 {
		return x
	}
	return b.Reshape(x, side(x, 0), -1)
}

// multiply contracts dimension d of x with the symmetric matrix m.
func multiply(b *op.Builder, x, m *graph.Value, d int) *graph.Value {
	rank := x.Type.Rank()
	switch {
	case rank == 2 && d == 0:
		return b.MatMul(m, x)
	case d == rank-1:
		return b.MatMul(x, m)
	}
	perm := toFront(rank, d)
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	front := b.Transpose(x, perm...)
	shape, _ := front.Type.Static()
	y := b.MatMul(m, b.Reshape(front, shape[0], -1))
	return b.Transpose(b.Reshape(y, shape...), back...)
}

func toFront(rank, d int) []int64 {
	perm := []int64{int64(d)}
	for i := range rank {
		if i != d {
			perm = append(perm, int64(i))
		}
	}
	return perm
}

// inverseRoot is (m + damping)^(-1/p), and the damped matrix.
func (e *engine) inverseRoot(b *op.Builder, m *graph.Value, p int) (root, damped *graph.Value) {
	damped = m
	s := e.rec.Solve
	lambda := e.damping()
	switch s.Damping.Kind {
	case "rel":
		damped = b.Add(m, b.Mul(eye(b, m), b.Mul(lambda, e.largest(b, m))))
	case "iso":
		damped = b.Add(m, b.Mul(eye(b, m), lambda))
	}
	if e.eigen(m) {
		return call(b, eigenRootFunction(p), damped), damped
	}
	tol := s.Tolerance
	if tol == 0 {
		tol = 1e-6
	}
	return call(b, newtonRootFunction(p), damped, graph.I("p", int64(p)), graph.I("iterations", int64(max(1, s.Iterations))), graph.F("tol", float32(tol))), damped
}

// eigenSide is the largest side for which kernel auto takes the eigendecomposition.
const eigenSide = 16

func (e *engine) eigen(m *graph.Value) bool {
	k := e.rec.Solve.Kernel
	return k == "eigen" || (k == "auto" || k == "") && side(m, 0) <= eigenSide
}

// largest is the largest eigenvalue of m: its bound by absolute row sums, or, as ASDL does, by power iteration from a
// random start.
func (e *engine) largest(b *op.Builder, m *graph.Value) *graph.Value {
	if e.rec.Preset != "asdl" {
		return b.Reduce("ReduceMax", b.Reduce("ReduceL1", m, false, 1), false)
	}
	u := e.b.Tag(graph.TagNoise, []*graph.Value{e.b.Ints(side(m, 0))}, graph.S("name", fmt.Sprintf("start/%d", e.starts)), graph.S("kind", "uniform"),
		graph.I("draw", 0), graph.I("dtype", int64(e.elem)))
	e.starts++
	start := b.Sub(b.Scale(u, 2), b.Float(e.elem, 1))
	return b.Call("PowerIteration", 1, []*graph.Value{m, start}, graph.I("iterations", 100), graph.F("tol", 1e-6))[0]
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

func describe(view []int64, cuts [][]int64, stats []slot) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%d factors of %v", len(stats), view)
	for d, c := range cuts {
		if len(c) > 1 {
			fmt.Fprintf(&sb, ", side %d in %d blocks", d, len(c))
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
