package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// basisBlocks makes a block of every tensor that works in the eigenbases Q of the second moments of its sides: the gradient
// is turned into them, G' = Q_1^T G Q_2 (and so on for more sides), divided or taken the sign of there, and turned back.
//
//	divide  Adam in the basis: SOAP (Vyas et al. 2024, algorithm 3)
//	root    by eigenvalues of each side that follow every step: KL-Shampoo (Lin et al. 2025)
//	sign    SPlus (Frans et al. 2025)
//
// The momentum lives in the basis and is turned along when the basis moves. A tile is a part of the tensor with bases of its
// own.
func basisBlocks(e *engine, g *graph.Graph) []*block {
	roles := rolesOf(g)
	var blocks []*block
	for _, p := range e.params(g) {
		shape, _ := p.Value.Type.Static()
		view := e.view(shape)
		reason := ""
		switch {
		case e.rec.Ignores(p.Name()):
			reason = "representation.ignore lists it"
		case view == nil && e.rec.Representation.Vectors != "element":
			reason = "a vector"
		case roles[p.Value].embedding && e.rec.Fallback.Embedding == "sign":
			view = nil
		case roles[p.Value].embedding && e.rec.Fallback.Embedding != "":
			reason = roles[p.Value].exempt
		case roles[p.Value].head && e.rec.Fallback.Head != "":
			reason = roles[p.Value].exempt
		}
		if reason != "" {
			e.left[p.Value] = reason
			continue
		}
		blocks = append(blocks, e.basisBlock(p, shape, view, roles[p.Value].swapped))
	}
	return blocks
}

// basisTile is a tile with the places of its state among the block's slots.
type basisTile struct {
	sizes   []int64
	factors []int // sides that have a basis
	first   int   // of them: index in stats and sols
	eigen   int   // index in sols of the first side's eigenvalues
	moment  int   // index in sols of the momentum
	square  int   // index in sols of the second moment
	weight  int   // index in sols of the sum of its weights, where it does not follow every step
}

// basisTensor is a parameter under a basis method.
type basisTensor struct {
	*engine
	param       pass.Param
	shape, view []int64
	cuts        [][]int64
	swapped     bool
	tiles       []*basisTile
	block       *block
	plain       bool // no basis
}

func (e *engine) basisBlock(p pass.Param, shape, view []int64, swapped bool) *block {
	t := &basisTensor{engine: e, param: p, shape: shape, view: view, swapped: swapped, plain: view == nil}
	t.block = &block{name: p.Name(), params: []pass.Param{p}, guard: true, lag: e.rec.Solve.Lag}
	if view == nil {
		t.view = shape
	}
	if t.plain {
		t.cuts = whole(t.view)
	} else {
		t.cuts = e.cuts(t.view)
	}
	t.slots()
	t.block.play = t.play
	if e.rec.Probed() {
		t.block.follow = t.followProducts
	}
	if len(t.block.stats) > 0 {
		t.block.observe, t.block.renew, t.block.texts = t.observe, t.renew, []string{basisFunctions()}
	}
	t.block.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: t.describe()}
	return t.block
}

func (t *basisTensor) describe() string {
	if len(t.block.stats) == 0 {
		return "by element, without a basis"
	}
	s := fmt.Sprintf("eigenbases of %v", t.view)
	if len(t.tiles) > 1 {
		s += fmt.Sprintf(", in %d blocks", len(t.tiles))
	}
	return s
}

