package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// secantTwin is K-BFGS of one layer in plain Go, from the papers' formulas.
type secantTwin struct {
	*kfacTwin
	l           layerRef
	positions   float64 // of a convolution, else 1
	a, hA, hG   *mat.Dense
	s, y        *mat.VecDense
	weight      float64
	m           *mat.Dense         // first moment
	kept        [][2]*mat.VecDense // newest pairs, with representation.rank
	momentSteps int
}

func vector(v []float64) *mat.VecDense { return mat.NewVecDense(len(v), v) }

// means are the mean row [a; 1], the mean of their outer products, the mean output and the mean output gradient.
func (tw *secantTwin) means(params arrays, x array, loss objective) (row *mat.VecDense, second *mat.Dense, z, g *mat.VecDense) {
	o := tw.outputs(tw.l)
	tp := tw.net.capture(params, x, tw.l.name, o, loss)
	side := len(tp.a[0])
	if tw.l.b != "" {
		side++
	}
	n := float64(len(tp.a))
	row, second, g = vector(make([]float64, side)), mat.NewDense(side, side, nil), vector(make([]float64, o))
	for u := range tp.a {
		a := slices.Clone(tp.a[u])
		if tw.l.b != "" {
			a = append(a, 1)
		}
		row.AddScaledVec(row, 1/n, vector(a))
		outer(second, 1/n, a)
		g.AddScaledVec(g, 1/n, vector(tp.g[u]))
	}
	z = vector(make([]float64, o))
	z.MulVec(tw.matrix(tw.l, params), row)
	return row, second, z, g
}

// bfgsUpdate is (I - rho s y^T) H (I - rho y s^T) + rho s s^T.
func bfgsUpdate(h *mat.Dense, s, y *mat.VecDense) *mat.Dense {
	rho := 1 / mat.Dot(s, y)
	n := s.Len()
	left, ss := addEye(mat.NewDense(n, n, nil), 1), mat.NewDense(n, n, nil)
	left.RankOne(left, -rho, s, y)
	ss.RankOne(ss, rho, s, s)
	out := product(left, h, left.T())
	out.Add(out, ss)
	return out
}

// limited is h after the BFGS updates by several pairs.
func limited(h *mat.Dense, pairs [][2]*mat.VecDense) *mat.Dense {
	for _, p := range pairs {
		h = bfgsUpdate(h, p[0], p[1])
	}
	return h
}

// damp makes a pair fit for an update of h.
func damp(h *mat.Dense, s, y *mat.VecDense, kind string, mu float64) (ds, dy *mat.VecDense) {
	var hy mat.VecDense
	hy.MulVec(h, y)
	sy, yhy := mat.Dot(s, y), mat.Dot(y, &hy)
	ds, dy = mat.VecDenseCopyOf(s), mat.VecDenseCopyOf(y)
	if sy < 0.2*yhy {
		theta := 0.8 * yhy / (yhy - sy)
		ds.ScaleVec(theta, s)
		ds.AddScaledVec(ds, 1-theta, &hy)
	}
	switch sy, ss := mat.Dot(ds, dy), mat.Dot(ds, ds); {
	case kind == "iso":
		dy.AddScaledVec(dy, mu, ds)
	case kind == "lm" && sy < mu*ss:
		theta := (1 - mu) * ss / (ss - sy)
		dy.ScaleVec(theta, y)
		dy.AddScaledVec(dy, 1-theta, ds)
	}
	return ds, dy
}

// direction brings A to this step and gives the direction of mean gradients.
func (tw *secantTwin) direction(params arrays, x array, loss objective, grads arrays) *mat.Dense {
	_, second, _, _ := tw.means(params, x, loss)
	beta, n := tw.rec.Accumulate.Beta, 0
	if n, _ = second.Dims(); tw.a == nil {
		tw.a = mat.NewDense(n, n, nil)
	}
	tw.a.Scale(beta, tw.a)
	second.Scale(1-beta, second)
	tw.a.Add(tw.a, second)
	tw.weight = beta*tw.weight + 1 - beta
	if tw.hA == nil {
		o := tw.outputs(tw.l)
		tw.hA, tw.hG = &mat.Dense{}, addEye(mat.NewDense(o, o, nil), 1)
		tw.s, tw.y = vector(make([]float64, o)), vector(make([]float64, o))
		must(tw.hA.Inverse(tw.dampedA()))
	}
	g := tw.matrix(tw.l, grads)
	if b := tw.rec.Apply.Beta; b != 0 {
		if tw.m == nil {
			tw.m = mat.NewDense(g.RawMatrix().Rows, g.RawMatrix().Cols, nil)
		}
		tw.m.Scale(b, tw.m)
		g.Scale(1-b, g)
		tw.m.Add(tw.m, g)
		tw.momentSteps++
		g = mat.DenseCopyOf(tw.m)
		g.Scale(1/(1-math.Pow(b, float64(tw.momentSteps))), g)
	}
	return product(tw.hG, g, tw.hA)
}

