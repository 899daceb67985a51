package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// lieFactor is the factor Q of one dimension of a preconditioner P = Q^T Q that is learned on a Lie group (Li 2018): upper
// triangular [n, n], or diagonal, a vector [n].
type lieFactor struct {
	n        int64
	diagonal bool
}

// slot is the state of the factor. It starts from the identity.
func (f lieFactor) slot(name string) slot {
	if f.diagonal {
		return slot{name, []int64{f.n}, "ones", 1, "curvature"}
	}
	return slot{name, []int64{f.n, f.n}, "eye", 1, "curvature"}
}

// along multiplies dimension d of x by m, or by m^T; a diagonal m is a vector.
func (f lieFactor) along(b *op.Builder, x, m *graph.Value, d int, transposed bool) *graph.Value {
	rank := x.Type.Rank()
	if f.diagonal {
		if d == rank-1 {
			return b.Mul(x, m)
		}
		return b.Mul(x, b.Reshape(m, append([]int64{f.n}, ones(rank-1-d)...)...))
	}
	if rank == 2 && d == 0 {
		return b.Gemm(m, x, transposed, false)
	}
	if rank == 2 {
		return b.Gemm(x, m, false, !transposed)
	}
	perm := toFront(rank, d)
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	front := b.Transpose(x, perm...)
	shape, _ := front.Type.Static()
	y := b.Gemm(m, b.Reshape(front, shape[0], -1), transposed, false)
	return b.Transpose(b.Reshape(y, shape...), back...)
}

func ones(n int) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = 1
	}
	return list
}

// triangular is the factor again, as a matrix that is seen to be triangular.
func (f lieFactor) triangular(b *op.Builder, q *graph.Value) *graph.Value {
	if f.diagonal {
		return q
	}
	return b.Op("Trilu", []*graph.Value{q}, graph.I("upper", 1))
}

// inverse is Q^-1.
func (f lieFactor) inverse(b *op.Builder, q *graph.Value) *graph.Value {
	if f.diagonal {
		return b.Unary("Reciprocal", q)
	}
	return call(b, "UpperInverse", q)
}

// peak is the largest entry of Q's diagonal, which is positive.
func (f lieFactor) peak(b *op.Builder, q *graph.Value) *graph.Value {
	if !f.diagonal {
		q = b.Op("Slice", []*graph.Value{b.Reshape(q, -1), b.Ints(0), b.Ints(f.n * f.n), b.Ints(0), b.Ints(f.n + 1)})
	}
	return b.Reduce("ReduceMax", q, false)
}

// gradient is the gradient of h^T P h + v^T P^-1 v on the group of Q, from a = Q h and z = Q^-T v, all factors applied:
// a a^T - z z^T of the unfoldings along dimension d, of which the upper triangle counts.
func (f lieFactor) gradient(b *op.Builder, a, z *graph.Value, d int) *graph.Value {
	if f.diagonal {
		var others []int64
		for i := range a.Type.Rank() {
			if i != d {
				others = append(others, int64(i))
			}
		}
		g := b.Sub(b.Square(a), b.Square(z))
		if len(others) == 0 {
			return g
		}
		return b.Sum(g, others...)
	}
	ua, uz := unfold(b, a, d), unfold(b, z, d)
	return b.Op("Gemm", []*graph.Value{uz, uz, b.Gemm(ua, ua, false, true)}, graph.I("transB", 1), graph.F("alpha", -1))
}

// step is Q - mu/max|g| g Q, times scale: with mu below 1 the diagonal stays positive.
func (f lieFactor) step(b *op.Builder, q, g, mu, scale *graph.Value) *graph.Value {
	largest := b.Op("Max", []*graph.Value{b.Reduce("ReduceMax", b.Unary("Abs", g), false), b.FloatLike(q, 1e-30)}) // g is symmetric
	rate := b.Div(mu, largest)
	gq := g
	if f.diagonal {
		gq = b.Mul(g, q)
	} else {
		gq = b.MatMul(f.triangular(b, g), f.triangular(b, q))
	}
	next := b.Sub(q, b.Mul(gq, rate))
	if scale == nil {
		return next
	}
	return b.Mul(next, scale)
}

// lieFit improves the factors qs of all dimensions by pairs (h, v) of tensors, h = Hv for PSGD (Li 2018, Kronecker form):
// factors balanced, so that their largest diagonal entries are equal, and one step each, along the mean of the pairs'
// gradients. As the balance leaves the product of the factors as it is, so does it the gradients: it comes last.
func lieFit(b *op.Builder, fs []lieFactor, qs []*graph.Value, pairs [][2]*graph.Value, mu *graph.Value) []*graph.Value {
	upper, inverses := make([]*graph.Value, len(fs)), make([]*graph.Value, len(fs))
	for d, f := range fs {
		upper[d], inverses[d] = f.triangular(b, qs[d]), f.inverse(b, qs[d])
	}
	sums := make([]*graph.Value, len(fs))
	for _, p := range pairs {
		a, z := p[0], p[1]
		for d, f := range fs {
			a, z = f.along(b, a, upper[d], d, false), f.along(b, z, inverses[d], d, true)
		}
		for d, f := range fs {
			sums[d] = plus(b, sums[d], f.gradient(b, a, z, d))
		}
	}
	scales := balance(b, fs, qs)
	next := make([]*graph.Value, len(fs))
	for d, f := range fs {
		next[d] = f.step(b, qs[d], sums[d], mu, scales[d])
	}
	return next
}

