package passes_test

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/method"
)

// kfacTwin is K-FAC with its update in plain Go: Kronecker blocks are formed explicitly and solved densely.
type kfacTwin struct {
	net    *net
	rec    method.Record
	lr     float64
	lambda float64
	params arrays

	stats   map[string][]*mat.Dense // by layer: A, S, or the 2x2 blocks of the channels
	weight  float64                 // sum of the weights of the moving average
	damped  map[string][]*mat.Dense // at the last solve: A+, S+, or damped 2x2 blocks
	buffers arrays                  // momentum
}

func newKFACTwin(n *net, rec method.Record, params arrays) *kfacTwin {
	return &kfacTwin{
		net: n, rec: rec, lr: rec.Update.LR, lambda: rec.Solve.Damping.Value, params: params.clone(),
		stats: map[string][]*mat.Dense{}, damped: map[string][]*mat.Dense{}, buffers: arrays{},
	}
}

// side is the number of outputs of a layer.
func (tw *kfacTwin) outputs(l layerRef) int {
	if s := tw.params[l.w].shape; l.io {
		return s[1]
	} else {
		return s[0]
	}
}

func (tw *kfacTwin) joint(l layerRef) bool {
	return l.b != "" && tw.rec.Representation.Bias != "output"
}

// matrix is a layer's Ŵ = [W | b], o x i+, of parameters or gradients.
func (tw *kfacTwin) matrix(l layerRef, as arrays) *mat.Dense {
	o := tw.outputs(l)
	w := as[l.w]
	in := len(w.v) / o
	cols := in
	if tw.joint(l) {
		cols++
	}
	m := mat.NewDense(o, cols, nil)
	for r := range o {
		for c := range in {
			if l.io {
				m.Set(r, c, w.v[c*o+r])
			} else {
				m.Set(r, c, w.v[r*in+c])
			}
		}
		if tw.joint(l) {
			m.Set(r, in, as[l.b].v[r])
		}
	}
	return m
}

// unpack is the inverse of matrix.
func (tw *kfacTwin) unpack(l layerRef, m *mat.Dense, into arrays) {
	o := tw.outputs(l)
	w := newArray(tw.params[l.w].shape...)
	in := len(w.v) / o
	for r := range o {
		for c := range in {
			if l.io {
				w.v[c*o+r] = m.At(r, c)
			} else {
				w.v[r*in+c] = m.At(r, c)
			}
		}
	}
	into[l.w] = w
	if tw.joint(l) {
		b := newArray(o)
		for r := range o {
			b.v[r] = m.At(r, in)
		}
		into[l.b] = b
	}
}

// outer adds scale * v v^T to m.
func outer(m *mat.Dense, scale float64, v []float64) {
	for i := range v {
		for j := range v {
			m.Set(i, j, m.At(i, j)+scale*v[i]*v[j])
		}
	}
}

// statistics are this step's A and S of a layer, or its 2x2 blocks, from the given draws of the output gradient's loss.
func (tw *kfacTwin) statistics(l layerRef, x array, draws []objective, average float64) []*mat.Dense {
	rows := float64(x.shape[0] * tw.net.rows)
	o := tw.outputs(l)
	var taps []tapped
	for _, loss := range draws {
		taps = append(taps, tw.net.capture(tw.params, x, l.name, o, loss))
	}
	if l.kind == "unit" {
		blocks := make([]*mat.Dense, o)
		for c := range blocks {
			blocks[c] = mat.NewDense(2, 2, nil)
			for _, tp := range taps {
				for u := range tp.a {
					outer(blocks[c], average/rows, []float64{tp.g[u][c] * tp.a[u][c], tp.g[u][c]})
				}
			}
		}
		return blocks
	}
	in := len(taps[0].a[0])
	if tw.joint(l) {
		in++
	}
	a, s := mat.NewDense(in, in, nil), mat.NewDense(o, o, nil)
	for d, tp := range taps {
		as, gs := tp.a, tp.g
		if tw.rec.Curvature.Sharing == "reduce" {
			as, gs = reduced(tp)
		}
		for u := range as {
			row := as[u]
			if tw.joint(l) {
				row = append(append([]float64{}, row...), 1)
			}
			if d == 0 {
				outer(a, 1/float64(len(as)), row)
			}
			outer(s, average/rows, gs[u])
		}
	}
	return []*mat.Dense{a, s}
}