func (tw *secantTwin) dampedA() *mat.Dense {
	m := mat.DenseCopyOf(tw.a)
	m.Scale(1/tw.weight, m)
	return addEye(m, math.Sqrt(tw.lambda*tw.positions))
}

// pair brings the inverses to the next parameters.
func (tw *secantTwin) pair(params, next arrays, x array, loss objective) {
	row, _, z, g := tw.means(params, x, loss)
	var s, y mat.VecDense
	s.MulVec(tw.hA, row)
	y.MulVec(tw.dampedA(), &s)
	tw.hA = bfgsUpdate(tw.hA, &s, &y)
	_, _, zNext, gNext := tw.means(next, x, loss)
	beta := tw.rec.Accumulate.Beta
	for _, e := range []struct{ to, from, by *mat.VecDense }{{tw.s, zNext, z}, {tw.y, gNext, g}} {
		e.to.ScaleVec(beta, e.to)
		e.to.AddScaledVec(e.to, 1-beta, e.from)
		e.to.AddScaledVec(e.to, beta-1, e.by)
	}
	ds, dy := damp(tw.hG, tw.s, tw.y, tw.rec.Solve.Damping.Kind, math.Sqrt(tw.lambda/tw.positions))
	if mat.Dot(ds, dy) > 1e-4*mat.Dot(ds, ds)*mat.Norm(g, 2) {
		tw.hG = bfgsUpdate(tw.hG, ds, dy)
		if rank := tw.rec.Representation.Rank; rank > 0 {
			tw.kept = append(tw.kept, [2]*mat.VecDense{ds, dy})
			tw.kept = tw.kept[max(0, len(tw.kept)-rank):]
			tw.hG = limited(addEye(mat.NewDense(ds.Len(), ds.Len(), nil), mat.Dot(ds, dy)/mat.Dot(dy, dy)), tw.kept)
		}
	}
}

// TestSecantTwin follows K-BFGS on linear and convolutional layers, tied ones, and beside fall-backs.
func TestSecantTwin(t *testing.T) {
	for _, set := range [][]string{nil, {"solve.damping.kind=iso", "every=2", "damping=0.01", "apply.beta=0", "update.momentum=0.9"}, {"representation.rank=2"}} {
		for _, n := range allNets() {
			rng := rand.New(rand.NewPCG(1, 34))
			rec := record(t, "k-bfgs", append(set, "update.lr=0.1")...)
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			var twins []*secantTwin
			for _, l := range n.layers {
				if l.kind == "unit" || l.name == "emb" {
					continue
				}
				tw := &secantTwin{kfacTwin: newKFACTwin(n, rec, params), l: l, positions: 1}
				if n.name == "conv" {
					tw.positions = 6
				}
				twins = append(twins, tw)
			}
			for k := range 5 {
				data := n.batch(rng, 4)
				out := s.step(data)
				loss := crossEntropyOf(data["target"])
				grads, dirs, next := n.gradient(params, data["x"], loss), arrays{}, params.clone()
				for name, g := range grads {
					for i := range g.v {
						g.v[i] /= float64(4 * n.rows)
					}
					next[name] = out[name+"/next"]
				}
				for _, tw := range twins {
					if k%max(rec.Accumulate.Every, 1) == 0 {
						tw.unpack(tw.l, tw.direction(params, data["x"], loss, grads), dirs)
						tw.pair(params, next, data["x"], loss)
					} else {
						tw.unpack(tw.l, product(tw.hG, tw.matrix(tw.l, grads), tw.hA), dirs)
					}
					where := fmt.Sprint(n.name, set, " step ", k, " ", tw.l.name)
					near(t, where+" H_A", out["asdl/"+tw.l.name+"/H_A/next"].v, flat(tw.hA), 1e-7)
					if rec.Representation.Rank > 0 {
						continue
					}
					near(t, where+" H_G", out["asdl/"+tw.l.name+"/H_G/next"].v, flat(tw.hG), 1e-7)
				}
				nearAll(t, fmt.Sprint(n.name, set, " direction ", k), outputsOf(out, "precond/", ""), dirs, 1e-7)
				if t.Failed() {
					return
				}
				params = next
			}
		}
	}
}

// TestPowell: Powell's damping makes s.y exactly mu y.Hy where it was less.
func TestPowell(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 34))
	h := addEye(product(normals(rng, 4, 4).dense(), normals(rng, 4, 4).dense().T()), 0)
	h = product(h, h.T())
	y := vector(normals(rng, 4).v)
	var s, hy mat.VecDense
	hy.MulVec(h, y)
	s.ScaleVec(-1, &hy)
	ds, dy := damp(h, &s, y, "none", 0)
	near(t, "s.y", []float64{mat.Dot(ds, dy)}, []float64{0.2 * mat.Dot(y, &hy)}, 1e-12)
}