// balance scales factors to the geometric mean of their largest diagonal entries; nil for a single one.
func balance(b *op.Builder, fs []lieFactor, qs []*graph.Value) []*graph.Value {
	scales := make([]*graph.Value, len(fs))
	if len(fs) < 2 {
		return scales
	}
	peaks := make([]*graph.Value, len(fs))
	var logs *graph.Value
	for d, f := range fs {
		peaks[d] = f.peak(b, qs[d])
		logs = plus(b, logs, b.Unary("Log", peaks[d]))
	}
	mean := b.Unary("Exp", b.Scale(logs, 1/float64(len(fs))))
	for d := range fs {
		scales[d] = b.Div(mean, peaks[d])
	}
	return scales
}

// lieApply is P x = Q^T Q x along all dimensions.
func lieApply(b *op.Builder, fs []lieFactor, qs []*graph.Value, x *graph.Value) *graph.Value {
	for d, f := range fs {
		q := f.triangular(b, qs[d])
		x = f.along(b, f.along(b, x, q, d, false), q, d, true)
	}
	return x
}

// lieBlocks are PSGD's blocks: for each layer or parameter a P = (Q_l^T Q_l) x (Q_r^T Q_r) that approaches the inverse of
// |H|'s block, or of the Gauss-Newton matrix's, fitted to its products with vectors. Every parameter is covered.
func lieBlocks(e *engine, g *graph.Graph) []*block {
	var blocks []*block
	for _, v := range e.pairViews(g) {
		blocks = append(blocks, e.lieBlock(v))
	}
	return blocks
}

func (e *engine) lieBlock(v *pairView) *block {
	bl := &block{name: v.name, params: v.params, guard: true, moment: e.rec.Apply.Beta, texts: []string{section("upper inverse")}}
	fs := make([]lieFactor, len(v.shape))
	names := []string{"Q_l", "Q_r"}
	form := ""
	for d, n := range v.shape {
		fs[d] = lieFactor{n, v.diagonal[d] || e.rec.Representation.MaxSide > 0 && n > int64(e.rec.Representation.MaxSide)}
		bl.sols = append(bl.sols, fs[d].slot(names[d]))
		form += fmt.Sprintf(", %d", n)
		if !fs[d].diagonal {
			form += fmt.Sprintf("x%d", n)
		}
	}
	bl.note = pass.LayerNote{Layer: v.name, Kind: v.kind, Params: bl.names(), Treatment: "Lie-group factors" + form[1:]}
	bl.renew = func(b *op.Builder, _, sols []*graph.Value) []*graph.Value {
		return lieFit(b, fs, sols, e.lieproducts(b, v), e.hyper("precond_lr", e.rec.Solve.Rate))
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return v.unpack(b, lieApply(b, fs, sols, v.pack(b, grads)), grads)
	}
	return bl
}

// lieproducts are the pairs (Hv, v) of a block, one a sample, with the record's damping: (H + lambda I) v, or Hv plus lambda
// times random normal numbers.
func (e *engine) lieproducts(b *op.Builder, view *pairView) [][2]*graph.Value {
	var pairs [][2]*graph.Value
	for draw := range max(1, e.rec.Curvature.Samples) {
		var hs, vs []*graph.Value
		for _, p := range view.params {
			q := e.quantities[quantity{p.Name(), graph.CaptureProduct}][draw]
			h, v := q[0], q[1]
			switch e.rec.Solve.Damping.Kind {
			case "iso":
				h = b.Add(h, b.Mul(v, e.damping()))
			case "noise":
				h = b.Add(h, b.Mul(e.normal("damping/"+p.Name(), p, draw), e.damping()))
			}
			hs, vs = append(hs, h), append(vs, v)
		}
		pairs = append(pairs, [2]*graph.Value{view.pack(b, hs), view.pack(b, vs)})
	}
	return pairs
}

// normal draws normal numbers in the shape of a parameter.
func (e *engine) normal(name string, p pass.Param, draw int) *graph.Value {
	shape, _ := p.Value.Type.Static()
	return e.b.Tag(graph.TagNoise, []*graph.Value{e.b.Ints(shape...)}, graph.S("name", name), graph.S("kind", "normal"),
		graph.I("draw", int64(draw)), graph.I("dtype", int64(e.elem)))
}