// slots lays out the state: factors and bases, eigenvalues, moments.
func (t *basisTensor) slots() {
	bl, rec := t.block, t.rec
	tiles := product(t.cuts)
	name := func(kind string, tile, side int) string {
		switch {
		case len(tiles) == 1 && side < 0:
			return kind
		case len(tiles) == 1:
			return fmt.Sprintf("%s%d", kind, side)
		case side < 0:
			return fmt.Sprintf("%s%d", kind, tile)
		}
		return fmt.Sprintf("%s%d.%d", kind, tile, side)
	}
	initial := "eye"
	if rec.Accumulate.Init == 0 {
		initial = "zeros"
	}
	for i, sizes := range tiles {
		tile := &basisTile{sizes: sizes, first: len(bl.stats)}
		t.tiles = append(t.tiles, tile)
		for d, n := range sizes {
			if t.plain || !t.hasFactor(n) || n == 1 {
				continue
			}
			tile.factors = append(tile.factors, d)
			bl.stats = append(bl.stats, slot{name("stat", i, d), []int64{n, n}, initial, rec.Accumulate.Init, "curvature"})
			bl.sols = append(bl.sols, slot{name("basis", i, d), []int64{n, n}, "eye", 1, "curvature"})
		}
	}
	for i, tile := range t.tiles {
		tile.eigen = len(bl.sols)
		if rec.Solve.Kind == "root" {
			unit := "ones"
			if rec.Accumulate.Init == 0 {
				unit = "zeros"
			}
			for _, d := range tile.factors {
				bl.sols = append(bl.sols, slot{name("eigen", i, d), []int64{tile.sizes[d]}, unit, rec.Accumulate.Init, "optimizer"})
			}
		}
		tile.moment = len(bl.sols)
		bl.sols = append(bl.sols, slot{name: name("m", i, -1), shape: tile.sizes, init: "zeros", kind: "optimizer"})
		tile.square = len(bl.sols)
		if rec.Solve.Kind == "divide" {
			bl.sols = append(bl.sols, slot{name: name("v", i, -1), shape: tile.sizes, init: "zeros", kind: "optimizer"})
		}
		if rec.Probed() {
			tile.weight = len(bl.sols)
			bl.sols = append(bl.sols, slot{name: name("weight", i, -1), init: "zeros", kind: "curvature"})
		}
	}
}

// bases are the tile's bases among the block's solutions.
func (tile *basisTile) bases(sols []*graph.Value) []*graph.Value {
	return sols[tile.first : tile.first+len(tile.factors)]
}

// into turns x into the bases of a tile, out turns it back.
func (tile *basisTile) into(b *op.Builder, x *graph.Value, bases []*graph.Value) *graph.Value {
	for j, d := range tile.factors {
		x = turn(b, x, bases[j], d, false)
	}
	return x
}

func (tile *basisTile) out(b *op.Builder, x *graph.Value, bases []*graph.Value) *graph.Value {
	for j, d := range tile.factors {
		x = turn(b, x, bases[j], d, true)
	}
	return x
}

// turn contracts dimension d of x with the rows of q, or back with its columns.
func turn(b *op.Builder, x, q *graph.Value, d int, back bool) *graph.Value {
	if x.Type.Rank() == 2 {
		if d == 0 {
			return b.Gemm(q, x, !back, false)
		}
		return b.Gemm(x, q, false, back)
	}
	if back == (d == x.Type.Rank()-1) {
		q = b.Swap(q)
	}
	return multiply(b, x, q, d)
}

// observe is the second moment of each side of this step's gradient; under fit kl of the gradient whitened on the other
// sides by their estimates (Lin et al. 2025, equation 6), per column.
func (t *basisTensor) observe(b *op.Builder, lv *live) []*graph.Value {
	var stats []*graph.Value
	for i, g := range t.split(b, t.grads[t.param.Value], t.shape, t.view, t.cuts) {
		tile := t.tiles[i]
		old := t.eigenvalues(b, tile, lv.sols, g)
		for j, d := range tile.factors {
			x := g
			if t.rec.Representation.Fit == "kl" {
				x = t.whitened(b, g, tile, tile.bases(lv.sols), old, j)
			}
			m := unfold(b, x, d)
			gram := b.Gemm(m, m, false, true)
			if t.rec.Representation.Fit == "kl" {
				gram = b.Scale(gram, 1/float64(count(tile.sizes)/tile.sizes[d]))
			}
			stats = append(stats, gram)
		}
	}
	return stats
}