// reduced averages inputs and sums output gradients over the uses of each example.
func reduced(tp tapped) (a, g [][]float64) {
	last := -1
	var counts []float64
	for u := range tp.a {
		if tp.example[u] != last {
			last = tp.example[u]
			a, g, counts = append(a, make([]float64, len(tp.a[u]))), append(g, make([]float64, len(tp.g[u]))), append(counts, 0)
		}
		k := len(a) - 1
		counts[k]++
		for i, v := range tp.a[u] {
			a[k][i] += v
		}
		for i, v := range tp.g[u] {
			g[k][i] += v
		}
	}
	for k := range a {
		for i := range a[k] {
			a[k][i] /= counts[k]
		}
	}
	return a, g
}

// exactDraws are the columns of the root of the cross-entropy's Hessian: sqrt(p_j) (e_j - p).
func (tw *kfacTwin) exactDraws(x array) []objective {
	logits := tw.net.logits(tw.params, x)
	var draws []objective
	for j := range tw.net.classes {
		var seeds [][]float64
		for _, z := range logits {
			p := softmax(z)
			seed := make([]float64, len(p))
			for c := range p {
				seed[c] = -math.Sqrt(p[j]) * p[c]
			}
			seed[j] += math.Sqrt(p[j])
			seeds = append(seeds, seed)
		}
		draws = append(draws, along(seeds))
	}
	return draws
}

// draws are the losses whose output gradients make the statistics, and the weight of each.
func (tw *kfacTwin) draws(x array, loss objective, sampled []array) ([]objective, float64) {
	switch tw.rec.Curvature.Source {
	case "emp":
		return []objective{loss}, 1
	case "exact":
		return tw.exactDraws(x), 1
	}
	var draws []objective
	for _, labels := range sampled {
		draws = append(draws, crossEntropyOf(labels))
	}
	return draws, 1 / float64(len(sampled))
}

func mean(m *mat.Dense) float64 { return mat.Trace(m) / float64(m.RawMatrix().Rows) }

// solve stores the damped blocks.
func (tw *kfacTwin) solve() {
	for _, l := range tw.net.layers {
		var stats []*mat.Dense
		for _, m := range tw.stats[l.name] {
			c := mat.DenseCopyOf(m)
			if tw.rec.Accumulate.Kind == "ema" && tw.rec.Accumulate.Debias {
				c.Scale(1/tw.weight, c)
			}
			stats = append(stats, c)
		}
		if l.kind == "unit" {
			for i, f := range stats {
				stats[i] = addEye(f, tw.lambda)
			}
			tw.damped[l.name] = stats
			continue
		}
		pi := 1.0
		if tw.rec.Solve.Damping.Kind == "factor_pi" {
			pi = math.Sqrt(mean(stats[0]) / mean(stats[1]))
		}
		tw.damped[l.name] = []*mat.Dense{addEye(stats[0], pi*math.Sqrt(tw.lambda)), addEye(stats[1], math.Sqrt(tw.lambda)/pi)}
	}
}

