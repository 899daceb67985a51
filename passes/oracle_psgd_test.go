package passes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/passes/pass"
)

// psgdTwin is the pair of factors of one matrix, as the paper has them; wrong loses the transposes of the solves.
type psgdTwin struct {
	q        [2]*mat.Dense
	diagonal [2]bool
	wrong    bool
}

func newPSGDTwin(rows, cols int, diagonal ...bool) *psgdTwin {
	return &psgdTwin{q: [2]*mat.Dense{addEye(mat.NewDense(rows, rows, nil), 1), addEye(mat.NewDense(cols, cols, nil), 1)}, diagonal: [2]bool{diagonal[0], diagonal[1]}}
}

// masked keeps the upper triangle of m, or its diagonal.
func masked(m *mat.Dense, diagonal bool) *mat.Dense {
	n, _ := m.Dims()
	out := mat.NewDense(n, n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			if i == j || !diagonal {
				out.Set(i, j, m.At(i, j))
			}
		}
	}
	return out
}

// fit is one step from the pair (h, v).
func (tw *psgdTwin) fit(h, v *mat.Dense, mu float64) {
	var peaks [2]float64
	for s, q := range tw.q {
		for i := range q.RawMatrix().Rows {
			peaks[s] = math.Max(peaks[s], q.At(i, i))
		}
	}
	rho := math.Sqrt(peaks[0] / peaks[1])
	tw.q[0].Scale(1/rho, tw.q[0])
	tw.q[1].Scale(rho, tw.q[1])
	var inv [2]mat.Dense
	for s, q := range tw.q {
		must(inv[s].Inverse(q))
	}
	a := product(tw.q[0], h, tw.q[1].T())
	b := product(inv[0].T(), v, &inv[1])
	if tw.wrong {
		b = product(&inv[0], v, inv[1].T())
	}
	grads := [2]*mat.Dense{difference2(product(a, a.T()), product(b, b.T())), difference2(product(a.T(), a), product(b.T(), b))}
	for s, g := range grads {
		g = masked(g, tw.diagonal[s])
		largest := 0.0
		for _, x := range g.RawMatrix().Data {
			largest = math.Max(largest, math.Abs(x))
		}
		g.Scale(mu/largest, g)
		tw.q[s] = difference2(tw.q[s], product(g, tw.q[s]))
	}
}

func difference2(x, y *mat.Dense) *mat.Dense {
	var d mat.Dense
	d.Sub(x, y)
	return &d
}

// apply is Q_l^T Q_l g Q_r^T Q_r.
func (tw *psgdTwin) apply(g *mat.Dense) *mat.Dense {
	return product(tw.q[0].T(), tw.q[0], g, tw.q[1].T(), tw.q[1])
}

// psgdView shows a layer's entries as a matrix: [W | b], tokens x columns, or [scale shift].
type psgdView struct {
	tw       *kfacTwin
	l        layerRef
	diagonal [2]bool
}

func (v psgdView) pack(as arrays) *mat.Dense {
	switch {
	case v.l.kind == "unit":
		w, b := as[v.l.w].v, as[v.l.b].v
		m := mat.NewDense(len(w), 2, nil)
		for i := range w {
			m.SetRow(i, []float64{w[i], b[i]})
		}
		return m
	case v.diagonal[0]:
		return as[v.l.w].dense()
	}
	return v.tw.matrix(v.l, as)
}

func (v psgdView) unpack(m *mat.Dense, into arrays) {
	rows, _ := m.Dims()
	switch {
	case v.l.kind == "unit":
		w, b := newArray(rows), newArray(rows)
		for i := range rows {
			w.v[i], b.v[i] = m.At(i, 0), m.At(i, 1)
		}
		into[v.l.w], into[v.l.b] = w, b
	case v.diagonal[0]:
		into[v.l.w] = array{v.tw.params[v.l.w].shape, flat(m)}
	default:
		v.tw.unpack(v.l, m, into)
	}
}