// eigenvalues are those of the step before. Under fit kl, where accumulate.init is 0 and none are known yet, those of white
// noise of the size of g: the mean square, shared by the sides. (The estimates of two sides scale each other, and from far off
// they take hundreds of steps to the right size.)
func (t *basisTensor) eigenvalues(b *op.Builder, tile *basisTile, sols []*graph.Value, g *graph.Value) []*graph.Value {
	if t.rec.Solve.Kind != "root" {
		return nil
	}
	old := sols[tile.eigen : tile.eigen+len(tile.factors)]
	if t.rec.Representation.Fit != "kl" || t.rec.Accumulate.Init != 0 {
		return old
	}
	size := b.Reduce("ReduceMean", b.Square(g), false)
	size = b.Op("Pow", []*graph.Value{size, b.Float(t.elem, 1/float64(max(1, len(tile.factors))))})
	first := make([]*graph.Value, len(old))
	for j, w := range old {
		unknown := b.Compare("Equal", b.Reduce("ReduceMax", w, false), b.Float(t.elem, 0))
		first[j] = b.Where(unknown, size, w)
	}
	return first
}

// whitened turns g into the bases of all factors but the one of index skip and divides there by the root of their
// eigenvalues.
func (t *basisTensor) whitened(b *op.Builder, g *graph.Value, tile *basisTile, bases, eigen []*graph.Value, skip int) *graph.Value {
	for j, d := range tile.factors {
		if j == skip {
			continue
		}
		g = turn(b, g, bases[j], d, false)
		scale := b.Unary("Reciprocal", b.Sqrt(t.clamped(b, eigen[j])))
		g = b.Mul(g, along(b, scale, g.Type.Rank(), d))
	}
	return g
}

// along reshapes a vector so that it runs over dimension d of a tensor of the given rank.
func along(b *op.Builder, v *graph.Value, rank, d int) *graph.Value {
	dims := make([]int64, rank)
	for i := range dims {
		dims[i] = 1
	}
	dims[d] = -1
	return b.Reshape(v, dims...)
}

// clamped raises eigenvalues to damping.floor times their mean.
func (t *basisTensor) clamped(b *op.Builder, w *graph.Value) *graph.Value {
	least := b.Scale(b.Reduce("ReduceMean", w, false), t.rec.Solve.Damping.Floor)
	return b.Op("Max", []*graph.Value{w, b.Op("Max", []*graph.Value{least, b.Float(t.elem, 1e-30)})})
}

// renew moves the bases to the statistics, and the momenta with them. Second moments and eigenvalues stay with their
// eigenvectors: tracking keeps the order of these.
func (t *basisTensor) renew(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
	next := append([]*graph.Value{}, sols...)
	for _, tile := range t.tiles {
		for j := range tile.factors {
			next[tile.first+j], _ = t.trackBasis(b, stats[tile.first+j], sols[tile.first+j])
		}
		m := tile.out(b, sols[tile.moment], tile.bases(sols))
		next[tile.moment] = tile.into(b, m, tile.bases(next))
	}
	return next
}

// play advances moments and eigenvalues in the basis and gives the direction.
func (t *basisTensor) play(b *op.Builder, lv *live, grads []*graph.Value) []*graph.Value {
	next := append([]*graph.Value{}, lv.sols...)
	var dirs []*graph.Value
	for i, g := range t.split(b, grads[0], t.shape, t.view, t.cuts) {
		tile := t.tiles[i]
		d := t.tileStep(b, tile, tile.into(b, g, tile.bases(lv.sols)), lv.sols, next)
		dirs = append(dirs, b.Scale(tile.out(b, d, tile.bases(lv.sols)), t.scale(tile)))
	}
	var keep *graph.Value // whether the step counts
	if t.rec.Guards.Finite {
		keep = t.finite(b, moved(next, lv.sols)...)
	}
	if t.waits() {
		keep = both(b, keep, t.started())
	}
	if keep != nil {
		for i := range next {
			if next[i] != lv.sols[i] {
				next[i] = b.Where(keep, next[i], lv.sols[i])
			}
		}
	}
	lv.sols = next
	d := t.join(b, dirs, t.shape, t.view, t.cuts)
	if t.waits() {
		d = b.Where(t.started(), d, b.Float(t.elem, 0))
	}
	return []*graph.Value{d}
}

