package precondition

import (
	"fmt"
	"math"
	"strings"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// whitenBlocks makes a PSGD-Kron block of every tensor (Li 2018, arXiv:1512.04202; whitening and Kronecker form: Pooladzandi & Li,
// arXiv:2402.04553): for each side a factor Q such that P = Q^T Q (x) Q^T Q whitens the debiased momentum M,
// E[(P M)(P M)^T] = I, and the direction is P M. No statistic is kept: each refresh takes a step that fits Q.
func whitenBlocks(e *engine, g *graph.Graph) []*block {
	var blocks []*block
	for _, p := range e.params(g) {
		if e.rec.Ignores(p.Name()) {
			e.left[p.Value] = "representation.ignore lists it"
			continue
		}
		blocks = append(blocks, e.whitenBlock(p))
	}
	return blocks
}

// whitenTensor is a parameter under PSGD. Its factors are slots of the block's solutions, by side.
type whitenTensor struct {
	*engine
	param       pass.Param
	shape, view []int64
	block       *block
	sides       []whitenSide
	momentum    *graph.Value // of this step
}

type whitenSide struct {
	lieFactor
	factor    int // index in sols
	lipschitz int // index in sols of L, under kernel inverse_free
}

func (e *engine) whitenBlock(p pass.Param) *block {
	shape, _ := p.Value.Type.Static()
	t := &whitenTensor{engine: e, param: p, shape: shape, view: e.view(shape)}
	if t.view == nil {
		t.view = []int64{count(shape)}
	}
	bl := &block{name: p.Name(), params: []pass.Param{p}, guard: true, squares: true, prepare: t.prepare, renew: t.renew, play: t.play}
	t.block = bl
	init := math.Pow(e.rec.Accumulate.Init, 1/float64(len(t.view)))
	var dense []string
	for d, n := range t.view {
		s := whitenSide{lieFactor: lieFactor{n, len(t.view) == 1 || !e.hasFactor(n) || n == 1}, factor: len(bl.sols)}
		q := s.slot(fmt.Sprintf("Q%d", d))
		q.scale = init
		bl.sols = append(bl.sols, q)
		if !s.diagonal {
			dense = append(dense, fmt.Sprint(n))
		}
		if t.inverseFree() {
			s.lipschitz = len(bl.sols)
			bl.sols = append(bl.sols, slot{name: fmt.Sprintf("L%d", d), init: "zeros", kind: "curvature"})
		}
		t.sides = append(t.sides, s)
	}
	if len(dense) > 0 {
		bl.texts = []string{section("norm bound"), section("lie step"), section("upper inverse"), section("inverse-free step")}
	}
	form := "triangular"
	if t.inverseFree() {
		form = "inverse-free"
	}
	treatment := fmt.Sprintf("%s factors fitted to %v", form, t.view)
	if len(dense) == 0 {
		treatment = fmt.Sprintf("diagonal factors fitted to %v", t.view)
	} else if len(dense) < len(t.view) {
		treatment += ", dense on " + strings.Join(dense, ", ")
	}
	bl.note = pass.LayerNote{Layer: p.Name(), Kind: "parameter", Params: []string{p.Name()}, Treatment: treatment}
	return bl
}

func (t *whitenTensor) inverseFree() bool { return t.rec.Solve.Kernel == "inverse_free" }

// prepare makes the momentum of this step; where the gradient is not finite, it is the one before.
func (t *whitenTensor) prepare() {
	t.momentum = t.grads[t.param.Value]
	if beta := t.rec.Apply.Beta; beta != 0 {
		t.momentum = t.firstMoment(t.param, t.momentum, beta)
	}
	if len(t.shape) != len(t.view) {
		t.momentum = t.b.Reshape(t.momentum, t.view...)
	}
}

// noise is a standard normal tensor like the parameter.
func (t *whitenTensor) noise() *graph.Value {
	return t.b.Tag(graph.TagNoise, []*graph.Value{t.b.Ints(t.view...)}, graph.S("name", "probe/"+t.param.Name()), graph.S("kind", "normal"),
		graph.I("draw", 0), graph.I("single", 1), graph.I("dtype", int64(t.elem)))
}

// renew takes one step of every factor.
func (t *whitenTensor) renew(b *op.Builder, _, sols []*graph.Value) []*graph.Value {
	m, v := t.momentum, (*graph.Value)(nil)
	damped := t.rec.Solve.Damping.Kind == "noise"
	if damped || !t.inverseFree() {
		v = t.noise()
	}
	if damped {
		m = b.Add(m, b.Mul(v, t.damping()))
	}
	next := append([]*graph.Value{}, sols...)
	if t.inverseFree() {
		t.inverseFreeSteps(b, m, sols, next)
	} else {
		t.lieSteps(b, m, v, sols, next)
	}
	t.balance(b, next)
	return next
}

// lieSteps are those of triangular factors, from A = Q M Q^T and B = Q^-T V Q^-1 (Li 2018, equation 23).
func (t *whitenTensor) lieSteps(b *op.Builder, m, v *graph.Value, sols, next []*graph.Value) {
	rate := t.hyper("precond_lr", t.rec.Solve.Rate)
	for d, s := range t.sides {
		q := sols[s.factor]
		m, v = s.along(b, m, q, d, false), s.along(b, v, s.inverse(b, q), d, true)
	}
	for d, s := range t.sides {
		q := sols[s.factor]
		if s.diagonal {
			data, noise := t.squares(b, m, d), t.squares(b, v, d)
			bound := b.Op("Max", []*graph.Value{b.Reduce("ReduceMax", b.Add(data, noise), false), b.Float(t.elem, 1e-30)})
			next[s.factor] = b.Sub(q, b.Mul(b.Mul(b.Div(b.Sub(data, noise), bound), q), rate))
			continue
		}
		data, noise := unfold(b, m, d), unfold(b, v, d)
		next[s.factor] = b.Call("LieStep", 1, []*graph.Value{q, b.Gemm(data, data, false, true), b.Gemm(noise, noise, false, true), rate})[0]
	}
}

// inverseFreeSteps are those of factors without a structure, from P M and the expectation of white noise.
func (t *whitenTensor) inverseFreeSteps(b *op.Builder, m *graph.Value, sols, next []*graph.Value) {
	rate := t.hyper("precond_lr", t.rec.Solve.Rate)
	pm := t.preconditioned(b, m, sols)
	for d, s := range t.sides {
		q, l := sols[s.factor], sols[s.lipschitz]
		white := float64(count(t.view) / s.n)
		if !s.diagonal {
			rows := unfold(b, pm, d)
			out := b.Call("InverseFreeStep", 2, []*graph.Value{q, l, b.Gemm(rows, rows, false, true), rate}, graph.F("c", float32(white)))
			next[s.factor], next[s.lipschitz] = out[0], out[1]
			continue
		}
		data := t.squares(b, pm, d)
		c := b.Float(t.elem, white)
		bound := b.Add(b.Reduce("ReduceMax", data, false), c)
		next[s.lipschitz] = b.Op("Max", []*graph.Value{t.moving(b, l, bound, 0.9), bound})
		next[s.factor] = b.Sub(q, b.Mul(b.Mul(b.Sub(data, c), q), b.Div(rate, next[s.lipschitz])))
	}
}

// squares sums the squares of x along all sides but d.
func (t *whitenTensor) squares(b *op.Builder, x *graph.Value, d int) *graph.Value {
	var others []int64
	for i := range t.view {
		if i != d {
			others = append(others, int64(i))
		}
	}
	if others == nil {
		return b.Square(x)
	}
	return b.Sum(b.Square(x), others...)
}

// balance gives the factors equal largest entries every solve.balance steps; their product stays.
func (t *whitenTensor) balance(b *op.Builder, next []*graph.Value) {
	if t.rec.Solve.Balance == 0 || len(t.sides) == 1 {
		return
	}
	every := b.Op("Mod", []*graph.Value{b.Add(t.stepValue(), b.Int(1)), b.Int(int64(t.rec.Solve.Balance))})
	due := b.Compare("Equal", every, b.Int(0))
	one := b.Float(t.elem, 1)
	var logs []*graph.Value
	var sum *graph.Value
	for _, s := range t.sides {
		largest := b.Reduce("ReduceMax", b.Unary("Abs", next[s.factor]), false)
		l := b.Unary("Log", b.Op("Max", []*graph.Value{largest, b.Float(t.elem, 1e-30)}))
		logs, sum = append(logs, l), plus(b, sum, l)
	}
	mean := b.Scale(sum, 1/float64(len(t.sides)))
	for i, s := range t.sides {
		factor := b.Where(due, b.Unary("Exp", b.Sub(mean, logs[i])), one)
		next[s.factor] = b.Mul(next[s.factor], factor)
	}
}

// preconditioned is P x = Q^T Q x on every side.
func (t *whitenTensor) preconditioned(b *op.Builder, x *graph.Value, sols []*graph.Value) *graph.Value {
	for d, s := range t.sides {
		q := sols[s.factor]
		x = s.along(b, s.along(b, x, q, d, false), q, d, true)
	}
	return x
}

// play gives P M, shrunk to a root-mean-square entry of at most apply.clip_rms.
func (t *whitenTensor) play(b *op.Builder, lv *live, _ []*graph.Value) []*graph.Value {
	d := t.preconditioned(b, t.momentum, lv.sols)
	if clip := t.rec.Apply.ClipRMS; clip != 0 {
		limit := b.Float(t.elem, clip)
		rms := b.Scale(b.Reduce("ReduceL2", d, false), 1/math.Sqrt(float64(count(t.view))))
		d = b.Mul(d, b.Div(limit, b.Op("Max", []*graph.Value{rms, limit})))
	}
	if len(t.shape) != len(t.view) {
		d = b.Reshape(d, t.shape...)
	}
	return []*graph.Value{d}
}