// TestPSGDTwin follows PSGD's factors and directions, on every kind of layer and with long sides diagonal.
func TestPSGDTwin(t *testing.T) {
	for _, set := range [][]string{nil, {"representation.max_side=3", "solve.every=2", "damping=0.01", "solve.rate=0.1"}, {"curvature.matrix=GGN", "curvature.source=ggnvp"}} {
		for _, n := range allNets() {
			rng := rand.New(rand.NewPCG(1, 33))
			rec := record(t, "psgd-kf", append(set, "update.lr=0.02", "update.clip_norm=0")...)
			params := n.params(rng)
			s := instrument(t, source(n.body, params), rec, all)
			views, twins := map[string]psgdView{}, map[string]*psgdTwin{}
			for _, l := range n.layers {
				v := psgdView{tw: newKFACTwin(n, rec, params), l: l, diagonal: [2]bool{l.kind == "unit" || l.name == "emb", false}}
				r, c := v.pack(params).Dims()
				limit := func(side int) bool { return rec.Representation.MaxSide < side }
				views[l.name], twins[l.name] = v, newPSGDTwin(r, c, v.diagonal[0] || limit(r), limit(c))
			}
			buffers := arrays{}
			for k := range 4 {
				data, v := n.batch(rng, 4), probes(rng, "normal", params)
				out := s.step(fed(data, v))
				loss := crossEntropyOf(data["target"])
				curve := n.hessian(params, data["x"], loss)
				if rec.Curvature.Source == "ggnvp" {
					curve = n.gaussNewton(params, data["x"])
				}
				hv := hessianTimes(curve, params, v)
				for name, a := range hv {
					for i := range a.v {
						a.v[i] += rec.Solve.Damping.Value * v[name].v[i]
					}
				}
				grads, dirs := n.gradient(params, data["x"], loss), arrays{}
				for _, g := range grads {
					for i := range g.v {
						g.v[i] /= float64(4 * n.rows)
					}
				}
				for _, l := range n.layers {
					tw, view := twins[l.name], views[l.name]
					if k%max(rec.Solve.Every, 1) == 0 {
						tw.fit(view.pack(hv), view.pack(v), rec.Solve.Rate)
					}
					view.unpack(tw.apply(view.pack(grads)), dirs)
				}
				nearAll(t, fmt.Sprint(n.name, set, " direction ", k), outputsOf(out, "precond/", ""), dirs, 1e-6)
				update(rec, rec.Update.LR, params, buffers, grads, outputsOf(out, "precond/", ""))
			}
		}
	}
}

// kroneckerHessian is a model whose loss |C W X^T - T|^2 has the Hessian 2 (C^T C) x (X^T X) in W.
func kroneckerHessian(rng *rand.Rand, rows, cols int) (text string, feeds func() arrays, hessian *mat.Dense) {
	spread := func(n int) array {
		a := normals(rng, n, n)
		for i := range n {
			a.v[i*n+i] += 2
		}
		return a
	}
	c, x := spread(rows), spread(cols)
	body := fmt.Sprintf(`(double[%[2]d,%[2]d] x, double[%[1]d,%[1]d] c) => (double[%[2]d,%[1]d] y) PARAMS {
		h = Gemm <transB: int = 1> (x, "w")  y = Gemm <transB: int = 1> (h, c) }`, rows, cols)
	text = source(body, arrays{"w": normals(rng, rows, cols)})
	left, right := product(c.dense().T(), c.dense()), product(x.dense().T(), x.dense())
	left.Scale(2, left)
	hessian = &mat.Dense{}
	hessian.Kronecker(left, right)
	return text, func() arrays {
		return arrays{"x": x, "c": c, "target": newArray(cols, rows), "lr": number(0)}
	}, hessian
}

// TestPSGDOnKroneckerHessian: on a Hessian that is a Kronecker product, P approaches its inverse. With the transposes of the
// solves lost, as in a public port, the same rule stalls.
func TestPSGDOnKroneckerHessian(t *testing.T) {
	const rows, cols = 3, 4
	rng := rand.New(rand.NewPCG(2, 33))
	text, feeds, h := kroneckerHessian(rng, rows, cols)
	s := instrument(t, text, record(t, "psgd-kf", "damping=0"), pass.Options{Noise: "input", OutputPrecond: true, OutputGrad: true, Loss: pass.LossOptions{Row: "mse", Reduction: "sum"}})
	wrong := newPSGDTwin(rows, cols, false, false)
	wrong.wrong = true
	const steps = 6000
	var out arrays
	for k := range steps {
		mu := 0.1 * math.Pow(1e-3, float64(k)/steps)
		v := normals(rng, rows, cols)
		out = s.step(feeds().with("asdl/noise/probe/w", v).with("precond_lr", number(mu)))
		var hv mat.VecDense
		hv.MulVec(h, mat.NewVecDense(len(v.v), v.v))
		wrong.fit(mat.NewDense(rows, cols, hv.RawVector().Data), v.dense(), mu)
	}
	layer := ""
	for name := range out {
		if l, ok := cutSlot(name, "Q_l/next"); ok {
			layer = l
		}
	}
	right := &psgdTwin{q: [2]*mat.Dense{out[layer+"Q_l/next"].dense(), out[layer+"Q_r/next"].dense()}}
	if e := inverseError(right, h); !(e < 1e-3) {
		t.Errorf("P is off the inverse Hessian by %g", e)
	}
	if e := inverseError(wrong, h); e < 0.05 {
		t.Errorf("with the wrong transposes P is off by %g only: this is no test of them", e)
	}
}

func cutSlot(name, slot string) (string, bool) {
	if len(name) > len(slot) && name[len(name)-len(slot):] == slot {
		return name[:len(name)-len(slot)], true
	}
	return "", false
}

// inverseError is |P - H^-1| / |H^-1|.
func inverseError(tw *psgdTwin, h *mat.Dense) float64 {
	var p, inv mat.Dense
	p.Kronecker(product(tw.q[0].T(), tw.q[0]), product(tw.q[1].T(), tw.q[1]))
	must(inv.Inverse(h))
	return mat.Norm(difference2(&p, &inv), 2) / mat.Norm(&inv, 2)
}