// directions solves with the stored blocks: the explicit Kronecker product against the row-major gradient.
func (tw *kfacTwin) directions(grads arrays) arrays {
	out := arrays{}
	for _, l := range tw.net.layers {
		d := tw.damped[l.name]
		if l.kind == "unit" {
			w, b := newArray(len(d)), newArray(len(d))
			for c, f := range d {
				var u mat.VecDense
				must(u.SolveVec(f, mat.NewVecDense(2, []float64{grads[l.w].v[c], grads[l.b].v[c]})))
				w.v[c], b.v[c] = u.AtVec(0), u.AtVec(1)
			}
			out[l.w], out[l.b] = w, b
			continue
		}
		g := tw.matrix(l, grads)
		var block mat.Dense
		block.Kronecker(d[1], d[0])
		var u mat.VecDense
		must(u.SolveVec(&block, mat.NewVecDense(len(g.RawMatrix().Data), flat(g))))
		r, c := g.Dims()
		tw.unpack(l, mat.NewDense(r, c, u.RawVector().Data), out)
		if l.b != "" && !tw.joint(l) {
			var v mat.VecDense
			must(v.SolveVec(d[1], mat.NewVecDense(len(grads[l.b].v), grads[l.b].v)))
			out[l.b] = array{grads[l.b].shape, v.RawVector().Data}
		}
	}
	return out
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// step advances the twin and returns gradient and directions.
func (tw *kfacTwin) step(k int, x array, loss objective, sampled []array) (grads, dirs arrays) {
	rec := tw.rec
	grads = tw.net.gradient(tw.params, x, loss)
	for _, g := range grads {
		for i := range g.v {
			g.v[i] /= float64(x.shape[0] * tw.net.rows)
		}
	}
	due := func(every, warmup int) bool {
		if s := rec.Accumulate.Schedule; s != "" {
			return k < len(s) && s[k] == '1'
		}
		return k < warmup || (k-warmup)%max(every, 1) == 0
	}
	if due(rec.Accumulate.Every, rec.Accumulate.Warmup) {
		draws, average := tw.draws(x, loss, sampled)
		for _, l := range tw.net.layers {
			fresh := tw.statistics(l, x, draws, average)
			if old := tw.stats[l.name]; rec.Accumulate.Kind == "ema" {
				for i := range fresh {
					fresh[i].Scale(1-rec.Accumulate.Beta, fresh[i])
					if old != nil {
						var o mat.Dense
						o.Scale(rec.Accumulate.Beta, old[i])
						fresh[i].Add(fresh[i], &o)
					}
				}
			}
			tw.stats[l.name] = fresh
		}
		tw.weight = rec.Accumulate.Beta*tw.weight + 1 - rec.Accumulate.Beta
	}
	if due(rec.Solve.Every, rec.Solve.Warmup) {
		tw.solve()
	}
	dirs = tw.directions(grads)
	update(rec, tw.lr, tw.params, tw.buffers, grads, dirs)
	return grads, dirs
}

// update changes parameters along directions: KL clip, norm clip, decay, momentum, learning rate.
func update(rec method.Record, lr float64, params, buffers, grads, dirs arrays) {
	up := rec.Update
	scale, dot, square := 1.0, 0.0, 0.0
	for name, d := range dirs {
		for i, v := range d.v {
			dot += v * grads[name].v[i]
			square += v * v
		}
	}
	if rec.Apply.KLClip > 0 {
		scale = math.Min(1, math.Sqrt(rec.Apply.KLClip/(lr*lr*dot)))
	}
	if up.ClipNorm > 0 {
		scale *= math.Min(1, up.ClipNorm/(scale*math.Sqrt(square)))
	}
	for name, d := range dirs {
		if up.Momentum > 0 && buffers[name].v == nil {
			buffers[name] = newArray(d.shape...)
		}
		for i, v := range d.v {
			w := params[name].v[i]
			v *= scale
			if up.Decay != "decoupled" {
				v += up.WeightDecay * w
			} else {
				w *= 1 - lr*up.WeightDecay
			}
			if up.Momentum > 0 {
				buffers[name].v[i] = up.Momentum*buffers[name].v[i] + v
				if up.Nesterov {
					v += up.Momentum * buffers[name].v[i]
				} else {
					v = buffers[name].v[i]
				}
			}
			params[name].v[i] = w - lr*v
		}
	}
}