func both(b *op.Builder, x, y *graph.Value) *graph.Value {
	if x == nil {
		return y
	}
	return b.Op("And", []*graph.Value{x, y})
}

// started is false on the first step.
func (t *basisTensor) started() *graph.Value {
	return t.b.Compare("Greater", t.stepValue(), t.b.Int(0))
}

// tileStep writes the next moments of a tile into next and gives the direction in the basis; g is the gradient there.
func (t *basisTensor) tileStep(b *op.Builder, tile *basisTile, g *graph.Value, sols, next []*graph.Value) *graph.Value {
	rec := t.rec
	m := t.moving(b, sols[tile.moment], g, rec.Apply.Beta)
	next[tile.moment] = m
	if rec.Solve.Kind == "sign" {
		return b.Unary("Sign", m)
	}
	m = b.Div(m, t.debias(rec.Apply.Beta))
	if rec.Probed() {
		return t.dividedInBasis(b, m, sols[tile.square], sols[tile.weight])
	}
	if rec.Solve.Kind == "divide" {
		v := t.moving(b, sols[tile.square], b.Square(g), rec.Accumulate.Beta)
		next[tile.square] = v
		return b.Div(m, b.Add(b.Sqrt(b.Div(v, t.debias(rec.Accumulate.Beta))), t.damping()))
	}
	var whole *graph.Value // product of the sides' eigenvalues
	rank, old := g.Type.Rank(), t.eigenvalues(b, tile, sols, g)
	for j, d := range tile.factors {
		w := b.Square(g)
		var others []int64
		for i := range rank {
			if i != d {
				others = append(others, int64(i))
			}
		}
		for k, c := range tile.factors {
			if k != j && rec.Representation.Fit == "kl" {
				w = b.Div(w, along(b, t.clamped(b, old[k]), rank, c))
			}
		}
		reduce := "ReduceSum"
		if rec.Representation.Fit == "kl" {
			reduce = "ReduceMean"
		}
		w = t.moving(b, old[j], b.Reduce(reduce, w, false, others...), rec.Accumulate.Beta)
		next[tile.eigen+j] = w
		w = along(b, t.clamped(b, w), rank, d)
		if whole == nil {
			whole = w
		} else {
			whole = b.Mul(whole, w)
		}
	}
	if whole == nil {
		return m
	}
	power := -rec.Solve.Power
	if rec.Representation.Fit != "kl" {
		power /= float64(len(tile.factors))
	}
	if power == 0.5 {
		whole = b.Sqrt(whole)
	} else if power != 1 {
		whole = b.Op("Pow", []*graph.Value{whole, b.Float(t.elem, power)})
	}
	return b.Div(m, b.Add(whole, t.damping()))
}

// waits reports whether the first step only collects statistics: there is no basis yet, and moments in one.
func (t *basisTensor) waits() bool { return t.rec.Solve.Lag && t.rec.Solve.Kind != "sign" }

// debias is 1 - beta^t, t being the number of gradients in the moments.
func (t *basisTensor) debias(beta float64) *graph.Value {
	if t.waits() {
		return t.biasAfter(beta, 1)
	}
	return t.bias(beta)
}

func (t *basisTensor) scale(tile *basisTile) float64 {
	if t.plain {
		if t.rec.Apply.LRScale == "sides" {
			return vectorRate
		}
		return 1
	}
	o, i := tile.sizes[0], count(tile.sizes)/tile.sizes[0]
	if t.swapped {
		o, i = i, o
	}
	return lrScale(t.rec.Apply.LRScale, o, i)
}

// vectorRate is the factor on directions of signs of vectors (Frans et al. 2025, section 4).
const vectorRate = 1e-3

func count(sizes []int64) int64 {
	n := int64(1)
	for _, s := range sizes {
		n *= s
	}
	return n
}

// whole cuts nothing.
func whole(view []int64) [][]int64 {
	cuts := make([][]int64, len(view))
	for i, n := range view {
		cuts[i] = []int64{n}
	}
	return cuts
}