// TestSecantState: both inverses change on every step and stay symmetric and positive, also on a network with dropout and
// batch normalisation; running statistics move once, and the masks of both evaluations are the same.
func TestSecantState(t *testing.T) {
	text, batch := dropNet(t)
	rng := rand.New(rand.NewPCG(3, 34))
	s := instrument(t, text, record(t, "k-bfgs", "update.lr=0.05"), pass.Options{})
	plain := instrument(t, text, record(t, "sgd"), pass.Options{})
	before := map[string][]float64{}
	for k := range 6 {
		data := batch(rng)
		out := s.step(data)
		if k == 0 {
			for name, a := range plain.step(data) {
				if strings.Contains(name, "running") {
					near(t, name, out[name].v, a.v, 1e-12)
				}
			}
		}
		for name, a := range out {
			if !strings.HasSuffix(name, "/H_A/next") && !strings.HasSuffix(name, "/H_G/next") {
				continue
			}
			m := a.dense()
			if slices.Equal(before[name], a.v) {
				t.Errorf("step %d: %s does not change", k, name)
			}
			before[name] = slices.Clone(a.v)
			near(t, name+" symmetric", flat(mat.DenseCopyOf(m.T())), a.v, 1e-12)
			var eig mat.EigenSym
			r, _ := m.Dims()
			sym := mat.NewSymDense(r, nil)
			for i := range r {
				for j := range r {
					sym.SetSym(i, j, m.At(i, j))
				}
			}
			eig.Factorize(sym, false)
			if low := slices.Min(eig.Values(nil)); !(low > 0) {
				t.Errorf("step %d: %s has the eigenvalue %g", k, name, low)
			}
		}
		if out["asdl/guards/next"].v[0] != 0 {
			t.Errorf("step %d: %g guards", k, out["asdl/guards/next"].v[0])
		}
	}
	if len(before) != 4 {
		t.Errorf("%d inverses", len(before))
	}
	// a learning rate of zero moves nothing: the pairs fade
	old := curved(s)
	for name, a := range outputsOf(s.step(batch(rng).with("lr", number(0)).with("fallback_lr", number(0))), "", "/next") {
		if !strings.HasSuffix(name, "/s") && !strings.HasSuffix(name, "/y") {
			continue
		}
		want := old[name].clone()
		for i := range want.v {
			want.v[i] *= 0.9
		}
		near(t, name+" without a step", a.v, want.v, 1e-12)
	}
}

// dropNet is a convolution, a batch normalisation, dropout and a linear layer.
func dropNet(t *testing.T) (text string, batch func(rng *rand.Rand) arrays) {
	t.Helper()
	k := kinds[2]
	shapes := map[string][]int{"c.weight": {4, 2, 3, 3}, "c.bias": {4}, "bn.weight": {4}, "bn.bias": {4}, "bn.running_mean": {4}, "bn.running_var": {4}, "head.weight": {4, 3}, "head.bias": {3}}
	params, _ := layerBatch(rand.New(rand.NewPCG(4, 34)), shapes, k.x, 0, 3)
	text = source(`(double[N,2,5,5] x) => (double[N,3] y) PARAMS {
		c = Conv <kernel_shape: ints = [3,3], pads: ints = [1,1,1,1]> (x, "c.weight", "c.bias")
		b, rm, rv = BatchNormalization <training_mode: int = 1> (c, "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
		a = Tanh (b)  r = Constant <value: tensor = float r {0.5}> ()  m = Constant <value: tensor = bool m {1}> ()  d = Dropout (a, r, m)
		p = GlobalAveragePool (d)  f = Flatten (p)  y = Gemm (f, "head.weight", "head.bias") }`, params)
	return text, func(rng *rand.Rand) arrays {
		_, data := layerBatch(rng, nil, k.x, 0, 3)
		return data
	}
}

// TestSecantMasks: with steps so small that nothing but dropout could change the mean output, it does not change.
func TestSecantMasks(t *testing.T) {
	text, batch := dropNet(t)
	s := instrument(t, text, record(t, "k-bfgs", "update.lr=1e-12"), pass.Options{})
	out := s.step(batch(rand.New(rand.NewPCG(5, 34))).with("fallback_lr", number(0)))
	for name, a := range outputsOf(out, "", "/s/next") {
		for _, v := range a.v {
			if math.Abs(v) > 1e-9 {
				t.Errorf("%s: the mean output moves by %g", name, v)
			}
		}
	}
}

// TestSecantRefused: directions alone have no next parameters.
func TestSecantRefused(t *testing.T) {
	n := mlpNet()
	text := source(n.body, n.params(rand.New(rand.NewPCG(6, 34))))
	_, err := passes.Instrument(passtest.Parse(t, text), record(t, "k-bfgs"), pass.Options{Emit: "gradient"}, "")
	if err == nil || !strings.Contains(err.Error(), "next values") {
		t.Errorf("error %v", err)
	}
}
